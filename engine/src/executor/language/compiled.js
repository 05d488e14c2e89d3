// What the compiler puts into a job, and what a job may not do.

const { __define: define } = globalThis;

define('defer', (operation, complete) => state =>
  complete(new Promise(done => done(operation(state))), state)
);

define('missing', name => {
  const error = new Error(`The module ${name} is not available here; these are: @openfn/language-common.`);
  error.name = 'ImportError';
  throw error;
});

const noEval = () => {
  throw new EvalError('Code generation from strings disallowed for this context');
};
define('eval', noEval);
