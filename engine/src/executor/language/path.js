// JSONPath: $.a.b, ['a'], [0], [-1], [0:2:1], [*], .*, ..a, [0,1], ['a','b'], [(@.length-1)], .*~ for names,
// and filters: [?(@.a > 1 && @.b == 'x' || @.c % 2 == 0 || @property == 'd' || @.e.match(/f/))].

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
  if (inner.startsWith('?')) return { filter: expressionOf(inner.slice(1)) };
  if (inner.startsWith('(')) return { script: expressionOf(inner) };
  return { names: listOf(inner) };
};

const parse = path => {
  const steps = [];
  const keys = path.endsWith('~');
  if (keys) path = path.slice(0, -1);
  if (/\^$|@\w+\(\)$/.test(path)) throw new SyntaxError(`parents and types are not supported here: ${path}`);
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
  if (keys && steps.length > 0) steps.at(-1).keys = true;
  return steps;
};

// --- Expressions in brackets: of paths below `@` and literals ---------------------------------------------------------

const ranks = [
  { '||': (a, b) => a() || b() },
  { '&&': (a, b) => a() && b() },
  {
    '===': (a, b) => a() === b(), '!==': (a, b) => a() !== b(), '==': (a, b) => a() == b(), '!=': (a, b) => a() != b(),
    '<=': (a, b) => a() <= b(), '>=': (a, b) => a() >= b(), '<': (a, b) => a() < b(), '>': (a, b) => a() > b(),
  },
  { '+': (a, b) => a() + b(), '-': (a, b) => a() - b() },
  { '*': (a, b) => a() * b(), '/': (a, b) => a() / b(), '%': (a, b) => a() % b() },
];
const methods = new Set(['endsWith', 'includes', 'indexOf', 'match', 'startsWith', 'toLowerCase', 'toUpperCase', 'trim']);
const literals = { true: true, false: false, null: null, undefined };

const tokensOf = text => {
  const token = /\s*(===|!==|==|!=|<=|>=|&&|\|\||[-+*/%<>!(),]|'[^']*'|"[^"]*"|\d+(?:\.\d+)?|@(?:property\b|(?:\.[\w$]+|\[[^\]]*\])*)|\w+)/y;
  const pattern = /\s*(\/(?:[^/\\]|\\.)+\/[a-z]*)/y;
  const tokens = [];
  let at = 0;
  while (/\S/.test(text.slice(at))) {
    // Where a value may begin, a slash begins a pattern.
    const begins = tokens.length === 0 || /^[^\w'")@]/.test(tokens.at(-1));
    pattern.lastIndex = token.lastIndex = at;
    const match = (begins && pattern.exec(text)) || token.exec(text);
    if (!match) throw new SyntaxError(`this filter is not understood from «${text.slice(at)}» on: ${text}`);
    tokens.push(match[1]);
    at += match[0].length;
  }
  return tokens;
};

// A function of an item and of the name under which it stands.
const expressionOf = text => {
  const tokens = tokensOf(text);
  const strange = () => new SyntaxError(`this filter is not understood: ${text}`);
  const expect = token => {
    if (tokens.shift() !== token) throw new SyntaxError(`a bracket is open in the filter ${text}`);
  };
  const called = names => {
    const method = names.at(-1);
    if (!methods.has(method)) throw new SyntaxError(`${method}() is not supported in a filter: ${text}`);
    const given = [];
    for (tokens.shift(); tokens[0] !== ')'; ) {
      given.push(binary(0));
      if (tokens[0] === ',') tokens.shift();
    }
    expect(')');
    return (item, name) => {
      const value = names.slice(0, -1).reduce((inner, key) => inner?.[key], item);
      return typeof value?.[method] === 'function' ? value[method](...given.map(one => one(item, name))) : undefined;
    };
  };
  const primary = () => {
    const next = tokens.shift();
    if (next === '!' || next === '-') {
      const inner = primary();
      return next === '!' ? (item, name) => !inner(item, name) : (item, name) => -inner(item, name);
    }
    if (next === '(') {
      const inner = binary(0);
      expect(')');
      return inner;
    }
    if (next === '@property') return (_, name) => name;
    if (next?.[0] === '@') {
      const names = parse(next.slice(1)).map(step => step.names?.[0]);
      return tokens[0] === '(' ? called(names) : item => names.reduce((value, name) => value?.[name], item);
    }
    if (Object.hasOwn(literals, next)) return () => literals[next];
    if (/^['"]/.test(next)) return () => unquoted(next);
    if (/^\d/.test(next)) return () => +next;
    if (next?.length > 1 && next[0] === '/') {
      const end = next.lastIndexOf('/');
      return () => new RegExp(next.slice(1, end), next.slice(end + 1));
    }
    throw strange();
  };
  const binary = rank => {
    if (rank === ranks.length) return primary();
    let left = binary(rank + 1);
    while (Object.hasOwn(ranks[rank], tokens[0])) {
      const apply = ranks[rank][tokens.shift()];
      const [first, second] = [left, binary(rank + 1)];
      left = (item, name) => apply(() => first(item, name), () => second(item, name));
    }
    return left;
  };
  const expression = binary(0);
  if (tokens.length > 0) throw strange();
  return expression;
};

// --- Evaluation -----------------------------------------------------------------------------------------------------

const children = value => (value && typeof value === 'object' ? Object.values(value) : []);

const descend = value => [value, ...children(value).flatMap(descend)];

const slice = (list, { start, end, step }) => [...list.keys()].slice(start, end).filter((_, index) => index % step === 0);

// The names below a value that a step chooses.
const chosen = (value, step) => {
  if (typeof value === 'string') return step.names?.[0] === 'length' ? ['length'] : [];
  if (value === null || typeof value !== 'object') return [];
  if (step.all) return Object.keys(value);
  if (step.filter) return Object.keys(value).filter(name => step.filter(value[name], name));
  if (step.step) return Array.isArray(value) ? slice(value, step) : [];
  return (step.script ? [String(step.script(value))] : step.names)
    .map(name => (Array.isArray(value) && /^-\d+$/.test(name) ? value.length + +name : name))
    .filter(name => Object.hasOwn(value, name));
};

const select = (value, step) =>
  chosen(value, step).map(name => (step.keys ? (Array.isArray(value) && name !== 'length' ? +name : name) : value[name]));

const parsed = new Map();

define('__path', (path, json) => {
  if (path === '') return [];
  let steps = parsed.get(path);
  if (!steps) parsed.set(path, (steps = parse(String(path).trim())));
  return steps.reduce(
    (values, step) => (step.deep ? values.flatMap(descend) : values).flatMap(value => select(value, step)),
    [json]
  );
});
