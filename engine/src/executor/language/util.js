// The `util` namespace of @openfn/language-common, without what sends requests.

const { __absent: absent, __define: define, __parseDate: parseDate, __resolved: resolved, __uuid: uuid } = globalThis;

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

const bytesOf = text => {
  const escaped = encodeURIComponent(text.toWellFormed()).match(/%..|./g) ?? [];
  return escaped.map(char => (char.length === 3 ? parseInt(char.slice(1), 16) : char.charCodeAt(0)));
};

const encode = (data, options = { parseJson: true }) => {
  const bytes = bytesOf(typeof data !== 'string' && options.parseJson ? JSON.stringify(data) : String(data));
  let out = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [a, b, c] = [bytes[at], bytes[at + 1], bytes[at + 2]];
    out += alphabet[a >> 2] + alphabet[((a & 3) << 4) | ((b ?? 0) >> 4)];
    out += b === undefined ? '=' : alphabet[((b & 15) << 2) | ((c ?? 0) >> 6)];
    out += c === undefined ? '=' : alphabet[c & 63];
  }
  return out;
};

const decode = (base64, options = { parseJson: true }) => {
  const digits = [...base64.replace(/-/g, '+').replace(/_/g, '/').replace(/[^A-Za-z0-9+/]/g, '')];
  let [text, bits, count] = ['', 0, 0];
  for (const digit of digits) {
    bits = ((bits << 6) | alphabet.indexOf(digit)) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      text += '%' + ((bits >> count) & 255).toString(16).padStart(2, '0');
    }
  }
  text = text.replace(/%[0-7].|%[cd].%[89ab].|%e.(?:%[89ab].){2}|%f.(?:%[89ab].){3}|%../g, letter => {
    try {
      return decodeURIComponent(letter);
    } catch {
      return '\uFFFD';
    }
  });
  if (!options.parseJson || !/^[[{]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch (error) {
    console.log(error.message);
    return text;
  }
};

const throwError = (code, { description, fix, ...extras } = {}) => {
  const error = new Error(description ? `${code}: ${description}` : code);
  throw Object.assign(error, { code }, description && { description }, fix && { fix }, extras);
};

const normalizeOauthConfig = configuration => {
  const { access_token: token, accessToken } = configuration;
  if (token && accessToken) {
    throw new Error(
      'Both "accessToken" & "access_token" keys found in configuration; please use only "access_token" for OAuth2 credentials.'
    );
  }
  if (token) return { ...configuration, accessToken: token };
  console.log('Key "access_token" not found in state.configuration; is this a standard OAuth 2.0 JSON credential?');
  if (accessToken) console.log('Using "accessToken" from state.configuration');
  return configuration;
};

// What adaptors for HTTP check and send along.
const makeBasicAuthHeader = (username, password) => ({
  Authorization: `Basic ${encode(`${username}:${password}`, { parseJson: false })}`,
});

const assertRelativeUrl = path => {
  if (!/https?:\/\//.test(path)) return;
  const error = new Error('UNEXPECTED_ABSOLUTE_URL');
  throw Object.assign(error, {
    code: 'UNEXPECTED_ABSOLUTE_URL',
    description: 'The URL is absolute (https://...), and only a path (/a/b/c) is supported',
    url: path,
    fix: 'Take the protocol and the host out of the URL',
  });
};

const expandReferences = (state, ...values) => values.map(value => resolved(state, value));

const util = {
  ERROR_ABSOLUTE_URL: 'Absolute URLs not supported',
  ERROR_URL_MISMATCH: 'Target origin does not match baseUrl origin',
  assertRelativeUrl, decode, encode, expandReferences, makeBasicAuthHeader, normalizeOauthConfig, parseDate, throwError, uuid,
};
absent(util, 'util.', ['del', 'enableMockClient', 'generateAgentKey', 'get', 'logResponse', 'post', 'put', 'request'], 'jobs have no network here');
absent(util, 'util.', ['encodeFormBody', 'parseUrl'], 'it builds on what only Node has');
define('util', util);
define('parseDate', parseDate);
