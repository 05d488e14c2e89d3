//! Jobs and walks: what a run of a workflow comes to.

#![allow(clippy::unwrap_used)]

use std::{any::Any, cell::RefCell, rc::Rc, sync::Arc};

use bytes::Bytes;
use keyway_engine::{
    executor::{
        sandbox::{Halt, Scripts, Watch},
        script::{check, compile},
        walk::{Plan, Walk, first_jobs, no_watch},
    },
    project::{Origin, Project, Reference, SecretSource, TriggerSection, read},
    source::TriggerType,
};
use keyway_storage::{
    event::{EventKind, ExitReason, FinalState, RunFinished, RunState, StepFinished, StepInput},
    place::{Offset, RunKey},
};
use serde_json::{Value, json};

struct Hook;

impl TriggerType for Hook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn check(&self, _: &mut TriggerSection) -> Arc<dyn Any + Send + Sync> {
        Arc::new(())
    }
}

struct Secrets;

impl SecretSource for Secrets {
    fn resolve(&self, _: &Reference) -> Result<String, String> {
        Ok(r#"{"user":"amina","password":"hunter22"}"#.to_owned())
    }
}

/// A workflow of these jobs (key, body) and edges (from, to, condition), of which the first job follows the trigger.
fn project(jobs: &[(&str, &str)], edges: &[(&str, &str, &str)], more: &str) -> Project {
    let mut text = String::from(
        "name: test\ncredentials: {secret: {name: s, owner: o, body: {env: SECRET}}}\nworkflows:\n  w:\n",
    );
    text.push_str(more);
    text.push_str("    jobs:\n");
    for (key, body) in jobs {
        let (key, adaptor) = key.split_once(' ').unwrap_or((key, "'@openfn/language-common@latest'"));
        text.push_str(&format!("      {key}: {{name: {key}, adaptor: {adaptor}, body: {}}}\n", json!(body)));
    }
    text.push_str("    triggers: {hook: {type: webhook, enabled: true}}\n    edges:\n");
    let first = jobs[0].0.split(' ').next().unwrap();
    text.push_str(&format!(
        "      t: {{source_trigger: hook, target_job: {first}, condition_type: always, enabled: true}}\n"
    ));
    for (index, (from, to, condition)) in edges.iter().enumerate() {
        let condition = match *condition {
            "always" | "on_job_success" | "on_job_failure" => format!("condition_type: {condition}"),
            source => format!("condition_type: js_expression, condition_expression: {}", json!(source)),
        };
        text.push_str(&format!(
            "      e{index}: {{source_job: {from}, target_job: {to}, {condition}, enabled: true}}\n"
        ));
    }
    let origin = Origin { file: "test.yaml".into(), folder: "/".into() };
    let reading = read(&text, &origin, &[&Hook], &Secrets, &[], &mut || [7; 16]);
    reading.unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:?}")).project
}

struct Run {
    events: Vec<EventKind>,
}

fn walk(project: &Project, state: &Value, watch: Watch) -> Run {
    let workflow = &project.workflows[0];
    let scripts = Scripts::default();
    let events = Rc::new(RefCell::new(Vec::new()));
    let first = first_jobs(&workflow.graph.from_trigger[0], &scripts, &state.to_string()).unwrap();
    let run = RunKey { work_order: Offset(5), n: 1 };
    let state = Bytes::from(state.to_string());
    let plan = Plan { run, attempt: 1, workflow, first, state, input: StepInput::Run };
    Walk::new(plan, &scripts, Rc::clone(&events)).finish(watch);
    Run { events: events.take() }
}

fn run(body: &str, state: Value) -> Run {
    walk(&project(&[("job", body)], &[], ""), &state, no_watch())
}

impl Run {
    fn end(&self) -> &RunFinished {
        match self.events.last().unwrap() {
            EventKind::RunFinished(end) => end,
            other => panic!("{other:?}"),
        }
    }

    fn steps(&self) -> Vec<&StepFinished> {
        self.events
            .iter()
            .filter_map(|event| if let EventKind::StepFinished(step) = event { Some(step) } else { None })
            .collect()
    }

