// The harness: runs a step, follows an edge, writes log lines. All values cross the border as JSON text.

const define = (name, value) =>
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
define('__define', define);

// --- Log ----------------------------------------------------------------------------------------------------------

const { __log: emit, __line: sourceLine } = globalThis;
delete globalThis.__log;
delete globalThis.__line;

const shown = value => {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return textOf(value);
  }
};
const method = level => (...args) => emit(level, args.map(shown).join(' '));
const nothing = () => {};
define('console', {
  debug: method(0), trace: method(0), log: method(1), info: method(1), dir: method(1), table: method(1), group: method(1),
  warn: method(2), error: method(3), success: method(4), always: method(5),
  groupEnd: nothing, time: nothing, timeEnd: nothing,
});

// --- Timers: the thread sleeps when nothing but a timer is left to wait for ------------------------------------------

let timers = [];
let timerCount = 0;
const addTimer = every => (callback, delay = 0, ...args) => {
  const due = Date.now() + Math.max(0, +delay || 0);
  timers.push({ id: ++timerCount, due, callback, args, every: every ? Math.max(1, +delay || 0) : 0 });
  return timerCount;
};
const clearTimer = id => {
  timers = timers.filter(timer => timer.id !== id);
};
define('setTimeout', addTimer(false));
define('setInterval', addTimer(true));
define('clearTimeout', clearTimer);
define('clearInterval', clearTimer);

// Milliseconds until the next timer, or -1 without one; what is due is called.
define('__timer', () => {
  if (timers.length === 0) return -1;
  const next = timers.reduce((a, b) => (b.due < a.due ? b : a));
  const wait = next.due - Date.now();
  if (wait > 0) return wait;
  if (next.every) next.due += next.every;
  else clearTimer(next.id);
  next.callback(...next.args);
  return 0;
});

// --- What the compiler puts into a job ------------------------------------------------------------------------------

define('fn', func => state => func(state));
define('alterState', globalThis.fn);

define('defer', (operation, complete) => state =>
  complete(new Promise(done => done(operation(state))), state)
);

define('missing', name => {
  const error = new Error(`The module ${name} is not available here; these are: @openfn/language-common.`);
  error.name = 'ImportError';
  throw error;
});

const noEval = () => {
  throw new EvalError('Code generation from strings disallowed for this context');
};
define('eval', noEval);

// --- Errors: classes, severities and shape as in OpenFn's runtime ----------------------------------------------------

// The file in which an error arose, and the line of the job that led to it.
const origin = error => {
  const frames = [...String(error?.stack ?? '').matchAll(/\(?\b(job|language):(\d+)(?::\d+)?\)?$/gm)];
  const own = frames.find(frame => frame[1] === 'job');
  return { adaptor: frames[0]?.[1] === 'language', line: own && sourceLine(+own[2]) };
};

const described = (error, operationLine) => {
  const kind = error?.constructor?.name;
  const message = String(typeof error === 'string' ? error : (error?.message ?? shown(error)));
  if (kind === 'InternalError' && /out of memory/.test(message)) {
    return { source: 'runtime', name: 'OOMError', severity: 'kill', message: 'Run exceeded maximum memory usage' };
  }
  if (kind === 'EvalError' || message === 'eval is not supported') {
    return { source: 'runtime', name: 'SecurityError', severity: 'kill', message: 'Illegal eval statement detected' };
  }
  const { adaptor, line = operationLine } = origin(error);
  const found = { source: 'runtime', name: 'JobError', severity: 'fail', message };
  if (error?.name === 'ImportError') {
    Object.assign(found, { name: 'ImportError', severity: 'crash' });
  } else if (adaptor && operationLine) {
    found.name = 'AdaptorError';
  } else if (kind === 'RangeError' || kind === 'TypeError') {
    Object.assign(found, { name: 'RuntimeError', subtype: kind, message: `${kind}: ${message}` });
  } else if (kind === 'ReferenceError' || kind === 'SyntaxError') {
    Object.assign(found, { name: 'RuntimeCrash', severity: 'crash', subtype: kind, message: `${kind}: ${message}` });
  }
  if (line) found.pos = { line };
  return found;
};

// --- Steps ----------------------------------------------------------------------------------------------------------

// JSON of a value; what JSON has no word for is left out, and a value inside itself is named.
const textOf = value => {
  const around = [];
  return JSON.stringify(value, function (key, item) {
    if (typeof item === 'bigint') return String(item);
    if (item === null || typeof item !== 'object') return item;
    while (around.length > 0 && around.at(-1) !== this) around.pop();
    if (around.includes(item)) return '[Circular]';
    around.push(item);
    return item;
  });
};

const serialised = value => {
  try {
    return JSON.stringify(value) ?? '';
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return textOf(value) ?? '';
  }
};

// The state that the step under way was given, as its operations have left it.
let given;
// Stands for `state.data` while a job runs on a state without one.
let blank;

const begin = (input, configuration) => {
  const state = JSON.parse(input || '{}');
  given = state && typeof state === 'object' && !Array.isArray(state) ? state : {};
  blank = {};
  if (!Object.hasOwn(given, 'data')) given.data = blank;
  given.configuration = { ...given.configuration, ...(configuration ? JSON.parse(configuration) : {}) };
  return given;
};

const cleaned = state => {
  if (!state) return undefined;
  if (typeof state === 'object') {
    Reflect.deleteProperty(state, 'configuration');
    if (state.data === blank && Object.keys(blank).length === 0) Reflect.deleteProperty(state, 'data');
  }
  return state;
};

const responseOf = state => {
  const response = state?.webhookResponse;
  return response && typeof response === 'object' && !Array.isArray(response) ? serialised(response) : '';
};

const ended = state => [serialised(state), responseOf(state), ''];

define('__failed', (job, error) => {
  const state = cleaned(given) ?? {};
  state.errors = { ...state.errors, [job]: error };
  try {
    return [serialised(state), responseOf(state), JSON.stringify(error)];
  } catch {
    return [JSON.stringify({ errors: { [job]: error } }), '', JSON.stringify(error)];
  }
});

// Runs a step: [state, response, error], each JSON text or empty.
define('__step', async (make, input, configuration, job) => {
  let line;
  try {
    let state = begin(input, configuration);
    const [operations, lines] = await make();
    for (const [index, operation] of operations.entries()) {
      if (typeof operation !== 'function') {
        const hint = 'At the top level of a job there are operations; other code belongs into fn(state => { ... }).';
        throw new TypeError(`operation ${index + 1} is ${shown(operation)}, which is no operation. ${hint}`);
      }
      if (!state) {
        console.warn(`WARNING: No state was passed into operation ${index + 1}. Did the previous operation return state?`);
        state = {};
      }
      line = lines[index] ?? 1;
      state = await operation(state);
      line = undefined;
    }
    return ended(cleaned(state));
  } catch (error) {
    return globalThis.__failed(job, described(error, line));
  }
});

// Whether an edge is followed.
define('__condition', (condition, state) => Boolean(condition(JSON.parse(state || '{}'))));
