// Errors: classes, severities and shape as in OpenFn's runtime.

const { __define: define, __line: sourceLine, __shown: shown } = globalThis;

// The file in which an error arose, and the line of the job that led to it.
const origin = error => {
  const frames = [...String(error?.stack ?? '').matchAll(/\(?\b(job|language):(\d+)(?::\d+)?\)?$/gm)];
  const own = frames.find(frame => frame[1] === 'job');
  return { adaptor: frames[0]?.[1] === 'language', line: own && sourceLine(+own[2]) };
};

define('__described', (error, operationLine) => {
  const kind = error?.constructor?.name;
  const message = String(typeof error === 'string' ? error : (error?.message ?? shown(error)));
  // QuickJS throws null where there is no memory left for an error.
  if (error === null || (kind === 'InternalError' && /out of memory/.test(message))) {
    return { source: 'runtime', name: 'OOMError', severity: 'kill', message: 'Run exceeded maximum memory usage' };
  }
  if (kind === 'EvalError' || message === 'eval is not supported') {
    return { source: 'runtime', name: 'SecurityError', severity: 'kill', message: 'Illegal eval statement detected' };
  }
  const { adaptor, line = operationLine } = origin(error);
  const found = { source: 'runtime', name: 'JobError', severity: 'fail', message };
  if (error?.name === 'ImportError') {
    Object.assign(found, { name: 'ImportError', severity: 'crash' });
  } else if (adaptor && operationLine) {
    found.name = 'AdaptorError';
  } else if (kind === 'RangeError' || kind === 'TypeError') {
    Object.assign(found, { name: 'RuntimeError', subtype: kind, message: `${kind}: ${message}` });
  } else if (kind === 'ReferenceError' || kind === 'SyntaxError') {
    Object.assign(found, { name: 'RuntimeCrash', severity: 'crash', subtype: kind, message: `${kind}: ${message}` });
  }
  if (line) found.pos = { line };
  return found;
});
