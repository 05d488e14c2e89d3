// Timers: the thread sleeps when nothing but a timer is left to wait for.

const { __define: define } = globalThis;

let timers = [];
let timerCount = 0;
const addTimer = every => (callback, delay = 0, ...args) => {
  const due = Date.now() + Math.max(0, +delay || 0);
  timers.push({ id: ++timerCount, due, callback, args, every: every ? Math.max(1, +delay || 0) : 0 });
  return timerCount;
};
const clearTimer = id => {
  timers = timers.filter(timer => timer.id !== id);
};
define('setTimeout', addTimer(false));
define('setInterval', addTimer(true));
define('clearTimeout', clearTimer);
define('clearInterval', clearTimer);

// Milliseconds until the next timer, or -1 without one; what is due is called.
define('__timer', () => {
  if (timers.length === 0) return -1;
  const next = timers.reduce((a, b) => (b.due < a.due ? b : a));
  const wait = next.due - Date.now();
  if (wait > 0) return wait;
  if (next.every) next.due += next.every;
  else clearTimer(next.id);
  next.callback(...next.args);
  return 0;
});
