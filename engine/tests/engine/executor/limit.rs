//! Trouble in a job: each kind ends the run in its own state, with its own name.

use keyway_engine::{
    executor::{sandbox::Halt, walk::no_watch},
    project::Condition,
};
use keyway_storage::{
    event::{ExitReason, RunState},
    limits::ERROR_MESSAGE_BYTES_MAX,
};
use serde_json::json;

use super::rehearsal::{project, run, walk};

#[test]
fn a_thrown_error_fails_the_run_and_stands_in_the_state_under_its_job() {
    let run = run("fn(s => { s.seen = 1; throw new Error('bad input'); })", json!({"data": 1}));
    assert_eq!(run.error(), (RunState::Failed, "JobError", "bad input"));
    let expected = json!({"source": "runtime", "name": "JobError", "severity": "fail", "message": "bad input", "pos": {"line": 1}});
    assert_eq!(run.state(), json!({"data": 1, "seen": 1, "errors": {"job": expected}}));
    assert_eq!(run.steps()[0].exit, ExitReason::Fail);
    assert_eq!(run.lines(), ["Error job aborted with error: bad input (line 1)"]);
}

/// A job, and the state, name and beginning of the message that it comes to.
const TROUBLE: &[(&str, RunState, &str, &str)] = &[
    ("fn(s => s.data.missing.field)", RunState::Failed, "RuntimeError", "TypeError: cannot read"),
    ("fn(s => nowhere)", RunState::Crashed, "RuntimeCrash", "ReferenceError: nowhere is not defined"),
    (
        "fn(s => { while (true) {} })",
        RunState::Killed,
        "TimeoutError",
        "Job took longer than 400ms to complete",
    ),
    ("fn(async s => { while (true) await null; })", RunState::Killed, "TimeoutError", "Job took longer"),
    (
        "fn(s => { const f = () => f() + 1; return f(); })",
        RunState::Failed,
        "RuntimeError",
        "RangeError: Maximum call stack",
    ),
    (
        "fn(s => { const a = []; while (true) a.push(new Array(10000).fill(7)); })",
        RunState::Killed,
        "OOMError",
        "Run exceeded",
    ),
    ("fn(s => new Promise(() => {}))", RunState::Failed, "PromiseError", "The job waits for a promise"),
    ("fn(s => ({ big: 'x'.repeat(11_000_001) }))", RunState::Killed, "StateTooLargeError", "State is"),
    ("fn(s => { throw 'text'; })", RunState::Failed, "JobError", "text"),
    ("fn(s => eval('1'))", RunState::Killed, "SecurityError", "Illegal eval"),
    ("fn(s => new Function('return 1')())", RunState::Killed, "SecurityError", "Illegal eval"),
    ("fn(s => JSON.parse('{'))", RunState::Crashed, "RuntimeCrash", "SyntaxError: "),
    ("fn(s => ({ n: 1n << 99999999999n }))", RunState::Failed, "RuntimeError", "RangeError: "),
    ("console.log('hello')", RunState::Failed, "RuntimeError", "TypeError: operation 1 is undefined"),
    (
        "fn(s => import('node:fs'))",
        RunState::Crashed,
        "RuntimeCrash",
        "ReferenceError: could not load module",
    ),
    (
        "fn(s => { setTimeout(() => {}, 1e9); return new Promise(() => {}); })",
        RunState::Killed,
        "TimeoutError",
        "Job took",
    ),
    (
        "fn(s => [].lastIndexOf.call({ length: 2 ** 53 - 1 }, 1))",
        RunState::Killed,
        "TimeoutError",
        "Job took",
    ),
    ("fn(s => /^(a+)+$/.test('a'.repeat(60) + '!'))", RunState::Killed, "TimeoutError", "Job took"),
    ("fn(s => { let n = 3n; while (true) n = n * n; })", RunState::Failed, "RuntimeError", "RangeError"),
    ("fn(s => [...Array(2 ** 32 - 2)].length)", RunState::Killed, "OOMError", "Run exceeded"),
    ("fn(s => { throw undefined; })", RunState::Failed, "JobError", "undefined"),
    ("fn(s => { const a = []; while (true) a.push([]); })", RunState::Killed, "OOMError", "Run exceeded"),
    ("fn(s => { throw { message: 'an object' }; })", RunState::Failed, "JobError", "an object"),
    ("fn(s => Promise.reject(new Error('later')))", RunState::Failed, "JobError", "later"),
    (
        "fn(s => fetch('https://example.org'))",
        RunState::Crashed,
        "RuntimeCrash",
        "ReferenceError: fetch is not defined",
    ),
];

