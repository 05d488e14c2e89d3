// The operations of @openfn/language-common that need neither network nor Node, and the harness that runs a step.
// Written from their documented behaviour: https://docs.openfn.org/adaptors/packages/common-docs

const define = (name, value) =>
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

// --- JSONPath: $.a.b, ['a'], [0], [-1:], [0:2], [*], .*, ..a, [0,1], ['a','b'] -----------------------------------

const parsePath = path => {
  const steps = [];
  const pattern = /(\.\.)|\.?([^.[\]]+)|\.?\[\s*(\*|-?\d*:-?\d*|[^\]]+?)\s*\]/gy;
  let rest = path.trim().replace(/^\$/, '');
  let deep = false;
  pattern.lastIndex = 0;
  while (pattern.lastIndex < rest.length) {
    const match = pattern.exec(rest);
    if (!match) throw new SyntaxError(`invalid JSONPath: ${path}`);
    if (match[1]) {
      deep = true;
      continue;
    }
    const inner = match[3];
    let select;
    if (match[2] === '*' || inner === '*') select = { all: true };
    else if (match[2] !== undefined) select = { names: [match[2]] };
    else if (/^-?\d*:-?\d*$/.test(inner)) select = { slice: inner.split(':').map(n => (n === '' ? undefined : +n)) };
    else select = { names: inner.split(',').map(name => name.trim().replace(/^(['"])(.*)\1$/, '$2')) };
    steps.push({ ...select, deep });
    deep = false;
  }
  return steps;
};

const children = value => (value && typeof value === 'object' ? Object.values(value) : []);

const descend = value => [value, ...children(value).flatMap(descend)];

const select = (value, step) => {
  if (value === null || typeof value !== 'object') return [];
  if (step.all) return children(value);
  if (step.slice) return Array.isArray(value) ? value.slice(...step.slice) : [];
  return step.names
    .map(name => (Array.isArray(value) && /^-\d+$/.test(name) ? value.length + +name : name))
    .filter(name => Object.hasOwn(value, name))
    .map(name => value[name]);
};

const jsonPath = (path, json) =>
  parsePath(path).reduce(
    (values, step) => (step.deep ? values.flatMap(descend) : values).flatMap(value => select(value, step)),
    [json]
  );

// --- Operations and helpers ---------------------------------------------------------------------------------------

const isPromise = value => value && typeof value.then === 'function';

const chain = (items, start, step) =>
  items.reduce(
    (state, item, index) => (isPromise(state) ? state.then(s => step(s, item, index)) : step(state, item, index)),
    start
  );

const fn = func => state => func(state);

const resolve = (value, state) => (typeof value === 'function' ? value(state) : value);

const source = path => state => jsonPath(path, state);
const sourceValue = path => state => jsonPath(path, state)[0];
const bare = path => path.match(/^[$.]*(.+)/)[1];
const dataPath = path => '$.data.' + bare(path);
const dataValue = path => sourceValue(dataPath(path));
const referencePath = path => '$.references' + bare(path);
const lastReferenceValue = path => sourceValue(referencePath(`[0].${path}`));

const asData = (data, state) => {
  switch (typeof data) {
    case 'string':
      return source(data)(state);
    case 'function':
      return data(state);
    default:
      return data;
  }
};

const each = (dataSource, operation) => {
  if (!dataSource) throw new TypeError('dataSource argument for each operation is invalid.');
  return state =>
    chain([...asData(dataSource, state)], state, (s, data, index) => operation({ ...s, data, index }));
};

const map = (...args) => {
  const run = (path, operation, state) => {
    const items = typeof path === 'string' ? source(path)(state) : path;
    items.map(data => operation({ data, references: state.references }));
    return state;
  };
  const curried = (...given) => (given.length >= 3 ? run(...given) : (...more) => curried(...given, ...more));
  return curried(...args);
};

const combine = (...operations) => state =>
  chain(operations, state, (s, operation) => {
    const result = operation(s);
    return isPromise(result) ? result.then(r => ({ ...s, ...r })) : { ...s, ...result };
  });

const join = (targetPath, sourcePath, targetKey) => state =>
  source(targetPath)(state).map(item => ({ [targetKey]: sourceValue(sourcePath)(state), ...item }));

const expandReferences = (value, skipFilter) => state => {
  if (skipFilter && skipFilter(value)) return value;
  if (Array.isArray(value)) return value.map(item => expandReferences(item)(state));
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expandReferences(item)(state)]));
  }
  return typeof value === 'function' ? expandReferences(value(state))(state) : value;
};

