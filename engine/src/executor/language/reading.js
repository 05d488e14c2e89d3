// Text as dates: what a pattern of date-fns 2 finds in a text, set on a date of reference from the year down.

const { __define: define, __pattern: pattern } = globalThis;
const { dayNames, guard, literal, monthNames, partsOf, unknown } = pattern;

// Each finder returns the value and the length of what it took, or nothing.
const digits = found => found && [parseInt(found[0], 10), found[0].length];

// `one` is for a single letter; more of them take that many digits at most.
const number = (one = /^[0-5]?\d/) => (text, part) => {
  if (part[1] === 'o') return digits(/^(\d+)(th|st|nd|rd)?/i.exec(text));
  return digits((part.length === 1 ? one : new RegExp(`^\\d{1,${part.length}}`)).exec(text));
};

// The first name that the text begins with, cut to so many letters.
const name = (names, text, size) => {
  const at = names.findIndex(long => text.toLowerCase().startsWith(long.slice(0, size).toLowerCase()));
  return at < 0 ? undefined : [at, Math.min(size, names[at].length)];
};
const month = (text, part) => {
  const sizes = part.length === 5 ? [1] : part.length === 3 ? [3, 1] : [9, 3, 1];
  return sizes.map(size => name(monthNames, text, size)).find(Boolean);
};
const day = (text, part) => {
  const sizes = part.length === 5 ? [1] : part.length === 6 ? [2, 1] : part.length < 4 ? [3, 2, 1] : [9, 3, 2, 1];
  return sizes.map(size => name(dayNames, text, size)).find(Boolean);
};
const monthOrNumber = (text, part) => {
  if (part[1] !== 'o' && part.length > 2) return month(text, part);
  const found = number(/^(1[0-2]|0?\d)/)(text, part);
  return found && [found[0] - 1, found[1]];
};
const quarter = (text, part) => {
  if (part[1] === 'o' || part.length < 3) return number(/^\d/)(text, part);
  const [all, value] = /^q?([1-4])((th|st|nd|rd)? quarter)?/i.exec(text) ?? [];
  return all && [+value, all.length];
};

// The hour at which a half of the day begins.
const half = text => {
  const found = /^([ap]\.?\s?m\.?|midnight|noon|[ap]|mi|n)/i.exec(text);
  return found && [/^(p|n)/i.test(found[0]) ? 12 : 0, found[0].length];
};

const zones = [/^([+-])(\d\d)(\d\d)?|^Z/, /^([+-])(\d\d)(\d\d)|^Z/, /^([+-])(\d\d):(\d\d)|^Z/];
zones.push(/^([+-])(\d\d)(\d\d)(\d\d)?|^Z/, /^([+-])(\d\d):(\d\d)(?::(\d\d))?|^Z/);
const zone = (text, part) => {
  const found = (zones[part.length - 1] ?? zones[2]).exec(text);
  if (!found) return undefined;
  const [all, sign, hours = 0, minutes = 0, seconds = 0] = found;
  return [(sign === '-' ? -1 : 1) * ((hours * 60 + +minutes) * 60 + +seconds) * 1000, all.length];
};

// A year of two digits is the one nearest to the reference, up to 50 years ahead of it.
const near = (two, year) => {
  const end = year + 50;
  return two + Math.floor(end / 100) * 100 - (two >= end % 100 ? 100 : 0);
};

// --- What each letter reads -------------------------------------------------------------------------------------------
//
// `rank`: greater units are set before smaller ones, and of two for the same the first listed here counts. `not`: letters that
// do not go with it. `set` works on a date whose UTC fields are those of the zone, and returns false for what no date has.

const set = (low, high, apply) => (date, value) => value >= low && value <= high && (apply(date, value), true);
const months = set(0, 11, (date, value) => (date.setUTCMonth(value, 1), date.setUTCHours(0, 0, 0, 0)));
const hours = (low, high, of = value => value) =>
  set(low, high, (date, value) => date.setUTCHours(of(value, date.getUTCHours() >= 12), 0, 0, 0));
const days = (apply, last) => (date, value) =>
  set(1, last(date), apply)(date, value) && (date.setUTCHours(0, 0, 0, 0), true);
const leap = date => new Date(Date.UTC(date.getUTCFullYear(), 1, 29)).getUTCMonth() === 1;
const inMonth = date => new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();

const year = (date, value, part) => {
  if (part !== 'yy' && value < 1) return false;
  date.setUTCFullYear(part === 'yy' ? near(value, date.getUTCFullYear()) : value, 0, 1);
  date.setUTCHours(0, 0, 0, 0);
  return true;
};

