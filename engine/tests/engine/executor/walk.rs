//! Walks: which steps a run has, and what it ends with.

use std::sync::Arc;

use keyway_engine::executor::walk::no_watch;
use keyway_storage::event::RunState;
use serde_json::json;

use super::rehearsal::{project, run, walk};

#[test]
fn a_job_returns_the_state_that_the_run_ends_with() {
    let run = run("fn(state => ({ data: { n: state.data.n * 2 } }))", json!({"data": {"n": 21}}));
    assert_eq!(run.end().state, RunState::Success);
    assert_eq!(run.state(), json!({"data": {"n": 42}}));
}

#[test]
fn console_lines_have_their_levels_and_show_objects_as_json() {
    let run = run(
        "fn(s => { console.log('a', { b: [1] }); console.warn('w'); console.error(new Error('e')); console.debug(1); return s; })",
        json!({}),
    );
    assert_eq!(run.lines(), ["Info a {\"b\":[1]}", "Warn w", "Error Error: e", "Debug 1"]);
}

#[test]
fn every_method_of_the_console_writes_at_its_level_or_nothing() {
    let calls = [
        ("trace", Some("Debug")),
        ("debug", Some("Debug")),
        ("log", Some("Info")),
        ("info", Some("Info")),
        ("dir", Some("Info")),
        ("table", Some("Info")),
        ("group", Some("Info")),
        ("warn", Some("Warn")),
        ("error", Some("Error")),
        ("success", Some("Success")),
        ("always", Some("Always")),
        ("groupEnd", None),
        ("time", None),
        ("timeEnd", None),
    ];
    let lines: String = calls.iter().map(|(name, _)| format!("console.{name}('{name}', [1]); ")).collect();
    let run = run(&format!("fn(s => {{ {lines}return s; }})"), json!({}));
    let expected: Vec<_> =
        calls.iter().filter_map(|(name, level)| Some(format!("{} {name} [1]", (*level)?))).collect();
    assert_eq!(run.lines(), expected);
    assert_eq!(run.end().state, RunState::Success);
}

