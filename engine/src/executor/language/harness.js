// The harness: runs a step, follows an edge. All values cross the border as JSON text.
//
// Every run pays for what stands here; the rest of the language is loaded where it is needed.

const { __load: load } = globalThis;

const define = (name, value) =>
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
define('__define', define);

define('fn', func => state => func(state));

// lodash, which is large, loads where it is first used.
const lazy = () =>
  Object.defineProperty(globalThis, '_', {
    configurable: true,
    get() {
      // It looks itself whether there is another.
      define('_', undefined);
      try {
        load('lodash');
      } catch (error) {
        lazy();
        throw error;
      }
      return globalThis._;
    },
    set(value) {
      define('_', value);
    },
  });
lazy();

const serialised = value => {
  try {
    return JSON.stringify(value) ?? '';
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    load('console');
    return globalThis.__textOf(value) ?? '';
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
        load('console');
        const hint = 'At the top level of a job there are operations; other code belongs into fn(state => { ... }).';
        throw new TypeError(`operation ${index + 1} is ${globalThis.__shown(operation)}, which is no operation. ${hint}`);
      }
      if (!state) {
        load('console');
        globalThis.__log(2, `WARNING: No state was passed into operation ${index + 1}. Did the previous operation return state?`);
        state = {};
      }
      line = lines[index] ?? 1;
      state = await operation(state);
      line = undefined;
    }
    return ended(cleaned(state));
  } catch (error) {
    load('trouble');
    return globalThis.__failed(job, globalThis.__described(error, line));
  }
});

// Whether an edge is followed.
define('__condition', (condition, state) => Boolean(condition(JSON.parse(state || '{}'))));
