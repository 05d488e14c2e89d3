// `dateFns` of @openfn/language-common: the functions of date-fns that jobs use most, in the zone of the process.

const { __define: define } = globalThis;

const monthNames = [
  'January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December',
];
const dayNames = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

const dateOf = value => new Date(value);
const isValid = value => !Number.isNaN(dateOf(value).getTime());
const valid = value => {
  if (!isValid(value)) throw new RangeError('Invalid time value');
  return dateOf(value);
};
const padded = (number, size) => String(Math.abs(number)).padStart(size, '0');

// --- Patterns: letters of the same kind in a row stand for a part of the date ------------------------------------------

const zone = (date, colon, zulu) => {
  const offset = -date.getTimezoneOffset();
  if (zulu && offset === 0) return 'Z';
  return `${offset < 0 ? '-' : '+'}${padded(Math.trunc(offset / 60), 2)}${colon}${padded(offset % 60, 2)}`;
};

const shownAs = {
  y: (d, n) => (n === 2 ? padded(d.getFullYear() % 100, 2) : padded(d.getFullYear(), n)),
  M: (d, n) => (n > 3 ? monthNames[d.getMonth()] : n === 3 ? monthNames[d.getMonth()].slice(0, 3) : padded(d.getMonth() + 1, n)),
  d: (d, n) => padded(d.getDate(), n),
  E: (d, n) => (n > 3 ? dayNames[d.getDay()] : dayNames[d.getDay()].slice(0, 3)),
  a: d => (d.getHours() < 12 ? 'AM' : 'PM'),
  h: (d, n) => padded(d.getHours() % 12 || 12, n),
  H: (d, n) => padded(d.getHours(), n),
  m: (d, n) => padded(d.getMinutes(), n),
  s: (d, n) => padded(d.getSeconds(), n),
  S: (d, n) => padded(d.getMilliseconds(), 3).slice(0, n),
  x: (d, n) => zone(d, n === 3 ? ':' : '', false),
  X: (d, n) => zone(d, n === 3 ? ':' : '', true),
  t: d => String(Math.floor(d.getTime() / 1000)),
  T: d => String(d.getTime()),
};

const partsOf = pattern => pattern.match(/''|'(?:[^']|'')+'|([a-zA-Z])\1*|[^a-zA-Z']+/g) ?? [];

const literal = part => (part === "''" ? "'" : part[0] === "'" ? part.slice(1, -1).replaceAll("''", "'") : undefined);

const format = (value, pattern) => {
  const date = valid(value);
  return partsOf(pattern)
    .map(part => {
      if (literal(part) !== undefined) return literal(part);
      if (!/^[a-zA-Z]/.test(part)) return part;
      const show = shownAs[part[0]];
      if (!show) throw new RangeError(`Format string contains an unescaped latin alphabet character \`${part[0]}\``);
      return show(date, part.length);
    })
    .join('');
};

const readers = {
  y: n => [n === 2 ? '\\d{2}' : '\\d{1,4}', (f, text) => (f.year = n === 2 ? 2000 + +text : +text)],
  M: n => (n > 2
    ? ['[A-Za-z]+', (f, text) => (f.month = monthNames.findIndex(name => name.toLowerCase().startsWith(text.toLowerCase())))]
    : ['\\d{1,2}', (f, text) => (f.month = text - 1)]),
  d: () => ['\\d{1,2}', (f, text) => (f.day = +text)],
  E: () => ['[A-Za-z]+', () => {}],
  a: () => ['[AaPp]\\.?[Mm]\\.?', (f, text) => (f.afternoon = /^p/i.test(text))],
  h: () => ['\\d{1,2}', (f, text) => (f.hour = text % 12)],
  H: () => ['\\d{1,2}', (f, text) => (f.hour = +text)],
  m: () => ['\\d{1,2}', (f, text) => (f.minute = +text)],
  s: () => ['\\d{1,2}', (f, text) => (f.second = +text)],
  S: n => [`\\d{${n}}`, (f, text) => (f.milli = +text.padEnd(3, '0').slice(0, 3))],
  x: () => ['Z|[+-]\\d{2}:?\\d{2}', (f, text) => (f.zone = text)],
};
readers.X = readers.x;

