// Dates as text: the patterns of date-fns 2 and the English words in them, in the zone of the process.

const { __define: define } = globalThis;

const monthNames = [
  'January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December',
];
const dayNames = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

const padded = (number, size) => (number < 0 ? '-' : '') + String(Math.abs(number)).padStart(size, '0');

const ordinal = number => {
  const tens = number % 100;
  return number + ((tens < 10 || tens > 20) && ['', 'st', 'nd', 'rd'][number % 10] || 'th');
};

// --- The parts of a pattern -------------------------------------------------------------------------------------------

const longDates = ['MM/dd/yyyy', 'MMM d, y', 'MMMM do, y', 'EEEE, MMMM do, y'];
const longTimes = ['h:mm a', 'h:mm:ss a', 'h:mm:ss a z', 'h:mm:ss a zzzz'];

const long = (_, dates, times) => {
  const parts = [dates && longDates[Math.min(dates.length, 4) - 1], times && longTimes[Math.min(times.length, 4) - 1]];
  return parts.filter(Boolean).join(dates?.length > 2 ? " 'at' " : ', ');
};

// Letters of the same kind in a row, with an `o` behind them where that asks for 1st and 2nd; or a literal.
const partsOf = pattern => {
  const plain = String(pattern).replace(/''|'(?:''|[^'])+(?:'|$)|(P+)(p+)?|(p+)/g, (part, dates, times, alone) =>
    (part[0] === "'" ? part : long(part, dates, times ?? alone)));
  return plain.match(/[yYQqMLwIdDecihHKkms]o|([a-zA-Z])\1*|''|'(?:''|[^'])+(?:'|$)|[^]/g) ?? [];
};

// What a part stands for that is no letter.
const literal = part => {
  if (part === "''") return "'";
  if (part[0] === "'") return part.replace(/^'([^]*?)'?$/, '$1').replaceAll("''", "'");
  return /^[a-zA-Z]/.test(part) ? undefined : part;
};

// Letters that are mistaken for others so often that date-fns takes them only from those who ask for them.
const mistaken = { YY: 'yy', YYYY: 'yyyy', D: 'd', DD: 'dd' };
const guard = (part, pattern, input, options) => {
  const meant = mistaken[part];
  if (!meant || options[part[0] === 'Y' ? 'useAdditionalWeekYearTokens' : 'useAdditionalDayOfYearTokens']) return;
  const what = part[0] === 'Y' ? 'years' : 'days of the month';
  throw new RangeError(`Use \`${meant}\` instead of \`${part}\` (in \`${pattern}\`) for formatting ${what} to the input \`${input}\``);
};

const unknown = letter => new RangeError(`Format string contains an unescaped latin alphabet character \`${letter}\``);

define('__pattern', { dayNames, guard, literal, monthNames, partsOf, unknown });

// --- Weeks ------------------------------------------------------------------------------------------------------------

const dayMillis = 86_400_000;
const dayOf = (year, month, day) => new Date(0).setUTCFullYear(year, month, day);
const weekBefore = (day, first) => day - ((new Date(day).getUTCDay() - first + 7) % 7) * dayMillis;

// The week of a date and the year that it belongs to; weeks start on a day, and the first of a year holds one of January.
const weekOf = (date, { weekStartsOn = 0, firstWeekContainsDate = 1 }) => {
  const day = dayOf(date.getFullYear(), date.getMonth(), date.getDate());
  const firstOf = year => weekBefore(dayOf(year, 0, firstWeekContainsDate), weekStartsOn);
  const year = [1, 0, -1].map(more => date.getFullYear() + more).find(candidate => day >= firstOf(candidate));
  return { year, week: Math.round((weekBefore(day, weekStartsOn) - firstOf(year)) / (7 * dayMillis)) + 1 };
};
const iso = { weekStartsOn: 1, firstWeekContainsDate: 4 };

// --- What each letter shows, from the date, how often it stands there, and the options -----------------------------------

const positive = year => (year > 0 ? year : 1 - year);
const quarter = date => Math.floor(date.getMonth() / 3) + 1;

const counted = count => (date, size, options, part) =>
  (part[1] === 'o' ? ordinal(count(date, options)) : padded(count(date, options), size));

// A number for one or two letters, a name for more.
const named = (count, name) => (date, size, options, part) =>
  (size > 2 ? name(date, size, options) : counted(count)(date, size, options, part));