    fn state(&self) -> Value {
        match &self.end().final_state {
            FinalState::None => Value::Null,
            FinalState::Own(state) => serde_json::from_slice(state).unwrap(),
            FinalState::Step(step) => {
                let step = self.steps().into_iter().find(|it| it.step == *step).unwrap();
                serde_json::from_slice(&step.output).unwrap()
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let lines = self
            .events
            .iter()
            .filter_map(|event| if let EventKind::LogWritten(log) = event { Some(&log.lines) } else { None });
        lines.flatten().map(|line| format!("{:?} {}", line.level, line.message)).collect()
    }

    fn error(&self) -> (RunState, &str, &str) {
        let error = self.end().error.as_ref().unwrap();
        (self.end().state, &error.kind, &error.message)
    }
}

#[test]
fn a_job_returns_the_state_that_the_run_ends_with() {
    let run = run("fn(state => ({ data: { n: state.data.n * 2 } }))", json!({"data": {"n": 21}}));
    assert_eq!(run.end().state, RunState::Success);
    assert_eq!(run.state(), json!({"data": {"n": 42}}));
}

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
fn the_operations_of_language_common_do_what_they_are_documented_to() {
    let table = [
        ("fn(s => ({ r: dataValue('a.b')(s) }))", json!(1)),
        ("fn(s => ({ r: sourceValue('$.data.list[1].x')(s) }))", json!(6)),
        ("fn(s => ({ r: source('$.data.list[*].x')(s) }))", json!([5, 6])),
        ("fn(s => ({ r: source('$..x')(s) }))", json!([5, 6])),
        ("fn(s => ({ r: lastReferenceValue('id')(s) }))", json!("r0")),
        ("fn(s => ({ r: dataPath('$.a') }))", json!("$.data.a")),
        ("fn(s => ({ r: fields(field('k', 'v'), field('n', 1)) }))", json!({"k": "v", "n": 1})),
        (
            "fn(s => ({ r: merge('$.data.list[*]', fields(field('p', dataValue('a.b'))))(s) }))",
            json!([{"x": 5, "p": 1}, {"x": 6, "p": 1}]),
        ),
        ("fn(s => ({ r: arrayToString([1, 2], '-') }))", json!("1-2")),
        ("fn(s => ({ r: toArray(1) }))", json!([1])),
        ("fn(s => ({ r: humanProper('a_bc-DEF') }))", json!("A Bc Def")),
        ("fn(s => ({ r: chunk([1, 2, 3], 2) }))", json!([[1, 2], [3]])),
        ("fn(s => ({ r: splitKeys({ a: 1, b: 2 }, ['b']) }))", json!([{"a": 1}, {"b": 2}])),
        (
            "fn(s => ({ r: join('$.data.list[*]', '$.data.a.b', 'b')(s) }))",
            json!([{"b": 1, "x": 5}, {"b": 1, "x": 6}]),
        ),
        (
            "fn(s => ({ r: expandReferences({ a: s => s.data.a.b, l: [dataValue('a.b')] })(s) }))",
            json!({"a": 1, "l": [1]}),
        ),
        (
            "fn(s => ({ r: util.decode(util.encode('h\u{e9}llo w\u{f6}rld')) }))",
            json!("h\u{e9}llo w\u{f6}rld"),
        ),
        ("fn(s => ({ r: composeNextState(s, 'new').references.length }))", json!(2)),
        ("cursor('2026-01-02'); fn(s => ({ r: s.cursor }))", json!("2026-01-02")),
        (
            "combine(fn(s => ({ ...s, a: 1 })), fn(s => ({ ...s, b: s.a + 1 }))); fn(s => ({ r: s.b }))",
            json!(2),
        ),
        ("group($.data.list, 'x'); fn(s => ({ r: Object.keys(s.data) }))", json!(["5", "6"])),
        ("assert($.data.a.b === 1); fn(s => ({ r: 'ok' }))", json!("ok")),
    ];
    let state = json!({"data": {"a": {"b": 1}, "list": [{"x": 5}, {"x": 6}]}, "references": [{"id": "r0"}]});
    for (body, expected) in table {
        let run = run(body, state.clone());
        assert_eq!(run.end().state, RunState::Success, "{body}: {:?}", run.end().error);
        assert_eq!(run.state()["r"], expected, "{body}");
    }
}

#[test]
fn a_thrown_error_fails_the_run_and_stands_in_the_state_under_its_job() {
    let run = run("fn(s => { s.seen = 1; throw new Error('bad input'); })", json!({"data": 1}));
    assert_eq!(run.error(), (RunState::Failed, "JobError", "bad input"));
    let expected =
        json!({"source": "runtime", "name": "JobError", "severity": "fail", "message": "bad input"});
    assert_eq!(run.state(), json!({"data": 1, "seen": 1, "errors": {"job": expected}}));
    assert_eq!(run.steps()[0].exit, ExitReason::Fail);
    assert_eq!(run.lines(), ["Error job aborted with error: bad input"]);
}

#[test]
fn each_kind_of_trouble_has_its_state_and_its_name() {
    let table = [
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
        ("fn(s => ({ big: 'x'.repeat(10_000_001) }))", RunState::Killed, "StateTooLargeError", "State is"),
        ("fn(s => { throw 'text'; })", RunState::Failed, "JobError", "text"),
        (
            "fn(s => { const a = {}; a.a = a; return a; })",
            RunState::Failed,
            "RuntimeError",
            "TypeError: circular",
        ),
        (
            "fn(s => fetch('https://example.org'))",
            RunState::Crashed,
            "RuntimeCrash",
            "ReferenceError: fetch is not defined",
        ),
    ];
    for (body, state, kind, message) in table {
        let project = project(&[("job", body)], &[], "    run_timeout_ms: 400\n");
        let run = walk(&project, &json!({"data": {}}), no_watch());
        let (found, name, text) = run.error();
        assert_eq!((found, name), (state, kind), "{body}: {text}");
        assert!(text.starts_with(message), "{body}: {text}");
    }
}

#[test]
fn a_run_that_prints_without_end_is_cut_and_says_so() {
    let run = run(
        "fn(s => { for (let i = 0; i < 300; i++) console.log('y'.repeat(10_000)); return s; })",
        json!({}),
    );
    assert_eq!(run.end().state, RunState::Success);
    assert_eq!(run.lines().last().unwrap(), "Warn [log truncated: a run may write 1000000 bytes]");
    assert!(run.lines().iter().map(String::len).sum::<usize>() < 1_100_000);
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
fn a_credential_is_there_for_the_step_and_nowhere_after_it() {
    let job = ("job \"'@openfn/language-common', credential: secret\"", "");
    let _ = job;
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
        "The adaptor @openfn/language-http is not available here; these are: @openfn/language-common."
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
fn a_source_that_is_no_javascript_is_placed() {
    let mistakes = check("fn(state => state)\nfn(state => {").unwrap_err();
    assert_eq!(mistakes[0].line, 2, "{mistakes:?}");
    let mistakes = check("const x = $.data;").unwrap_err();
    assert_eq!((mistakes[0].line, mistakes[0].column), (1, 11), "{mistakes:?}");
    assert!(
        compile("import { fn } from '@openfn/language-common';\nexport const a = 1;\nfn(s => s);").is_ok()
    );
}
