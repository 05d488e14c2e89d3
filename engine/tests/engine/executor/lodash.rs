//! lodash: `_`, as OpenFn's jobs have it, loaded where a job first uses it.

use keyway_storage::event::RunState;
use serde_json::json;

use super::{
    language::{check, check_values, value},
    rehearsal::run,
};

#[test]
fn lodash_works_on_the_state() {
    check_values(vec![
        value("_.VERSION", json!("4.18.1")),
        value("_.get(s, 'data.list[1].x')", json!(6)),
        value("_.get(s, 'data.none', 'else')", json!("else")),
        value("_.groupBy(s.data.list, 'tag').odd.length", json!(2)),
        value("_.chunk([1, 2, 3], 2)", json!([[1, 2], [3]])),
        value("_.camelCase('first name')", json!("firstName")),
        value("_.merge({ a: { b: 1 } }, { a: { c: 2 } })", json!({"a": {"b": 1, "c": 2}})),
        value("_.orderBy(s.data.list, ['tag', 'x'], ['asc', 'desc']).map(i => i.x)", json!([6, 7, 5])),
        value("_.chain(s.data.list).filter({ tag: 'odd' }).map('x').sum().value()", json!(12)),
        value("_(s.data.list).map('x').reverse().value()", json!([7, 6, 5])),
        value("_.isEqual(new Map([[1, { a: 1 }]]), new Map([[1, { a: 1 }]]))", json!(true)),
        value("_.cloneDeep({ at: new Date(0), list: [new Set([1])] }).list[0].has(1)", json!(true)),
        value("_.set({}, 'a[0].b', 1)", json!({"a": [{"b": 1}]})),
        value("_.isPlainObject(s.data) && !_.isPlainObject(new Date())", json!(true)),
        value("_.uniqueId('x') !== _.uniqueId('x')", json!(true)),
        value("[1, 2].map((_, index) => index)", json!([0, 1])),
        value("typeof globalThis['_'].map", json!("function")),
    ]);
}

#[test]
fn lodash_goes_with_operations_timers_and_imports() {
    check(&[
        ("cursor(_.max($.data.list.map(item => item.x))); fn(s => ({ r: s.cursor }))", json!(7)),
        ("fn(s => new Promise(done => _.delay(() => done({ r: 'late' }), 5)))", json!("late")),
        (
            "import { _, fn as run } from '@openfn/language-common'; run(s => ({ r: _.last([1, 2]) }))",
            json!(2),
        ),
        ("const _ = { own: 1 }; fn(s => ({ r: _.own }))", json!(1)),
        ("fn(s => { globalThis._ = 5; return { r: _ }; })", json!(5)),
    ]);
    let run = run("fn(s => _.map([1], () => { throw new Error('own'); }))", json!({}));
    assert_eq!(run.error(), (RunState::Failed, "JobError", "own"));
}

#[test]
fn a_template_is_code_in_a_text_which_no_job_may_run() {
    let run = run("fn(s => _.template('<%= 1 %>')())", json!({}));
    assert_eq!((run.error().0, run.error().1), (RunState::Killed, "SecurityError"));
}