const cut = name => (date, size) => {
  if (size === 5) return name(date)[0];
  return size < 4 ? name(date).slice(0, 3) : name(date);
};
const month = cut(date => monthNames[date.getMonth()]);
const day = (date, size) => (size === 6 ? dayNames[date.getDay()].slice(0, 2) : cut(() => dayNames[date.getDay()])(date, size));
const quarterName = (date, size) => {
  if (size === 5) return String(quarter(date));
  return size === 3 ? `Q${quarter(date)}` : `${ordinal(quarter(date))} quarter`;
};
const localDay = (date, { weekStartsOn = 0 }) => (date.getDay() - weekStartsOn + 8) % 7 || 7;

const half = date => (date.getHours() < 12 ? 'AM' : 'PM');
const ofHalf = (text, size) => {
  if (size === 3) return text.toLowerCase();
  if (size === 5) return text[0].toLowerCase();
  return size < 3 ? text : text.toLowerCase().replace(/./g, '$&.');
};
const halfOrTwelve = (date, size) => {
  const hour = date.getHours();
  if (hour % 12 !== 0) return ofHalf(half(date), size);
  if (hour === 12) return size === 5 ? 'n' : 'noon';
  return size === 5 ? 'mi' : 'midnight';
};
const partOfDay = date => {
  const hour = date.getHours();
  if (hour < 4) return 'at night';
  return hour < 12 ? 'in the morning' : hour < 17 ? 'in the afternoon' : 'in the evening';
};

const away = (date, colon) => {
  const minutes = Math.abs(date.getTimezoneOffset());
  const sign = date.getTimezoneOffset() > 0 ? '-' : '+';
  return { sign, minutes, text: `${sign}${padded(Math.floor(minutes / 60), 2)}${colon}${padded(minutes % 60, 2)}` };
};
const zone = (date, size) => {
  const { minutes, text } = away(date, size === 2 || size === 4 || size === 1 ? '' : ':');
  return size === 1 && minutes % 60 === 0 ? text.slice(0, 3) : text;
};
const greenwich = (date, size) => {
  const { sign, minutes, text } = away(date, ':');
  if (size > 3) return `GMT${text}`;
  return `GMT${sign}${Math.floor(minutes / 60)}${minutes % 60 === 0 ? '' : `:${padded(minutes % 60, 2)}`}`;
};

const shownAs = {
  G: (d, n) => (d.getFullYear() > 0 ? ['A', 'AD', 'Anno Domini'] : ['B', 'BC', 'Before Christ'])[n === 5 ? 0 : n < 4 ? 1 : 2],
  y: (d, n, options, part) =>
    (part === 'yy' ? padded(positive(d.getFullYear()) % 100, 2) : counted(date => positive(date.getFullYear()))(d, n, options, part)),
  Y: (d, n, options, part) => {
    const year = positive(weekOf(d, options).year);
    return part === 'YY' ? padded(year % 100, 2) : counted(() => year)(d, n, options, part);
  },
  R: (d, n) => padded(weekOf(d, iso).year, n),
  u: (d, n) => padded(d.getFullYear(), n),
  Q: named(quarter, quarterName),
  q: named(quarter, quarterName),
  M: named(date => date.getMonth() + 1, month),
  L: named(date => date.getMonth() + 1, month),
  w: counted((date, options) => weekOf(date, options).week),
  I: counted(date => weekOf(date, iso).week),
  d: counted(date => date.getDate()),
  D: counted(d => Math.round((dayOf(d.getFullYear(), d.getMonth(), d.getDate()) - dayOf(d.getFullYear(), 0, 0)) / dayMillis)),
  E: day,
  e: named(localDay, day),
  c: named(localDay, day),
  i: named(date => date.getDay() || 7, day),
  a: (d, n) => ofHalf(half(d), n),
  b: halfOrTwelve,
  B: partOfDay,
  h: counted(date => date.getHours() % 12 || 12),
  H: counted(date => date.getHours()),
  K: counted(date => date.getHours() % 12),
  k: counted(date => date.getHours() || 24),
  m: counted(date => date.getMinutes()),
  s: counted(date => date.getSeconds()),
  S: (d, n) => padded(Math.floor(d.getMilliseconds() * 10 ** (n - 3)), n),
  x: zone,
  X: (d, n) => (d.getTimezoneOffset() === 0 ? 'Z' : zone(d, n)),
  O: greenwich,
  z: greenwich,
  t: (d, n) => padded(Math.floor(d.getTime() / 1000), n),
  T: (d, n) => padded(d.getTime(), n),
};

define('__format', (value, pattern, options = {}) => {
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) throw new RangeError('Invalid time value');
  return partsOf(pattern)
    .map(part => {
      const plain = literal(part);
      if (plain !== undefined) return plain;
      if (!Object.hasOwn(shownAs, part[0])) throw unknown(part[0]);
      guard(part, pattern, value, options);
      return shownAs[part[0]](date, part[1] === 'o' ? 1 : part.length, options, part);
    })
    .join('');
});
