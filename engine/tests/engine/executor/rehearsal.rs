//! A run in a test: a workflow of a few jobs, walked from a state to its report.

use std::{any::Any, cell::RefCell, rc::Rc, sync::Arc};

use bytes::Bytes;
use keyway_engine::{
    executor::{
        sandbox::{Sandbox, Scripts, Watch},
        walk::{Plan, Walk, first_jobs, no_watch},
    },
    project::{Origin, Project, Reference, SecretSource, TriggerSection, read},
    source::TriggerType,
};
use keyway_storage::{
    event::{EventKind, FinalState, RunFinished, RunState, StepFinished, StepInput},
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
pub fn project(jobs: &[(&str, &str)], edges: &[(&str, &str, &str)], more: &str) -> Project {
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

pub struct Run {
    pub events: Vec<EventKind>,
}

pub fn walk(project: &Project, state: &Value, watch: Watch) -> Run {
    let workflow = &project.workflows[0];
    let scripts = Scripts::default();
    let events = Rc::new(RefCell::new(Vec::new()));
    let run = RunKey { work_order: Offset(5), n: 1 };
    let state = Bytes::from(state.to_string());
    SANDBOX.with_borrow_mut(|sandbox| {
        let text = std::str::from_utf8(&state).unwrap();
        let first = first_jobs(&workflow.graph.from_trigger[0], &scripts, sandbox, text).unwrap();
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
        Walk::new(plan, &scripts, Rc::clone(&events)).finish(sandbox, watch);
        sandbox.reset();
    });
    Run { events: events.take() }
}

thread_local! {
    /// All runs of a test run in the same sandbox, one after the other, as those of an executor's thread do.
    static SANDBOX: RefCell<Sandbox> = RefCell::new(Sandbox::new().unwrap());
}

pub fn run(body: &str, state: Value) -> Run {
    walk(&project(&[("job", body)], &[], ""), &state, no_watch())
}

impl Run {
    pub fn end(&self) -> &RunFinished {
        match self.events.last().unwrap() {
            EventKind::RunFinished(end) => end,
            other => panic!("{other:?}"),
        }
    }

    pub fn steps(&self) -> Vec<&StepFinished> {
        self.events
            .iter()
            .filter_map(|event| if let EventKind::StepFinished(step) = event { Some(step) } else { None })
            .collect()
    }

    pub fn state(&self) -> Value {
        match &self.end().final_state {
            FinalState::None => Value::Null,
            FinalState::Own(state) => serde_json::from_slice(state).unwrap(),
            FinalState::Step(step) => {
                let step = self.steps().into_iter().find(|it| it.step == *step).unwrap();
                serde_json::from_slice(&step.output).unwrap()
            }
        }
    }

    pub fn lines(&self) -> Vec<String> {
        let lines = self
            .events
            .iter()
            .filter_map(|event| if let EventKind::LogWritten(log) = event { Some(&log.lines) } else { None });
        lines.flatten().map(|line| format!("{:?} {}", line.level, line.message)).collect()
    }

    pub fn error(&self) -> (RunState, &str, &str) {
        let error = self.end().error.as_ref().unwrap();
        (self.end().state, &error.kind, &error.message)
    }
}
