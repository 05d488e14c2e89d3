// JSONPath: $.a.b, ['a'], [0], [-1], [0:2:1], [*], .*, ..a, [0,1], ['a','b'], [?(@.a > 1 && @.b == 'x')].

const { __define: define } = globalThis;

const unquoted = text => text.replace(/^(['"])(.*)\1$/s, '$2');

// The end of the bracket that opens at a place.
const bracketEnd = (path, at) => {
  let depth = 0;
  for (let quote = ''; at < path.length; at++) {
    const char = path[at];
    if (quote) quote = char === quote ? '' : quote;
    else if (char === '"' || char === "'") quote = char;
    else if (char === '[') depth++;
    else if (char === ']' && --depth === 0) return at;
  }
  throw new SyntaxError(`invalid JSONPath: ${path}`);
};

const listOf = text => text.match(/'[^']*'|"[^"]*"|[^,\s][^,]*/g).map(name => unquoted(name.trim()));

const selector = inner => {
  if (inner === '*') return { all: true };
  if (/^-?\d*:-?\d*(:\d*)?$/.test(inner)) {
    const [start, end, step] = inner.split(':').map(text => (text ? +text : undefined));
    return { start, end, step: step || 1 };
  }
  if (inner.startsWith('?')) return { filter: filterOf(inner.slice(1)) };
  return { names: listOf(inner) };
};

const parse = path => {
  const steps = [];
  let at = path[0] === '$' ? 1 : 0;
  while (at < path.length) {
    const deep = path.startsWith('..', at);
    if (deep) at += 2;
    else if (path[at] === '.') at++;
    if (path[at] === '[') {
      const end = bracketEnd(path, at);
      steps.push({ deep, ...selector(path.slice(at + 1, end).trim()) });
      at = end + 1;
    } else {
      const [name] = /^[^.[]*/.exec(path.slice(at));
      if (name === '*') steps.push({ deep, all: true });
      else if (name) steps.push({ deep, names: [name] });
      at += name.length || 1;
    }
  }
  return steps;
};

// --- Filters: comparisons of paths and literals, with &&, || and ! ---------------------------------------------------

const compare = {
  '===': (a, b) => a === b, '!==': (a, b) => a !== b, '==': (a, b) => a == b, '!=': (a, b) => a != b,
  '<=': (a, b) => a <= b, '>=': (a, b) => a >= b, '<': (a, b) => a < b, '>': (a, b) => a > b,
};

const filterOf = text => {
  const token = /\s*(===|!==|==|!=|<=|>=|&&|\|\||[<>!()]|'[^']*'|"[^"]*"|-?\d+(?:\.\d+)?|@(?:\.[\w$]+|\[[^\]]*\])*|\w+)/y;
  const tokens = [];
  while (/\S/.test(text.slice(token.lastIndex))) {
    const at = token.lastIndex;
    const match = token.exec(text);
    if (!match) throw new SyntaxError(`this filter is not understood from «${text.slice(at)}» on: ${text}`);
    tokens.push(match[1]);
  }
  const literals = { true: true, false: false, null: null, undefined };
  const primary = () => {
    const next = tokens.shift();
    if (next === '!') {
      const inner = primary();
      return item => !inner(item);
    }
    if (next === '(') {
      const inner = either();
      if (tokens.shift() !== ')') throw new SyntaxError(`a bracket is open in the filter ${text}`);
      return inner;
    }
    if (next?.[0] === '@') {
      const names = parse(next.slice(1)).map(step => step.names[0]);
      return item => names.reduce((value, name) => value?.[name], item);
    }
    if (Object.hasOwn(literals, next)) return () => literals[next];
    if (/^['"]/.test(next)) return () => unquoted(next);
    if (/^-?\d/.test(next)) return () => +next;
    throw new SyntaxError(`this filter is not understood: ${text}`);
  };
  const comparison = () => {
    const left = primary();
    if (!Object.hasOwn(compare, tokens[0])) return left;
    const test = compare[tokens.shift()];
    const right = primary();
    return item => test(left(item), right(item));
  };
  const both = () => {
    let left = comparison();
    while (tokens[0] === '&&') {
      tokens.shift();
      const [first, second] = [left, comparison()];
      left = item => first(item) && second(item);
    }
    return left;
  };
  const either = () => {
    let left = both();
    while (tokens[0] === '||') {
      tokens.shift();
      const [first, second] = [left, both()];
      left = item => first(item) || second(item);
    }
    return left;
  };
  const filter = either();
  if (tokens.length > 0) throw new SyntaxError(`this filter is not understood: ${text}`);
  return filter;
};

// --- Evaluation -----------------------------------------------------------------------------------------------------

const children = value => (value && typeof value === 'object' ? Object.values(value) : []);

const descend = value => [value, ...children(value).flatMap(descend)];

const slice = (list, { start, end, step }) => list.slice(start, end).filter((_, index) => index % step === 0);

const select = (value, step) => {
  if (value === null || typeof value !== 'object') return [];
  if (step.all) return children(value);
  if (step.filter) return children(value).filter(step.filter);
  if (step.step) return Array.isArray(value) ? slice(value, step) : [];
  return step.names
    .map(name => (Array.isArray(value) && /^-\d+$/.test(name) ? value.length + +name : name))
    .filter(name => Object.hasOwn(value, name))
    .map(name => value[name]);
};

const parsed = new Map();

define('__path', (path, json) => {
  let steps = parsed.get(path);
  if (!steps) parsed.set(path, (steps = parse(String(path).trim())));
  return steps.reduce(
    (values, step) => (step.deep ? values.flatMap(descend) : values).flatMap(value => select(value, step)),
    [json]
  );
});
