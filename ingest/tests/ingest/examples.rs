//! The example projects do what their comments say, in the embedded executor.

use std::{cell::RefCell, rc::Rc};

use crate::reading::example;
use bytes::Bytes;
use keyway_engine::executor::{
    sandbox::{Sandbox, Scripts},
    walk::{Plan, Walk, first_jobs, no_watch},
};
use keyway_storage::{
    event::{EventKind, FinalState, RunState, StepInput},
    place::{Offset, RunKey},
};
use serde_json::{Value, json};

/// What a run of an example's workflow comes to.
struct Ran {
    end: RunState,
    state: Value,
    response: Value,
    lines: Vec<String>,
}

fn run(name: &str, state: Value) -> Ran {
    let project = example(name).project;
    let workflow = &project.workflows[0];
    let scripts = Scripts::default();
    let events = Rc::new(RefCell::new(Vec::new()));
    let sandbox = Sandbox::new().expect("there is memory");
    let first = first_jobs(&workflow.graph.from_trigger[0], &scripts, &sandbox, &state.to_string());
    let first = first.unwrap_or_else(|error| panic!("{name}: {}", error.message));
    let run = RunKey { work_order: Offset(1), n: 1 };
    let state = Bytes::from(state.to_string());
    let plan = Plan {
        run,
        attempt: 1,
        workflow,
        first,
        state,
        input: StepInput::Run,
        cursor: None,
        ends_whole: false,
    };
    Walk::new(plan, &scripts, Rc::clone(&events)).finish(&sandbox, no_watch());
    ran(&events.take())
}

fn ran(events: &[EventKind]) -> Ran {
    let mut outputs = Vec::new();
    let mut lines = Vec::new();
    for event in events {
        match event {
            EventKind::StepFinished(step) => outputs.push((step.step, json_of(&step.output))),
            EventKind::LogWritten(log) => lines.extend(log.lines.iter().map(|line| line.message.to_string())),
            _ => {}
        }
    }
    let Some(EventKind::RunFinished(end)) = events.last() else { panic!("the last event ends the run") };
    let state = match &end.final_state {
        FinalState::None => Value::Null,
        FinalState::Own(state) => json_of(state),
        FinalState::Step(step) => outputs
            .into_iter()
            .find(|(number, _)| number == step)
            .map(|(_, output)| output)
            .expect("it was written"),
    };
    Ran { end: end.state, state, response: json_of(&end.response), lines }
}

fn json_of(bytes: &[u8]) -> Value {
    if bytes.is_empty() { Value::Null } else { serde_json::from_slice(bytes).expect("it is JSON") }
}

#[test]
fn the_quickstart_greets_in_two_lines_and_counts_the_visit() {
    let ran = run("quickstart", json!({"data": {"name": "Amina", "visits": 3}}));
    assert_eq!(ran.end, RunState::Success, "{:?}", ran.lines);
    assert_eq!(ran.state["data"], json!({"name": "Amina", "visits": 4, "greeting": "Hello, Amina!"}));
    let shown: Vec<_> = ran.lines.iter().map(String::as_str).collect();
    assert_eq!(shown, ["Hello, Amina!", "You were here 3 times before."]);
}

#[test]
fn the_intake_sends_a_patient_on() {
    let patient = json!({"id": "p-17", "name": " Amina Otieno ", "born": "1990-04-12"});
    let ran = run("intake", json!({"data": {"patient": patient}}));
    assert_eq!(ran.end, RunState::Success, "{:?}", ran.lines);
    assert_eq!(ran.response, json!({"status": 200, "body": {"accepted": "p-17"}}));
    assert_eq!(ran.state["data"]["resourceType"], "Patient");
    assert_eq!(ran.state["data"]["name"], "Amina Otieno");
}

#[test]
fn the_intake_reports_a_request_without_a_patient() {
    let ran = run("intake", json!({"data": {}}));
    assert_eq!(ran.end, RunState::Success, "{:?}", ran.lines);
    let problem = ran.response["body"]["problem"].as_str().expect("it is told");
    assert_eq!(ran.response["status"], 422);
    assert!(problem.contains("the request has no patient"), "{problem}");
}

#[test]
fn the_nightly_pull_goes_on_where_it_stopped() {
    for name in ["nightly", "nightly-v2"] {
        let first = run(name, json!({}));
        assert_eq!(first.end, RunState::Success, "{:?}", first.lines);
        assert_eq!(first.state["cursor"], "2026-01-03T03:00:00.000Z");
        assert!(first.lines.iter().any(|line| line.contains("Changed: second")), "{:?}", first.lines);

        let second = run(name, first.state);
        assert_eq!(second.state["cursor"], "2026-01-03T03:00:00.000Z");
        assert!(!second.lines.iter().any(|line| line.contains("Changed:")), "{:?}", second.lines);
    }
}

#[test]
fn an_order_is_summed_up_and_a_large_one_is_pointed_out() {
    let order = json!({"id": "o-1", "lines": [{"price": 600, "count": 2}]});
    let large = run("orders", json!({"data": order}));
    assert_eq!((large.end, &large.state["data"]["total"]), (RunState::Success, &json!(1200)));
    assert!(large.lines.iter().any(|line| line.contains("worth a look")), "{:?}", large.lines);

    let small = run("orders", json!({"data": {"id": "o-2"}}));
    assert_eq!((small.end, &small.state["data"]["total"]), (RunState::Success, &json!(0)));
    assert!(!small.lines.iter().any(|line| line.contains("worth a look")), "{:?}", small.lines);
    assert_eq!(run("orders", json!({"data": {}})).end, RunState::Failed);
}
