// `dateFns` of @openfn/language-common, `format` and `parse`, with more of date-fns that jobs of earlier versions use.

const { __define: define, __format: format, __parse: parse } = globalThis;

const dateOf = value => new Date(value);
const isValid = value => !Number.isNaN(dateOf(value).getTime());

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
