// The cursor of @openfn/language-common and the dates in words that it takes. Days begin at midnight UTC.

const { __define: define, __resolved: resolved } = globalThis;

const midnight = daysAgo => {
  const date = new Date();
  date.setUTCDate(date.getUTCDate() - daysAgo);
  date.setUTCHours(0, 0, 0, 0);
  return date;
};

const parseDate = (text, start) => {
  if (text === 'start') return start;
  if (text === 'now' || text === 'end') return new Date();
  if (text === 'today') return midnight(0);
  if (text === 'yesterday') return midnight(1);
  const [, count, unit] = /(\d+)\s+(hour|day)s? ago$/.exec(text) ?? [];
  if (unit === 'hour') return new Date(Date.now() - count * 3_600_000);
  return unit === 'day' ? midnight(+count) : text;
};
define('__parseDate', parseDate);

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const two = number => String(number).padStart(2, '0');
const shown = date =>
  `${two(date.getUTCHours())}:${two(date.getUTCMinutes())} ${date.getUTCDate()} ${months[date.getUTCMonth()]} ` +
  `${date.getUTCFullYear()} (GMT+0)`;

let start;
// As in OpenFn, a key once given holds for the rest of the run.
let cursorKey = 'cursor';

define('cursor', (value, options = {}) => state => {
  const { format, ...rest } = options;
  const [given, { defaultValue, key }] = resolved(state, [value, rest]);
  cursorKey = key || cursorKey;
  start ??= new Date();
  const chosen = given ?? defaultValue;
  const date = typeof chosen === 'string' ? parseDate(chosen, start) : undefined;
  if (date instanceof Date) {
    state[cursorKey] = format?.(date) ?? date.toISOString();
    console.log(`Setting ${cursorKey} "${chosen}" to: ${format ? state[cursorKey] : shown(date)}`);
    return state;
  }
  state[cursorKey] = format?.(chosen) ?? chosen;
  console.log(`Setting ${cursorKey} to:`, state[cursorKey]);
  return state;
});
