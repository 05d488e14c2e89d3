// validate of @openfn/language-common: JSON Schema, from the state or given; a schema behind a URL is out of reach.

const { __define: define, __path: jsonPath, __resolved: resolved } = globalThis;

const typeOf = value => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);
const isOf = (value, type) => (type === 'integer' ? Number.isInteger(value) : typeOf(value) === type);
const same = (a, b) => {
  if (a === b || typeOf(a) !== typeOf(b) || typeof a !== 'object') return a === b;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every(key => Object.hasOwn(b, key) && same(a[key], b[key]));
};
const length = text => [...text].length;
const pointer = key => String(key).replace(/~/g, '~0').replace(/\//g, '~1');

// Each test: what it is about, when it fails, the message, and what else is told; the words are those of ajv.
const compared = sign => n => ({ comparison: sign, limit: n });
const plain = {
  type: [null, (v, types) => ![].concat(types).some(type => isOf(v, type)), types => `must be ${[].concat(types).join(',')}`, type => ({ type })],
  enum: [null, (v, values) => !values.some(value => same(v, value)), () => 'must be equal to one of the allowed values', allowedValues => ({ allowedValues })],
  const: [null, (v, value) => !same(v, value), () => 'must be equal to constant', allowedValue => ({ allowedValue })],
  minimum: ['number', (v, n) => v < n, n => `must be >= ${n}`, compared('>=')],
  maximum: ['number', (v, n) => v > n, n => `must be <= ${n}`, compared('<=')],
  exclusiveMinimum: ['number', (v, n) => v <= n, n => `must be > ${n}`, compared('>')],
  exclusiveMaximum: ['number', (v, n) => v >= n, n => `must be < ${n}`, compared('<')],
  multipleOf: ['number', (v, n) => !Number.isInteger(v / n), n => `must be multiple of ${n}`, multipleOf => ({ multipleOf })],
  minLength: ['string', (v, n) => length(v) < n, n => `must NOT have fewer than ${n} characters`],
  maxLength: ['string', (v, n) => length(v) > n, n => `must NOT have more than ${n} characters`],
  pattern: ['string', (v, p) => !new RegExp(p, 'u').test(v), p => `must match pattern "${p}"`, pattern => ({ pattern })],
  minItems: ['array', (v, n) => v.length < n, n => `must NOT have fewer than ${n} items`],
  maxItems: ['array', (v, n) => v.length > n, n => `must NOT have more than ${n} items`],
  minProperties: ['object', (v, n) => Object.keys(v).length < n, n => `must NOT have fewer than ${n} properties`],
  maxProperties: ['object', (v, n) => Object.keys(v).length > n, n => `must NOT have more than ${n} properties`],
};

const silent = new Set([
  '$comment', '$defs', '$id', '$schema', 'default', 'definitions', 'deprecated', 'description', 'else', 'examples',
  'readOnly', 'then', 'title', 'writeOnly',
]);

const first = (items, test) => {
  for (const item of items) {
    const found = test(item);
    if (found) return found;
  }
  return undefined;
};

// The first thing that is wrong with a value, if something is, after what led to it.
const check = (schema, value, root, path, at) => {
  if (schema === true) return undefined;
  const wrong = (keyword, params, message) => [{ instancePath: path, schemaPath: `${at}/${keyword}`, keyword, params, message }];
  if (schema === false) return wrong('false schema', {}, 'boolean schema is false');
  const within = (inner, key, part) => check(inner, value[key], root, `${path}/${pointer(key)}`, `${at}/${part}`);
  const here = (inner, part) => check(inner, value, root, path, `${at}/${part}`);
  const known = key => Object.hasOwn(schema.properties ?? {}, key)
    || Object.keys(schema.patternProperties ?? {}).some(pattern => new RegExp(pattern, 'u').test(key));
  const nested = {
    $ref: ref => {
      if (!ref.startsWith('#')) throw new Error(`can't resolve reference ${ref}: only references within the schema are`);
      const names = ref.slice(1).split('/').slice(1).map(name => decodeURIComponent(name).replace(/~1/g, '/').replace(/~0/g, '~'));
      const target = names.reduce((inner, name) => inner?.[name], root);
      if (target === undefined) throw new Error(`can't resolve reference ${ref}`);
      return check(target, value, root, path, ref);
    },
    allOf: list => first(list.entries(), ([index, inner]) => here(inner, `allOf/${index}`)),
    anyOf: list => {
      const each = list.map((inner, index) => here(inner, `anyOf/${index}`));
      return each.includes(undefined) ? undefined : [...each.flat(), ...wrong('anyOf', {}, 'must match a schema in anyOf')];
    },
    oneOf: list => {
      const each = list.map((inner, index) => here(inner, `oneOf/${index}`));
      const passing = [...each.keys()].filter(index => each[index] === undefined);
      if (passing.length === 1) return undefined;
      const [told, passingSchemas] = passing.length === 0 ? [each.flat(), null] : [[], passing.slice(0, 2)];
      return [...told, ...wrong('oneOf', { passingSchemas }, 'must match exactly one schema in oneOf')];
    },
    not: inner => (here(inner, 'not') ? undefined : wrong('not', {}, 'must NOT be valid')),
    if: inner => {
      const branch = here(inner, 'if') ? 'else' : 'then';
      return schema[branch] === undefined ? undefined : here(schema[branch], branch);
    },
  };
  const ofObject = {
    required: keys => first(keys, key => !Object.hasOwn(value, key) && wrong('required', { missingProperty: key }, `must have required property '${key}'`)),
    properties: inner => first(Object.keys(inner).filter(key => Object.hasOwn(value, key)), key => within(inner[key], key, `properties/${pointer(key)}`)),
    patternProperties: inner => first(Object.keys(inner), pattern =>
      first(Object.keys(value).filter(key => new RegExp(pattern, 'u').test(key)), key => within(inner[pattern], key, `patternProperties/${encodeURIComponent(pointer(pattern))}`))),
    additionalProperties: inner => first(Object.keys(value).filter(key => !known(key)), key => (inner === false
      ? wrong('additionalProperties', { additionalProperty: key }, 'must NOT have additional properties')
      : within(inner, key, 'additionalProperties'))),
    propertyNames: inner => first(Object.keys(value), propertyName => {
      const told = check(inner, propertyName, root, path, `${at}/propertyNames`)?.map(error => ({ ...error, propertyName }));
      return told && [...told, ...wrong('propertyNames', { propertyName }, 'property name must be valid')];
    }),
    dependencies: all => first(Object.keys(all).filter(key => Object.hasOwn(value, key)), property => {
      const needed = all[property];
      if (!Array.isArray(needed)) return here(needed, `dependencies/${pointer(property)}`);
      const missingProperty = needed.find(key => !Object.hasOwn(value, key));
      const params = { property, missingProperty, depsCount: needed.length, deps: needed.join(', ') };
      const what = needed.length === 1 ? 'property' : 'properties';
      return missingProperty && wrong('dependencies', params, `must have ${what} ${params.deps} when property ${property} is present`);
    }),
  };
  const ofArray = {
    prefixItems: list => first(list.slice(0, value.length).keys(), index => within(list[index], index, `prefixItems/${index}`)),
    items: inner => first([...value.keys()].slice(schema.prefixItems?.length ?? 0), index =>
      (Array.isArray(inner) ? inner[index] !== undefined && within(inner[index], index, `items/${index}`) : within(inner, index, 'items'))),
    uniqueItems: unique => {
      if (!unique) return undefined;
      for (let i = value.length - 1; i > 0; i--) {
        const j = value.findIndex((item, index) => index < i && same(item, value[i]));
        if (j >= 0) return wrong('uniqueItems', { i, j }, `must NOT have duplicate items (items ## ${j} and ${i} are identical)`);
      }
      return undefined;
    },
    contains: inner => (value.some((_, index) => !within(inner, index, 'contains')) ? undefined : wrong('contains', { minContains: 1 }, 'must contain at least 1 valid item(s)')),
  };
  return first(Object.entries(schema), ([keyword, argument]) => {
    if (silent.has(keyword)) return undefined;
    if (Object.hasOwn(nested, keyword)) return nested[keyword](argument);
    if (Object.hasOwn(ofObject, keyword)) return typeOf(value) === 'object' ? ofObject[keyword](argument) : undefined;
    if (Object.hasOwn(ofArray, keyword)) return Array.isArray(value) ? ofArray[keyword](argument) : undefined;
    if (!Object.hasOwn(plain, keyword)) throw new Error(`the keyword "${keyword}" of this schema is not supported here`);
    const [type, fails, message, told = limit => ({ limit })] = plain[keyword];
    const failed = (type === null || typeOf(value) === type) && fails(value, argument);
    return failed ? wrong(keyword, told(argument), message(argument)) : undefined;
  });
};

define('validate', (schema = 'schema', data = 'data') => async state => {
  const [givenSchema, givenData] = resolved(state, [schema, data]);
  if (/^https?:/.test(givenSchema)) throw new Error('validate reaches no schema behind a URL here; put it into the state');
  const found = given => (typeof given === 'string' ? jsonPath(given, state)[0] : given);
  const rules = found(givenSchema);
  if (typeOf(rules) !== 'object') throw new TypeError('validate needs a schema, which is an object');
  state.validationErrors ??= [];
  const errors = check(rules, found(givenData), rules, '', '#');
  if (errors) state.validationErrors.push({ data: state.data, errors });
  return state;
});
