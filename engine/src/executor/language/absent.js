// Names of @openfn/language-common that are not here: whoever uses one is told so, and why.

const { __define: define } = globalThis;

const absent = (object, prefix, names, why) => {
  for (const name of names) {
    Object.defineProperty(object, name, {
      configurable: true,
      get() {
        throw new Error(`${prefix}${name} of @openfn/language-common is not available in keyway's own executor: ${why}`);
      },
      set(value) {
        Object.defineProperty(object, name, { value, writable: true, configurable: true });
      },
    });
  }
};
define('__absent', absent);

absent(globalThis, '', ['get', 'http', 'post', 'request'], 'jobs have no network here');