const parse = (text, pattern, reference) => {
  const found = { year: dateOf(reference ?? Date.now()).getFullYear(), month: 0, day: 1, hour: 0, minute: 0, second: 0, milli: 0 };
  const notes = [];
  const escaped = plain => plain.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const expression = partsOf(pattern).map(part => {
    if (!/^[a-zA-Z]/.test(part)) return escaped(literal(part) ?? part);
    const [accepted, note] = readers[part[0]](part.length);
    notes.push(note);
    return `(${accepted})`;
  });
  const match = new RegExp(`^${expression.join('')}$`).exec(String(text).trim());
  if (!match) return new Date(NaN);
  notes.forEach((note, index) => note(found, match[index + 1]));
  const { year, month, day, minute, second, milli, zone: offset, afternoon } = found;
  const hour = found.hour + (afternoon ? 12 : 0);
  const date = new Date(year, month, day, hour, minute, second, milli);
  if (month < 0 || date.getMonth() !== month || date.getDate() !== day) return new Date(NaN);
  if (!offset) return date;
  const [, sign, hours, minutes] = /([+-])(\d{2}):?(\d{2})/.exec(offset) ?? ['', '+', 0, 0];
  const away = (sign === '-' ? -1 : 1) * (hours * 60 + +minutes);
  return new Date(Date.UTC(year, month, day, hour, minute, second, milli) - away * 60_000);
};

// --- Arithmetic -----------------------------------------------------------------------------------------------------

const millis = { Milliseconds: 1, Seconds: 1_000, Minutes: 60_000, Hours: 3_600_000 };
const dateFns = { format, isValid, parse };

for (const [unit, size] of Object.entries(millis)) {
  dateFns[`add${unit}`] = (value, count) => new Date(dateOf(value).getTime() + count * size);
  dateFns[`differenceIn${unit}`] = (later, earlier) => Math.trunc((dateOf(later) - dateOf(earlier)) / size) || 0;
}
dateFns.addDays = (value, count) => {
  const date = dateOf(value);
  date.setDate(date.getDate() + count);
  return date;
};
dateFns.addWeeks = (value, count) => dateFns.addDays(value, count * 7);
dateFns.addMonths = (value, count) => {
  const date = dateOf(value);
  const last = new Date(date.getFullYear(), date.getMonth() + count + 1, 0).getDate();
  date.setMonth(date.getMonth() + count, Math.min(date.getDate(), last));
  return date;
};
dateFns.addYears = (value, count) => dateFns.addMonths(value, count * 12);
for (const unit of [...Object.keys(millis), 'Days', 'Weeks', 'Months', 'Years']) {
  dateFns[`sub${unit}`] = (value, count) => dateFns[`add${unit}`](value, -count);
}

const starts = {
  Hour: d => d.setMinutes(0, 0, 0),
  Day: () => {},
  Month: d => d.setDate(1),
  Year: d => d.setMonth(0, 1),
};
for (const [unit, set] of Object.entries(starts)) {
  const startOf = value => {
    const date = dateOf(value);
    if (unit !== 'Hour') date.setHours(0, 0, 0, 0);
    set(date);
    return date;
  };
  dateFns[`startOf${unit}`] = startOf;
  dateFns[`endOf${unit}`] = value => new Date(dateFns[`add${unit}s`](startOf(value), 1) - 1);
  dateFns[`isSame${unit}`] = (a, b) => +startOf(a) === +startOf(b);
}
dateFns.startOfToday = () => dateFns.startOfDay(Date.now());

dateFns.differenceInDays = (later, earlier) => {
  const days = Math.round((dateFns.startOfDay(later) - dateFns.startOfDay(earlier)) / 86_400_000);
  const reached = dateFns.addDays(earlier, days);
  if (days > 0 && reached > dateOf(later)) return days - 1;
  return days < 0 && reached < dateOf(later) ? days + 1 : days;
};

Object.assign(dateFns, {
  formatISO: value => format(value, "yyyy-MM-dd'T'HH:mm:ssXXX"),
  isAfter: (a, b) => dateOf(a) > dateOf(b),
  isBefore: (a, b) => dateOf(a) < dateOf(b),
  isEqual: (a, b) => +dateOf(a) === +dateOf(b),
  // A date without a time is one of the zone of the process.
  parseISO: text => dateOf(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00` : text),
});

define('dateFns', dateFns);
