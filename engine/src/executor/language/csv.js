// parseCsv of @openfn/language-common, for text; there are no streams here.

const { __define: define, __resolved: resolved, composeNextState } = globalThis;

// The rows of a text, each a list of fields, with the line that it ends in and whether that holds nothing at all.
function* rowsOf(text, { delimiter, quote, escape, trim, ltrim, rtrim }, nameOf) {
  let [row, field, quoted, closed, at, line] = [[], '', false, false, 0, 1];
  const begun = () => (trim || ltrim ? field.trim() !== '' : field !== '');
  while (at < text.length) {
    const char = text[at];
    if (quoted && char === escape && text[at + 1] === quote) {
      field += quote;
      at += 2;
      continue;
    }
    if (quoted && char === quote) {
      [quoted, closed] = [false, true];
    } else if (quoted) {
      if (char === '\n') line++;
      field += char;
    } else if (text.startsWith(delimiter, at)) {
      row.push(field);
      [field, closed] = ['', false];
      at += delimiter.length;
      continue;
    } else if (char === '\n' || char === '\r') {
      if (char === '\r' && text[at + 1] === '\n') at++;
      yield [[...row, field], line, row.length === 0 && !closed];
      [row, field, closed] = [[], '', false];
      line++;
    } else if (closed) {
      if (!(trim || rtrim) || /\S/.test(char)) {
        const instead = 'delimiter, record delimiter, trimable character (if activated) or comment';
        throw new Error(`Invalid Closing Quote: got "${char}" at line ${line} instead of ${instead}`);
      }
    } else if (char === quote) {
      if (begun()) {
        const place = JSON.stringify(nameOf(row.length));
        throw new Error(`Invalid Opening Quote: a quote is found on field ${place} at line ${line}, value is ${JSON.stringify(field)}`);
      }
      [field, quoted] = ['', true];
    } else {
      field += char;
    }
    at++;
  }
  if (quoted) throw new Error(`Quote Not Closed: the parsing is finished with an opening quote at line ${line}`);
  if (field !== '' || row.length > 0 || closed) yield [[...row, field], line, row.length === 0 && !closed];
}

const defaults = {
  delimiter: ',', quote: '"', escape: '"', columns: true, bom: true, trim: true, ltrim: true, rtrim: true,
  chunkSize: Infinity, skip_empty_lines: true,
};

const trimmed = (text, options) => {
  if (options.trim || options.ltrim) text = text.trimStart();
  return options.trim || options.rtrim ? text.trimEnd() : text;
};

// Objects by the names of the columns, or the rows as they are when `columns` is false.
function* recordsOf(text, options) {
  let names = Array.isArray(options.columns) ? options.columns : undefined;
  const rows = rowsOf(options.bom ? text.replace(/^\uFEFF/, '') : text, options, index => names?.[index] ?? index);
  for (const [fields, line, bare] of rows) {
    const row = fields.map(field => trimmed(field, options));
    if (options.skip_empty_lines && bare && row[0] === '') continue;
    if (!options.columns) {
      yield row;
    } else if (!names) {
      names = typeof options.columns === 'function' ? options.columns(row) : row;
    } else if (row.length !== names.length) {
      throw new Error(`Invalid Record Length: columns length is ${names.length}, got ${row.length} on line ${line}`);
    } else {
      yield Object.fromEntries(names.map((name, at) => [name, row[at]]));
    }
  }
}

define('parseCsv', (csv, parsingOptions = {}, callback) => async state => {
  const { columns, ...rest } = parsingOptions;
  const [text, given] = resolved(state, [csv, rest]);
  if (typeof text !== 'string') throw new TypeError('parseCsv takes a text here; there are no streams');
  const options = { ...defaults, ...given, ...(columns === undefined ? {} : { columns }) };
  if (options.chunkSize < 1) throw new Error('chunkSize must be at least 1');
  let [next, rows] = [state, []];
  const flush = async () => {
    next = callback ? await callback(next, rows) : composeNextState(next, rows);
    rows = [];
  };
  for (const record of recordsOf(text, options)) {
    rows.push(record);
    if (rows.length === options.chunkSize) await flush();
  }
  if (rows.length > 0) await flush();
  return next;
});
