// Helpers of @openfn/language-common for text and lists: plain functions, which know no state.

const { __define: define } = globalThis;

const arrayToString = (array, separator) => Array.from(array).join(separator);

const toArray = value => [].concat(value);

const humanProper = text =>
  typeof text === 'string'
    ? text.replace(/[_-]/g, ' ').replace(/\w\S*/g, word => word[0].toUpperCase() + word.slice(1).toLowerCase())
    : text;

const splitKeys = (object, keys) => {
  const [keep, split] = [{}, {}];
  for (const [key, value] of Object.entries(object)) (keys.includes(key) ? split : keep)[key] = value;
  return [keep, split];
};

const scrubEmojis = (text, replacement) => {
  if (!text) return text;
  if (replacement === '') {
    console.warn("Removing characters may create injection vulnerabilities; it's better to replace than to remove.");
  }
  const emojis = /\uFE0F|\u00a9|\u00ae|[\u2000-\u3300]|[\ud83c-\ud83e][\ud000-\udfff]/g;
  return text.replace(emojis, replacement ?? '\uFFFD');
};

const chunk = (array, size) => {
  if (!(size >= 1)) throw new RangeError('the size of a chunk is at least 1');
  const chunks = [];
  for (let at = 0; at < array.length; at += size) chunks.push(array.slice(at, at + size));
  return chunks;
};

for (const [name, value] of Object.entries({ arrayToString, chunk, humanProper, scrubEmojis, splitKeys, toArray })) {
  define(name, value);
}
