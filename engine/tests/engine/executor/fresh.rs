//! A run finds its sandbox as if none had been there before, although runs share one.

use keyway_engine::executor::walk::no_watch;
use keyway_storage::event::RunState;
use serde_json::json;

use super::rehearsal::{project, run, walk};

/// What a job can do to what it runs in.
const VANDALS: &[&str] = &[
    "fn(s => { globalThis.left = 1; Object.prototype.left = 1; return s; })",
    "fn(s => { for (const name of Object.getOwnPropertyNames(globalThis)) delete globalThis[name]; return s; })",
    "fn(s => { Math.random = () => 7; Array.prototype.map = null; Promise.prototype.then = null; return s; })",
    "fn(s => { JSON.stringify = () => 'x'; JSON.parse = null; return s; })",
    "fn(s => { Object.freeze(globalThis); Object.freeze(Object.prototype); return s; })",
    "fn(s => { globalThis.__log = globalThis.__load = globalThis.__step = () => 1; console.log('x'); return s; })",
    "fn(s => { setTimeout(() => { globalThis.left = 1; }, 1e9); Promise.reject(new Error('late')); return s; })",
    "fn(s => { const a = {}; a.a = a; globalThis.left = new WeakMap([[a, a]]); return s; })",
    "fn(s => { const a = []; while (true) a.push(new Array(10000).fill(7)); })",
    "fn(s => { const f = () => f() + 1; return f(); })",
    "fn(s => { while (true) {} })",
    "fn(s => { _.mixin({ left: () => 1 }); _.templateSettings = null; globalThis._ = 7; return s; })",
];

/// Names what is not as in a fresh one, after using most of the language.
const LOOK: &str = "fn(s => { console.log('looked'); return s; }); each('$.data[*]', fn(s => s)); \
    fn(s => ({ left: [typeof left, {}.left === undefined, [1].map(n => n + 1)[0], Math.random() < 1, \
        Object.isFrozen(Object.prototype), util.uuid().length, s.data === undefined, typeof _.left, _.size([1])] }))";

#[test]
fn what_a_run_leaves_behind_is_not_there_for_the_next() {
    let fresh = run(LOOK, json!({"data": [1, 2]}));
    assert_eq!(fresh.end().state, RunState::Success, "{:?}", fresh.end().error);
    for vandal in VANDALS {
        walk(&project(&[("job", vandal)], &[], "    run_timeout_ms: 300\n"), &json!({}), no_watch());
        let next = run(LOOK, json!({"data": [1, 2]}));
        assert_eq!(next.end().state, RunState::Success, "after {vandal}: {:?}", next.end().error);
        assert_eq!((next.state(), next.lines()), (fresh.state(), fresh.lines()), "after {vandal}");
    }
}

#[test]
fn random_numbers_are_others_in_each_run() {
    let mut seen: Vec<String> = (0..100)
        .map(|_| run("fn(s => ({ n: [Math.random(), Math.random()] }))", json!({})).state().to_string())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 100);
}