#[test]
fn a_credential_is_there_for_the_step_and_nowhere_after_it() {
    let mut project = project(
        &[(
            "job",
            "fn(s => { console.log(s.configuration.user, s.configuration.password); return { ...s, had: !!s.configuration }; })",
        )],
        &[],
        "",
    );
    project.workflows[0].jobs[0].credential =
        Some(Arc::new(keyway_engine::project::Secret(r#"{"user":"amina","password":"hunter22"}"#.into())));
    let run = walk(&project, &json!({}), no_watch());
    assert_eq!(run.state(), json!({"had": true}));
    assert_eq!(run.lines(), ["Info [REDACTED] [REDACTED]"]);
}

#[test]
fn an_adaptor_that_is_not_there_is_named_with_those_that_are() {
    let run = walk(
        &project(&[("job '@openfn/language-http@6.0.0'", "get('/x')")], &[], ""),
        &json!({}),
        no_watch(),
    );
    let (state, kind, message) = run.error();
    assert_eq!((state, kind), (RunState::Crashed, "ImportError"));
    assert_eq!(
        message,
        "The adaptor @openfn/language-http@6.0.0 is not available here; these are: @openfn/language-common."
    );
}

#[test]
fn edges_are_followed_by_their_conditions_and_several_leaves_are_keyed_by_job() {
    let jobs = [
        ("a", "fn(s => s)"),
        ("b", "fn(s => ({ b: s.data.n }))"),
        ("c", "fn(s => ({ c: 1 }))"),
        ("d", "fn(s => ({ d: 1 }))"),
    ];
    let edges = [
        ("a", "b", "!state.errors && state.data.n > 1"),
        ("a", "c", "on_job_success"),
        ("a", "d", "on_job_failure"),
    ];
    let run = walk(&project(&jobs, &edges, ""), &json!({"data": {"n": 2}}), no_watch());
    assert_eq!(run.state(), json!({"b": {"b": 2}, "c": {"c": 1}}));
    assert_eq!(run.end().state, RunState::Success);
}

#[test]
fn a_failure_that_a_path_handles_is_a_success_and_one_that_none_does_is_not() {
    let jobs =
        [("a", "fn(() => { throw new Error('x'); })"), ("alert", "fn(s => ({ told: s.errors.a.message }))")];
    let handled = walk(&project(&jobs, &[("a", "alert", "on_job_failure")], ""), &json!({}), no_watch());
    assert_eq!((handled.end().state, handled.state()), (RunState::Success, json!({"told": "x"})));
    let unhandled = walk(&project(&jobs, &[("a", "alert", "on_job_success")], ""), &json!({}), no_watch());
    assert_eq!(unhandled.end().state, RunState::Failed);
}

#[test]
fn a_condition_that_throws_crashes_the_run() {
    let jobs = [("a", "fn(s => s)"), ("b", "fn(s => s)")];
    let run = walk(&project(&jobs, &[("a", "b", "state.x.y.z")], ""), &json!({}), no_watch());
    assert_eq!(run.error().0, RunState::Crashed);
    assert_eq!(run.error().1, "EdgeConditionError");
}

#[test]
fn the_last_state_alone_decides_the_webhook_response() {
    let jobs = [("a", "fn(s => ({ ...s, webhookResponse: { status: 202 } }))"), ("b", "fn(s => ({ n: 1 }))")];
    let run = walk(&project(&jobs, &[("a", "b", "always")], ""), &json!({}), no_watch());
    assert_eq!(run.end().response, "");
    let run = walk(&project(&jobs[..1], &[], ""), &json!({}), no_watch());
    assert_eq!(run.end().response, "{\"status\":202}");
}
#[test]
fn a_step_hands_on_what_json_can_say() {
    let run = run(
        "fn(s => { const a = { f: () => 1, u: undefined, d: new Date(0), n: NaN, b: 2n }; a.a = a; return { ...s, a }; })",
        json!({"data": 1}),
    );
    assert_eq!(
        run.state(),
        json!({"data": 1, "a": {"d": "1970-01-01T00:00:00.000Z", "n": null, "b": "2", "a": "[Circular]"}})
    );
}

#[test]
fn a_job_that_returns_nothing_leaves_no_state_and_the_next_begins_anew() {
    let nothing = run("fn(() => {})", json!({"data": 1}));
    assert_eq!((nothing.end().state, nothing.state()), (RunState::Success, json!(null)));
    let within = run("fn(() => {}); fn(s => ({ got: s }))", json!({"data": 1}));
    assert_eq!(within.state(), json!({"got": {}}));
    assert!(within.lines()[0].starts_with("Warn WARNING: No state was passed into operation 2"));
    let jobs = [("a", "fn(() => {})"), ("b", "fn(s => ({ data: s.data }))")];
    let next = walk(&project(&jobs, &[("a", "b", "always")], ""), &json!({"data": 1}), no_watch());
    assert_eq!(next.state(), json!({}));
}

#[test]
fn a_state_without_data_has_an_empty_one_while_a_job_runs() {
    assert_eq!(run("fn(s => s)", json!({})).state(), json!({}));
    assert_eq!(run("fn(s => { s.data.n = 1; return s; })", json!({})).state(), json!({"data": {"n": 1}}));
    assert_eq!(run("fn(s => ({ ...s, c: s.configuration.x ?? 1 }))", json!({})).state(), json!({"c": 1}));
    assert_eq!(run("fn(s => s)", json!({"data": null})).state(), json!({"data": null}));
}

#[test]
fn errors_of_earlier_steps_stay_in_the_state() {
    let jobs = [
        ("a", "fn(() => { throw new Error('one'); })"),
        ("b", "fn(() => { throw new Error('two'); })"),
        ("c", "fn(s => s)"),
    ];
    let edges = [("a", "b", "on_job_failure"), ("b", "c", "state.errors.b.message == 'two'")];
    let run = walk(&project(&jobs, &edges, ""), &json!({"data": 1}), no_watch());
    assert_eq!(run.end().state, RunState::Success);
    let errors = &run.state()["errors"];
    assert_eq!((&errors["a"]["message"], &errors["b"]["message"]), (&json!("one"), &json!("two")));
}

#[test]
fn a_promise_without_end_fails_the_step_and_the_run_goes_on() {
    let jobs = [
        ("a", "fn(s => { s.seen = 1; return new Promise(() => {}); })"),
        ("b", "fn(s => ({ told: s.errors.a.name, seen: s.seen }))"),
    ];
    let run = walk(&project(&jobs, &[("a", "b", "on_job_failure")], ""), &json!({}), no_watch());
    assert_eq!(
        (run.end().state, run.state()),
        (RunState::Success, json!({"told": "PromiseError", "seen": 1}))
    );
}

#[test]
fn the_worst_leaf_is_what_the_run_came_to() {
    let jobs = [
        ("a", "fn(s => s)"),
        ("b", "fn(s => ({ ...s, b: 1, webhookResponse: { status: 201 } }))"),
        ("c", "fn(() => { throw new Error('no'); })"),
    ];
    let run =
        walk(&project(&jobs, &[("a", "b", "always"), ("a", "c", "always")], ""), &json!({}), no_watch());
    assert_eq!(run.error(), (RunState::Failed, "JobError", "no"));
    assert_eq!(run.state()["b"]["b"], json!(1));
    assert_eq!(run.state()["c"]["errors"]["c"]["message"], json!("no"));
    assert_eq!(run.end().response, "{\"status\":201}");
}

#[test]
fn paths_that_meet_run_what_follows_once_each() {
    let jobs = [
        ("a", "fn(s => ({ n: 1 }))"),
        ("b", "fn(s => ({ n: s.n + 1 }))"),
        ("c", "fn(s => ({ n: s.n + 2 }))"),
        ("d", "fn(s => ({ n: s.n * 10 }))"),
    ];
    let edges = [("a", "b", "always"), ("a", "c", "always"), ("b", "d", "always"), ("c", "d", "always")];
    let run = walk(&project(&jobs, &edges, ""), &json!({}), no_watch());
    assert_eq!(run.state(), json!({"d": {"n": 20}, "d-1": {"n": 30}}));
    assert_eq!(run.steps().len(), 5);
}

#[test]
fn secrets_are_taken_out_of_every_line_and_error() {
    let body = "fn(s => { console.log('a', s.configuration, `x${s.configuration.password}y`); throw new Error('bad ' + s.configuration.deep.token); })";
    let mut project = project(&[("job", body)], &[], "");
    let secret = r#"{"key":"BEGIN\nKEY","user":"abc","password":"hunter22","deep":{"token":"s3cr3t-token"},"port":8080}"#;
    project.workflows[0].jobs[0].credential = Some(Arc::new(keyway_engine::project::Secret(secret.into())));
    let run = walk(&project, &json!({}), no_watch());
    assert_eq!(
        run.lines(),
        [
            "Info a {\"key\":\"[REDACTED]\",\"user\":\"abc\",\"password\":\"[REDACTED]\",\"deep\":{\"token\":\"[REDACTED]\"},\"port\":8080} x[REDACTED]y",
            "Error job aborted with error: bad [REDACTED] (line 1)"
        ]
    );
    assert_eq!(run.error().2, "bad [REDACTED]");
}

#[test]
fn a_leaf_without_a_state_does_not_count() {
    let jobs = [("a", "fn(s => s)"), ("b", "fn(s => ({ b: 1 }))"), ("c", "fn(() => {})")];
    let run =
        walk(&project(&jobs, &[("a", "b", "always"), ("a", "c", "always")], ""), &json!({}), no_watch());
    assert_eq!((run.end().state, run.state()), (RunState::Success, json!({"b": 1})));
}

#[test]
fn a_line_may_hold_any_text_that_javascript_knows() {
    let run = run("fn(s => { console.log('\\ud800|\\u0000|é🌍'); return s; })", json!({}));
    assert_eq!(run.lines(), ["Info \u{fffd}|\u{0}|é🌍"]);
}