#[test]
fn each_kind_of_trouble_has_its_state_and_its_name() {
    for &(body, state, kind, message) in TROUBLE {
        let timeout_ms = if kind == "TimeoutError" { 400 } else { 60_000 };
        let project = project(&[("job", body)], &[], &format!("    run_timeout_ms: {timeout_ms}\n"));
        let run = walk(&project, &json!({"data": {}}), no_watch());
        let (found, name, text) = run.error();
        assert_eq!((found, name), (state, kind), "{body}: {text}");
        assert!(text.starts_with(message), "{body}: {text}");
    }
}

#[test]
fn a_source_that_does_not_compile_any_more_crashes_the_run_at_its_line() {
    // What an older version took stands in the log, and is compiled when a run needs it.
    for (source, place) in [
        ("fn(s => s);\nfn(s => {", " (line 2, column 10)"),
        // Only QuickJS knows this one.
        ("fn(s => s);\nconst a = 1;\nconst a = 2;", " (line 3)"),
    ] {
        let mut project = project(&[("a", "fn(s => s)"), ("b", "fn(s => s)")], &[("a", "b", "always")], "");
        source.clone_into(&mut project.workflows[0].jobs[1].body);
        let run = walk(&project, &json!({}), no_watch());
        let (state, kind, message) = run.error();
        assert_eq!((state, kind), (RunState::Crashed, "RuntimeCrash"), "{message}");
        assert!(message.starts_with("SyntaxError: "), "{message}");
        assert!(message.ends_with(place), "{message}");
        let exits: Vec<_> = run.steps().iter().map(|step| step.exit).collect();
        assert_eq!(exits, [ExitReason::Success, ExitReason::Crash]);
        assert!(run.lines()[0].contains(message), "{:?}", run.lines());
    }
}

#[test]
fn a_condition_that_does_not_compile_any_more_crashes_the_run() {
    let mut project = project(&[("a", "fn(s => s)"), ("b", "fn(s => s)")], &[("a", "b", "state.data")], "");
    project.workflows[0].graph.from_job[0][0].condition = Condition::Expression("state.a +".to_owned());
    let run = walk(&project, &json!({}), no_watch());
    let (state, kind, message) = run.error();
    assert_eq!((state, kind), (RunState::Crashed, "RuntimeCrash"), "{message}");
    assert!(message.starts_with("SyntaxError: "), "{message}");
    assert!(message.contains("(line 1"), "{message}");
}

#[test]
fn the_message_of_an_error_is_cut_where_it_stands_beside_the_state() {
    let run = run("fn(s => { throw new Error('é'.repeat(1_000_000)); })", json!({}));
    let expected = format!("{} [truncated]", "é".repeat(ERROR_MESSAGE_BYTES_MAX / 2));
    assert_eq!(run.error(), (RunState::Failed, "JobError", expected.as_str()));
    assert_eq!(run.steps()[0].error.as_ref().unwrap().message.len(), expected.len());
    assert_eq!(run.state()["errors"]["job"]["message"].as_str().unwrap().len(), 2_000_000);
}

#[test]
fn a_condition_that_throws_whatever_it_has_memory_for_ends_its_run_alone() {
    let thrown = "(() => { throw new Error('x'.repeat(200_000_000)); })()";
    let jobs = [("a", "fn(s => s)"), ("b", "fn(s => s)")];
    let run = walk(&project(&jobs, &[("a", "b", thrown)], ""), &json!({}), no_watch());
    let expected = format!("{} [truncated]", "x".repeat(ERROR_MESSAGE_BYTES_MAX));
    assert_eq!(run.error(), (RunState::Crashed, "EdgeConditionError", expected.as_str()));
}

#[test]
fn a_run_that_is_cancelled_stops_in_the_middle_of_a_loop() {
    let mut looks = 0;
    let watch = Box::new(move || {
        looks += 1;
        (looks > 3).then_some(Halt::Cancelled)
    });
    let run = walk(&project(&[("job", "fn(() => { while (true) {} })")], &[], ""), &json!({}), watch);
    assert_eq!(run.end().state, RunState::Cancelled);
    assert_eq!(run.steps()[0].exit, ExitReason::Cancel);
}

#[test]
fn nothing_of_one_run_is_seen_by_the_next() {
    let scripts = "fn(s => { const before = globalThis.left; globalThis.left = 1; Array.prototype.left = 1; return { before: before ?? null }; })";
    for _ in 0..2 {
        assert_eq!(run(scripts, json!({})).state(), json!({"before": null}));
    }
}

#[test]
fn the_largest_body_can_be_handed_on() {
    let body = format!("[{}]", vec!["{\"a\":1}"; 1_240_000].join(","));
    let state: serde_json::Value = serde_json::from_str(&body).unwrap();
    let run = run("fn(s => s)", json!({"data": state, "request": {"method": "POST"}}));
    assert_eq!(run.end().state, RunState::Success, "{:?}", run.end().error);
    assert!(run.steps()[0].output.len() > 9_900_000);
}