const field = (key, value) => [key, value];
const fields = (...pairs) => Object.fromEntries(pairs);
const merge = (dataSource, extra) => state => {
  const additional = expandReferences(extra)(state);
  return asData(dataSource, state).map(item => ({ ...item, ...additional }));
};
const index = () => state => state.index;
const arrayToString = (array, separator) => Array.from(array).join(separator);
const toArray = value => [].concat(value);
const composeNextState = (state, response) => ({
  ...state,
  data: response,
  references: [...(state.references ?? []), state.data],
});
const humanProper = text =>
  typeof text === 'string'
    ? text.replace(/[_-]/g, ' ').replace(/\w\S*/g, word => word[0].toUpperCase() + word.slice(1).toLowerCase())
    : text;
const splitKeys = (object, keys) => {
  const [keep, split] = [{}, {}];
  for (const [key, value] of Object.entries(object)) (keys.includes(key) ? split : keep)[key] = value;
  return [keep, split];
};
const scrubEmojis = (text, replacement = '\uFFFD') =>
  text && text.replace(/(\uFE0F|\u00a9|\u00ae|[\u2000-\u3300]|[\ud83c-\ud83e][\ud000-\udfff])/g, replacement);
const chunk = (array, size) => {
  const chunks = [];
  for (let at = 0; at < array.length; at += size) chunks.push(array.slice(at, at + size));
  return chunks;
};
const group = (list, path, callback) => state => {
  const groups = {};
  for (const item of asData(list, state)) {
    const key = typeof path === 'function' ? path(item) : jsonPath(path, item)[0];
    if (key !== undefined) (groups[key] ??= []).push(item);
  }
  const next = { ...state, data: groups };
  return callback ? callback(next) : next;
};

const fnIf = (condition, operation) => state => (resolve(condition, state) ? operation(state) : state);

const assert = (expression, message) => state => {
  if (!resolve(expression, state)) {
    throw new Error(message ?? (typeof expression === 'function' ? expression.toString() : 'assertion failed'));
  }
  return state;
};

const logAt = level => (...args) => state => {
  const method = level === 'debug' ? console.debug : console.log;
  method(...args.map(arg => resolve(arg, state)));
  return state;
};

const as = (key, operation) => async state => ({ ...state, [key]: (await operation(state)).data });

const startOf = { today: 'day', yesterday: 'day', week: 'week', start: 'day', end: 'day' };
const parseDate = (text, at = new Date()) => {
  const day = (offset, end) => {
    const date = new Date(at);
    date.setUTCDate(date.getUTCDate() + offset);
    end ? date.setUTCHours(23, 59, 59, 999) : date.setUTCHours(0, 0, 0, 0);
    return date;
  };
  const ago = /^(\d+)\s*(s|second|m|min|minute|h|hour|d|day|w|week)s?(\s+ago)?$/i;
  switch (text) {
    case 'now':
      return at;
    case 'today':
    case 'start':
      return day(0);
    case 'yesterday':
      return day(-1);
    case 'tomorrow':
      return day(1);
    case 'end':
      return day(0, true);
    default: {
      const match = ago.exec(text);
      if (match) {
        const unit = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 }[match[2][0].toLowerCase()];
        return new Date(at.getTime() - match[1] * unit * 1000);
      }
      const parsed = new Date(text);
      return Number.isNaN(parsed.getTime()) ? undefined : parsed;
    }
  }
};

const cursor = (value, options = {}) => state => {
  const { key = 'cursor', defaultValue, format = c => c } = options;
  const given = resolve(value, state) ?? resolve(state[key], state) ?? resolve(defaultValue, state);
  if (given === undefined || given === null) {
    delete state[key];
    return state;
  }
  let next = given;
  if (typeof given === 'string') {
    const date = startOf[given] || given === 'now' || /ago$/.test(given) ? parseDate(given) : undefined;
    next = date ? date.toISOString() : given;
  } else if (given instanceof Date) {
    next = given.toISOString();
  }
  next = format(next);
  console.log(`Setting cursor "${key}" to: ${typeof next === 'string' ? next : JSON.stringify(next)}`);
  return { ...state, [key]: next };
};

