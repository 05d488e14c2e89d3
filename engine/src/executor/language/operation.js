// The operations of @openfn/language-common, written from their documented behaviour:
// https://docs.openfn.org/adaptors/packages/common-docs

const { __define: define, __path: jsonPath } = globalThis;

const isPromise = value => typeof value?.then === 'function';

// Gives a state from one to the next; a promise on the way makes a promise of the rest.
const chain = (items, start, step) =>
  items.reduce(
    (state, item, index) => (isPromise(state) ? state.then(s => step(s, item, index)) : step(state, item, index)),
    start
  );

// Functions in a value, however deep, are called with the state.
const resolved = (state, value) => {
  if (typeof value === 'function') return resolved(state, value(state));
  if (Array.isArray(value)) return value.map(item => resolved(state, item));
  if (value === null || typeof value !== 'object' || value instanceof RegExp || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(state, item)]));
};
define('__resolved', resolved);

define('alterState', func => state => func(state));

const execute = (...operations) => state =>
  operations.reduce((before, operation) => before.then(operation), Promise.resolve(state));

const fnIf = (condition, operation) => state => (resolved(state, condition) ? operation(state) : state);

// --- Places in the state ----------------------------------------------------------------------------------------------

const jsonValue = (object, path) => jsonPath(path, object)[0];
const source = path => state => jsonPath(path, state);
const sourceValue = path => state => jsonPath(path, state)[0];
const bare = path => /^[$.]*(.+)/.exec(path)[1];
const dataPath = path => `$.data.${bare(path)}`;
const dataValue = path => sourceValue(dataPath(path));
const referencePath = path => `$.references${bare(path)}`;
const lastReferenceValue = path => sourceValue(`$.references[0].${path}`);

const asData = (data, state) => {
  switch (typeof data) {
    case 'string':
      return jsonPath(data, state);
    case 'function':
      return data(state);
    default:
      return data;
  }
};

// --- Over several items ------------------------------------------------------------------------------------------------

const each = (dataSource, operation) => {
  if (!dataSource) throw new TypeError('dataSource argument for each operation is invalid.');
  return state => {
    const items = asData(dataSource, state);
    if (!Array.isArray(items)) throw new TypeError('the data source of each is not an array');
    return chain(items, state, (s, data, index) => operation({ ...s, data, index }));
  };
};

// Unlike `each`, puts `data` back as it was.
const betaEach = (dataSource, operation) => state => {
  const after = each(dataSource, operation)(state);
  const restored = next => ({ ...next, data: state.data });
  return isPromise(after) ? after.then(restored) : restored(after);
};

const map = (path, callback) => async state => {
  const data = [];
  for (const item of asData(path, state)) data.push(await callback(item, data.length, state));
  return { ...state, data };
};

const combine = (...operations) => state => chain(operations, state, (before, operation) => operation({ ...before }));

const join = (targetPath, sourcePath, targetKey) => state =>
  jsonPath(targetPath, state).map(item => ({ [targetKey]: sourceValue(sourcePath)(state), ...item }));

const merge = (dataSource, extra) => state => {
  const additional = resolved(state, extra);
  return asData(dataSource, state).map(item => ({ ...item, ...additional }));
};

const group = (list, keyPath, callback = state => state) => state => {
  const path = resolved(state, keyPath);
  const groups = {};
  for (const item of Object.values(resolved(state, asData(list, state)) ?? {})) {
    const key = Object.hasOwn(Object(item), path) ? item[path] : jsonPath(path, item)[0];
    if (key !== undefined) (groups[key] ??= []).push(item);
  }
  return callback({ ...state, data: groups });
};

const index = () => state => state.index;

// --- Values -------------------------------------------------------------------------------------------------------------

const field = (key, value) => [key, value];
const fields = (...pairs) => Object.fromEntries(pairs);

const expandReferences = (value, skipFilter) => state => {
  if (skipFilter?.(value)) return value;
  return resolved(state, value);
};

const composeNextState = (state, response) => ({
  ...state,
  data: response,
  references: [...(state.references ?? []), state.data],
});

// --- Checks and logs ------------------------------------------------------------------------------------------------------

const assert = (expression, message) => state => {
  const [value, text] = resolved(state, [expression, message]);
  if (!value) throw new Error(text || `assertion statement failed with ${value}`);
  return state;
};

const writing = level => (...args) => state => {
  console[level](...resolved(state, args));
  return state;
};

const as = (key, operation) => async state => {
  const name = resolved(state, key);
  const before = state.data;
  const { data, ...rest } = await operation(state);
  return { ...state, [name]: data, data: before, ...rest };
};

const operations = {
  as, asData, assert, beta: { each: betaEach }, combine, composeNextState, dataPath, dataValue, debug: writing('debug'), each,
  execute, expandReferences, field, fields, fnIf, group, index, join, jsonValue, lastReferenceValue, log: writing('log'),
  map, merge, referencePath, source, sourceValue,
};
for (const [name, value] of Object.entries(operations)) define(name, value);
