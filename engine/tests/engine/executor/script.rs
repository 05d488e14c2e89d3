//! Scripts: what the compiler makes of a job, and which sources it refuses where.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use keyway_engine::executor::{
    sandbox::Scripts,
    script::{SyntaxMistake, check, check_expression, compile},
};
use serde_json::json;

use super::rehearsal::run;

#[test]
fn operations_run_in_order_and_see_declarations_below_them() {
    let body = "fn(s => add(s, 'a'));\nfn(async s => add(s, 'b'));\nfn(s => { add(s, 'c'); return s; }).then(s => add(s, 'd'));\nconst add = (s, x) => ({ ...s, list: [...(s.list ?? []), x] });";
    assert_eq!(run(body, json!({})).state(), json!({"list": ["a", "b", "d"]}));
}

#[test]
fn a_dollar_in_an_argument_is_the_state_of_that_operation() {
    let body = "each($.data.items, fn(s => ({ ...s, seen: [...(s.seen ?? []), s.data] })));\nfnIf($.seen.length > 1, fn(s => ({ ...s, many: true })));\nlog($.seen);";
    let run = run(body, json!({"data": {"items": [1, 2]}}));
    assert_eq!(run.state()["seen"], json!([1, 2]));
    assert_eq!(run.state()["many"], json!(true));
    assert_eq!(run.lines(), ["Info [1,2]"]);
}

#[test]
fn a_catch_on_an_operation_takes_what_it_throws() {
    let body = "fn(() => { throw new Error('no'); }).catch(e => ({ caught: e.message }));";
    assert_eq!(run(body, json!({})).state(), json!({"caught": "no"}));
}

#[test]
fn a_source_that_is_no_javascript_is_placed() {
    let mistakes = check("fn(state => state)\nfn(state => {").unwrap_err();
    assert_eq!(mistakes[0].line, 2, "{mistakes:?}");
    let mistakes = check("const x = $.data;").unwrap_err();
    assert_eq!((mistakes[0].line, mistakes[0].column), (1, 11), "{mistakes:?}");
    assert!(
        compile("import { fn } from '@openfn/language-common';\nexport const a = 1;\nfn(s => s);").is_ok()
    );
}
fn mistakes(source: &str) -> Vec<(u32, u32, String)> {
    let mistakes: Vec<SyntaxMistake> = check(source).unwrap_err();
    mistakes.into_iter().map(|mistake| (mistake.line, mistake.column, mistake.message)).collect()
}

#[test]
fn a_dollar_finds_the_operation_that_it_belongs_to() {
    let table = [
        ("fn(state => ({ r: $.data.n }))", json!(2)),
        ("each($.data.list, fnIf($.data > 1, fn(s => ({ ...s, r: s.data }))))", json!(3)),
        ("cursor($.data.list.map(x => x + $.data.n)); fn(s => ({ r: s.cursor }))", json!([3, 4, 5])),
        ("cursor(JSON.stringify($.data.list)); fn(s => ({ r: s.cursor }))", json!("[1,2,3]")),
        (
            "cursor(`${$.data.n} of ${encodeURIComponent($.data.name)}`); fn(s => ({ r: s.cursor }))",
            json!("2 of a%20b"),
        ),
        ("cursor({ a: [$.data.n, { b: $.data?.name }] }); fn(s => ({ r: s.cursor }))", json!({"0": 0})),
        ("const list = [2]; assert(list.includes($.data.n)); fn(s => ({ r: 'yes' }))", json!("yes")),
        ("fn(s => ({ r: [1, 2].map($ => $ * 10) }))", json!([10, 20])),
        ("fn(s => { const $ = { x: 7 }; return { r: $.x }; })", json!(7)),
        ("fn(s => s).then(state => ({ r: $.data.n }))", json!(2)),
        ("const inner = x => fn(s => ({ r: typeof x })); inner($.data)", json!("function")),
    ];
    for (body, expected) in table {
        let run = run(body, json!({"data": {"n": 2, "name": "a b", "list": [1, 2, 3]}}));
        let expected = if body.contains("{ a: [") { json!({"a": [2, {"b": "a b"}]}) } else { expected };
        assert_eq!(run.state()["r"], expected, "{body}: {:?}", run.end().error);
    }
}

#[test]
fn a_dollar_in_a_wrong_place_is_refused_there() {
    let outside = "`$` must be part of an argument of an operation";
    let parameter = "a function with `$` in it must have one parameter, called `state`";
    let table = [
        ("fn(s => s);\nconst link = `x/${$.id}`", 2, 19, outside),
        ("$.data", 1, 1, outside),
        ("fn(s => $.data)", 1, 9, parameter),
        ("each($.x, () => $.y)", 1, 17, parameter),
        ("const $ = 1;", 1, 7, "`$` stands for the state and cannot be declared here"),
    ];
    for (source, line, column, message) in table {
        assert_eq!(mistakes(source), [(line, column, message.to_owned())], "{source}");
    }
}

