// Names of @openfn/language-common that are not here, lodash and what needs network: whoever uses one is told so.

for (const name of ['_', 'get', 'http', 'post', 'request']) {
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