const readers = {
  y: { rank: 130, not: '', find: number(/^\d{1,4}/), set: year },
  Q: { rank: 120, not: 'qMLdD', find: quarter, set: set(1, 4, (date, value) => months(date, (value - 1) * 3)) },
  q: { rank: 120, not: 'QMLdD', find: quarter, set: set(1, 4, (date, value) => months(date, (value - 1) * 3)) },
  M: { rank: 110, not: 'qQLD', find: monthOrNumber, set: months },
  L: { rank: 110, not: 'qQMD', find: monthOrNumber, set: months },
  d: { rank: 90, not: 'qQD', find: number(/^(3[0-1]|[0-2]?\d)/), set: days((date, value) => date.setUTCDate(value), inMonth) },
  D: {
    rank: 90,
    not: 'qQMLdE',
    find: (text, part) => number(/^(36[0-6]|3[0-5]\d|[0-2]?\d?\d)/)(text, part === 'DD' ? 'D' : part),
    set: days((date, value) => date.setUTCMonth(0, value), date => (leap(date) ? 366 : 365)),
  },
  E: {
    rank: 90,
    not: 'D',
    find: day,
    set: (date, value) => {
      date.setUTCDate(date.getUTCDate() + value - date.getUTCDay());
      date.setUTCHours(0, 0, 0, 0);
      return true;
    },
  },
  a: { rank: 80, not: 'bHk', find: half, set: hours(0, 12) },
  b: { rank: 80, not: 'aHk', find: half, set: hours(0, 12) },
  h: { rank: 70, not: 'HKk', find: number(/^(1[0-2]|0?\d)/), set: hours(1, 12, (value, late) => (value % 12) + (late ? 12 : 0)) },
  H: { rank: 70, not: 'abhKk', find: number(/^(2[0-3]|[0-1]?\d)/), set: hours(0, 23) },
  K: { rank: 70, not: 'hHk', find: number(/^(1[0-1]|0?\d)/), set: hours(0, 11, (value, late) => value + (late ? 12 : 0)) },
  k: { rank: 70, not: 'abhHK', find: number(/^(2[0-4]|[0-1]?\d)/), set: hours(1, 24, value => value % 24) },
  m: { rank: 60, not: '', find: number(), set: set(0, 59, (date, value) => date.setUTCMinutes(value, 0, 0)) },
  s: { rank: 50, not: '', find: number(), set: set(0, 59, (date, value) => date.setUTCSeconds(value, 0)) },
  S: {
    rank: 30,
    not: '',
    find: (text, part) => {
      const found = digits(new RegExp(`^\\d{1,${part.length}}`).exec(text));
      return found && [Math.floor(found[0] * 10 ** (3 - part.length)), found[1]];
    },
    set: (date, value) => (date.setUTCMilliseconds(value), true),
  },
  X: { rank: 10, not: 'x', find: zone },
  x: { rank: 10, not: 'X', find: zone },
  t: { rank: 40, not: '*', find: text => digits(/^-?\d+/.exec(text)) },
  T: { rank: 20, not: '*', find: text => digits(/^-?\d+/.exec(text)) },
};

// Letters that date-fns reads, and this file does not.
const absent = new Set('BGIRYceiuw');

const never = () => new Date(NaN);

// Parts of a pattern with what they found, or nothing where the text is another.
const found = (text, pattern, options) => {
  const all = [];
  for (const part of partsOf(pattern)) {
    const plain = literal(part);
    if (plain !== undefined) {
      if (!text.startsWith(plain)) return undefined;
      text = text.slice(plain.length);
      continue;
    }
    const [letter] = part;
    guard(part, pattern, text, options);
    if (absent.has(letter)) throw new RangeError(`\`${part}\` is not supported here in a pattern that a date is read by`);
    if (!Object.hasOwn(readers, letter)) throw unknown(letter);
    const { not, find } = readers[letter];
    const alone = not === '*' && all.length > 0;
    const other = all.find(before => readers[before.letter].not === '*' || before.letter === letter || not.includes(before.letter));
    if (alone || other) {
      const [first, second] = alone ? [part, 'any other token'] : [other.part, `\`${part}\``];
      throw new RangeError(`The format string mustn't contain \`${first}\` and ${second} at the same time`);
    }
    const [value, length] = find(text, part) ?? [];
    if (length === undefined) return undefined;
    all.push({ letter, part, value });
    text = text.slice(length);
  }
  return text.trim() === '' ? all : undefined;
};

define('__parse', (given, pattern, reference = Date.now(), options = {}) => {
  const start = new Date(reference);
  const [text, all] = [String(given), found(String(given), pattern, options)];
  if (!all || Number.isNaN(start.getTime())) return never();
  if (pattern === '') return text === '' ? start : never();
  const stamp = all.find(({ letter }) => letter === 't' || letter === 'T');
  if (stamp) return new Date(stamp.value * (stamp.letter === 't' ? 1000 : 1));
  const order = Object.keys(readers);
  const rank = ({ letter }) => readers[letter].rank;
  all.sort((a, b) => rank(b) - rank(a) || order.indexOf(a.letter) - order.indexOf(b.letter));
  const date = new Date(start.getTime() - start.getTimezoneOffset() * 60_000);
  const fields = all.filter((one, index) => readers[one.letter].set && (index === 0 || rank(all[index - 1]) !== rank(one)));
  for (const { letter, part, value } of fields) if (!readers[letter].set(date, value, part)) return never();
  const offset = all.find(({ letter }) => letter === 'x' || letter === 'X');
  if (offset) return new Date(date.getTime() - offset.value);
  const local = new Date(0);
  local.setFullYear(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate());
  local.setHours(date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds(), date.getUTCMilliseconds());
  return local;
});
