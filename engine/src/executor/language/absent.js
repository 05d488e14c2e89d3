// Names of @openfn/language-common that need network or Node: whoever uses one is told so.

for (const name of ['_', 'dateFns', 'get', 'http', 'post', 'request', 'validate']) {
  Object.defineProperty(globalThis, name, {
    configurable: true,
    get() {
      throw new Error(`${name} of @openfn/language-common is not available in keyway's own executor`);
    },
    set(value) {
      Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
    },
  });
}