#[test]
fn chains_behind_operations_start_when_it_is_their_turn() {
    let table = [
        ("fn(s => ({ n: 1 })).then(s => ({ r: s.n + 1 }))", json!(2)),
        ("fn(async s => ({ n: 1 })).then(s => ({ n: s.n + 1 })).then(s => ({ r: s.n + 1 }))", json!(3)),
        (
            "fn(() => { throw new Error('x'); }).catch((e, state) => ({ r: [e.message, state.data] }))",
            json!(["x", 5]),
        ),
        (
            "fn(() => { throw new Error('x'); }).catch((e, state) => state).then(s => ({ r: s.data }))",
            json!(5),
        ),
        ("fn(() => { throw new Error('x'); }).then(s => 1).catch(e => ({ r: e.message }))", json!("x")),
        ("each([1, 2], fn(s => ({ ...s, r: s.data })).then(s => ({ ...s, r: s.r * 10 })))", json!(20)),
        ("fnIf(true, fn(() => { throw 1; }).catch(e => ({ r: e })))", json!(1)),
        ("fn(s => Promise.resolve(1).then(r => ({ r })))", json!(1)),
    ];
    for (body, expected) in table {
        let run = run(body, json!({"data": 5}));
        assert_eq!(run.state()["r"], expected, "{body}: {:?}", run.end().error);
    }
}

#[test]
fn exports_imports_and_awaits_are_understood() {
    let table = [
        ("export default [fn(s => ({ r: 1 })), s => ({ r: s.r + 1 })];", json!(2)),
        ("export default [fn(s => ({ r: 1 }))];\nfn(s => ({ r: s.r + 2 }));", json!(3)),
        ("export const two = 2;\nfn(s => ({ r: two }));", json!(2)),
        ("const later = await Promise.resolve(4);\nfn(s => ({ r: later }));", json!(4)),
        ("(fn(s => ({ r: 5 })));", json!(5)),
        ("function f(s) { return { r: g } } let g; g = 6;\nfn(f);", json!(6)),
        ("fn(async s => { await new Promise(done => setTimeout(done, 5)); return { r: 7 }; })", json!(7)),
    ];
    for (body, expected) in table {
        let run = run(body, json!({}));
        assert_eq!(run.state()["r"], expected, "{body}: {:?}", run.end().error);
    }
    let run = run("import _ from 'lodash';\nfn(s => s);", json!({}));
    assert_eq!(run.error().2, "The module lodash is not available here; these are: @openfn/language-common.");
}

#[test]
fn mistakes_stand_at_their_line_and_column() {
    let table =
        [("fn(s => s);\nfn(s => {", 2, 10), ("fn(s => s)\n  const x = ;", 2, 13), ("\n\nfn(é => ) ", 3, 9)];
    for (source, line, column) in table {
        let found = mistakes(source);
        assert_eq!((found[0].0, found[0].1), (line, column), "{source}: {found:?}");
    }
    // Only QuickJS knows these; it names the line alone.
    for source in ["fn(s => s);\nconst a = 1;\nconst a = 2;", "fn(s => {\n\n  break;\n})"] {
        let found = mistakes(source);
        assert_eq!(found[0].0, 3, "{source}: {found:?}");
    }
}

#[test]
fn a_condition_is_one_expression() {
    assert_eq!(check_expression("!state.errors && state.data.id"), Ok(()));
    assert_eq!(check_expression("state.data.id; \n"), Ok(()));
    for source in ["state.a) ; (state.b", "state.a +", "return state", "", "const a = 1"] {
        let mistakes = check_expression(source).unwrap_err();
        assert_eq!(mistakes[0].line, 1, "{source}: {mistakes:?}");
    }
    let mistakes = check_expression("state.a +\n  +").unwrap_err();
    assert!(mistakes[0].line >= 2, "{mistakes:?}");
}

#[test]
fn a_source_is_compiled_once_however_many_threads_want_it_at_once() {
    let (scripts, ready) = (Scripts::default(), Barrier::new(8));
    let job = |_| {
        ready.wait();
        scripts.job("fn(s => s)").unwrap()
    };
    let compiled: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || job(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(compiled.iter().all(|other| Arc::ptr_eq(other, &compiled[0])));
    // Another version of the workflow, and a condition of the same text, are others.
    assert!(!Arc::ptr_eq(&scripts.job("fn(s => ({}))").unwrap(), &compiled[0]));
    assert!(!Arc::ptr_eq(&scripts.condition("fn(s => s)").unwrap(), &compiled[0]));
    assert!(Arc::ptr_eq(&scripts.job("fn(s => s)").unwrap(), &compiled[0]));
}