const base64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const utf8 = text => {
  const bytes = [];
  for (const char of encodeURIComponent(text).match(/%..|./g) ?? []) {
    bytes.push(char.length === 3 ? parseInt(char.slice(1), 16) : char.charCodeAt(0));
  }
  return bytes;
};
const encode = text => {
  const bytes = utf8(text);
  let out = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [a, b, c] = [bytes[at], bytes[at + 1], bytes[at + 2]];
    out += base64[a >> 2] + base64[((a & 3) << 4) | ((b ?? 0) >> 4)];
    out += b === undefined ? '=' : base64[((b & 15) << 2) | ((c ?? 0) >> 6)];
    out += c === undefined ? '=' : base64[c & 63];
  }
  return out;
};
const decode = text => {
  const bits = [...text.replace(/[^A-Za-z0-9+/]/g, '')].map(char => base64.indexOf(char));
  const bytes = [];
  for (let at = 0; at < bits.length; at += 4) {
    const [a, b, c, d] = bits.slice(at, at + 4);
    bytes.push((a << 2) | (b >> 4));
    if (c !== undefined) bytes.push(((b & 15) << 4) | (c >> 2));
    if (d !== undefined) bytes.push(((c & 3) << 6) | d);
  }
  return decodeURIComponent(bytes.map(byte => '%' + byte.toString(16).padStart(2, '0')).join(''));
};
const uuid = () =>
  'xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx'.replace(/[xy]/g, char => {
    const random = Math.floor(Math.random() * 16);
    return (char === 'x' ? random : (random & 3) | 8).toString(16);
  });

const operations = {
  alterState: fn, arrayToString, as, asData, assert, chunk, combine, composeNextState, cursor, dataPath, dataValue,
  debug: logAt('debug'), each, expandReferences, field, fields, fn, fnIf, group, humanProper, index, join,
  jsonValue: (object, path) => jsonPath(path, object)[0], lastReferenceValue, log: logAt('info'), map, merge, parseDate,
  referencePath, scrubEmojis, source, sourceValue, splitKeys, toArray,
  util: { encode, decode, uuid, parseDate },
};
for (const [name, value] of Object.entries(operations)) define(name, value);

define('defer', (operation, complete) => state =>
  complete(new Promise(done => done(operation(state))))
);

// --- Console ------------------------------------------------------------------------------------------------------

const emit = globalThis.__log;
delete globalThis.__log;
const shown = value => {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
};
const method = level => (...args) => emit(level, args.map(shown).join(' '));
define('console', {
  debug: method(0), log: method(1), info: method(1), warn: method(2), error: method(3), success: method(4),
});

// --- The harness: all values cross the border as JSON text ----------------------------------------------------------

const describe = error => {
  const name = error?.constructor?.name ?? typeof error;
  const message = typeof error === 'string' ? error : (error?.message ?? shown(error));
  if (error?.name === 'InternalError' && /out of memory/.test(message)) {
    return { name: 'OOMError', message: 'Run exceeded maximum memory usage', severity: 'kill' };
  }
  if (/^(RangeError|TypeError)$/.test(name)) {
    return { name: 'RuntimeError', subtype: name, message: `${name}: ${message}`, severity: 'fail' };
  }
  if (/^(ReferenceError|SyntaxError)$/.test(name)) {
    return { name: 'RuntimeCrash', subtype: name, message: `${name}: ${message}`, severity: 'crash' };
  }
  return { name: 'JobError', message: String(message), severity: 'fail' };
};

const clean = state => {
  if (state === undefined || state === null) return undefined;
  if (typeof state === 'object') delete state.configuration;
  return state;
};

const responseOf = state => {
  const response = state?.webhookResponse;
  const given = response && typeof response === 'object' && !Array.isArray(response);
  return given ? JSON.stringify(response) : '';
};

// Runs a step: [state, response, error], each JSON text or empty.
define('__step', async (makeOperations, input, configuration, job) => {
  let state = JSON.parse(input);
  if (configuration) state.configuration = JSON.parse(configuration);
  const before = state;
  let text;
  try {
    for (const operation of makeOperations()) {
      if (typeof operation !== 'function') throw new TypeError('an operation is not a function');
      state = (await operation(state)) ?? {};
    }
    state = clean(state);
    text = JSON.stringify(state) ?? '';
    return [text, responseOf(state), ''];
  } catch (error) {
    const described = describe(error);
    const failed = clean(before) ?? {};
    const { severity, name, message, subtype } = described;
    failed.errors = { ...failed.errors, [job]: { source: 'runtime', name, severity, message, ...(subtype && { subtype }) } };
    try {
      text = JSON.stringify(failed);
    } catch {
      text = JSON.stringify({ errors: failed.errors });
    }
    return [text, responseOf(failed), JSON.stringify(described)];
  }
});

// Whether an edge is followed.
define('__condition', (condition, state) => Boolean(condition(JSON.parse(state || '{}'))));
