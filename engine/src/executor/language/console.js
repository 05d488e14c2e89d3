// The console: log lines, with values shown as text.

const { __define: define, __log: emit, __room: room } = globalThis;

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
define('__textOf', textOf);

const shown = value => {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
  try {
    return textOf(value) ?? String(value);
  } catch {
    return String(value);
  }
};
define('__shown', shown);

// No more of a line is made than what can be of use: nothing once the run has written all that it may.
const method = level => (...args) => {
  const units = room();
  if (units === 0) return;
  const texts = args.map(value => shown(value).slice(0, units));
  emit(level, (texts.length === 1 ? texts[0] : texts.join(' ').slice(0, units)).toWellFormed());
};
const nothing = () => {};
define('console', {
  debug: method(0), trace: method(0), log: method(1), info: method(1), dir: method(1), table: method(1), group: method(1),
  warn: method(2), error: method(3), success: method(4), always: method(5),
  groupEnd: nothing, time: nothing, timeEnd: nothing,
});
