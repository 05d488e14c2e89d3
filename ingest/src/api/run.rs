//! A run with its steps and states, as users see it.

use std::sync::Arc;

use bytes::Bytes;
use keyway_engine::{
    project::{Project, Workflow},
    run::{is_final, run_state_name},
    shard::ShardReader,
    view::{
        order::{Run, WorkOrder},
        run::{Step, initial_state_of, report, requested, state_of, steps},
    },
};
use keyway_storage::{
    event::{Event, EventKind, ExitReason, FinalState, RunState, StepInput, wiped_at},
    id::What,
    place::{Offset, Place, RunKey, Timestamp},
};

use super::{
    ApiError,
    call::Call,
    document::Document,
    shape::{exit_reason_name, moment},
};
use crate::time::rfc3339;

/// A run that is about to be shown.
pub struct RunView<'a> {
    call: &'a Call<'a>,
    reader: &'a ShardReader,
    order: &'a WorkOrder,
    run: &'a Run,
    project: Option<Arc<Project>>,
    report: Vec<Event>,
    steps: Vec<Step>,
}

impl<'a> RunView<'a> {
    /// A run of a work order.
    pub fn new(call: &'a Call<'a>, order: &'a WorkOrder, run: &'a Run) -> Result<Self, ApiError> {
        let shard = order.event.place.shard;
        let reader = call.reader(shard)?;
        let asked_for = run.requested.map(|offset| requested(reader, offset)).transpose()?.flatten();
        let project = asked_for.map_or(order.received.project, |requested| requested.project);
        let report = report(reader, run.key)?;
        let steps = steps(&report);
        Ok(Self { call, reader, order, run, project: call.project_at(shard, project), report, steps })
    }

    /// The steps of the last attempt.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What was reported of the run, by all its attempts.
    pub fn report(&self) -> &[Event] {
        &self.report
    }

    /// The workflow in the project that the run was made for.
    fn workflow(&self) -> Option<&Workflow> {
        self.project.as_ref()?.workflow(self.order.received.workflow)
    }

    /// The key of a job.
    pub fn job_key(&self, job: keyway_storage::event::JobId) -> Option<&str> {
        self.workflow()?.jobs.get(usize::from(job.0)).map(|job| job.key.as_str())
    }

    /// The id of the step that the event at this offset began.
    pub fn step_id(&self, offset: Offset) -> Option<String> {
        let at = self.report.iter().find(|event| event.place.offset == offset)?.at;
        let place = Place { shard: self.order.event.place.shard, offset };
        Some(self.call.api.ids.encode(What::Step, place, at).to_string())
    }

    /// The run, with these parts of it.
    pub fn item(&self, includes: &[&str]) -> Result<Document, ApiError> {
        let (order, run) = (self.order, self.run);
        let states = includes.contains(&"states");
        let steps = self.steps.iter().map(|step| self.step(step, states)).collect::<Result<Vec<_>, _>>()?;
        let error = run.error.as_ref();
        let mut attributes = Document::default()
            .with("state", run_state_name(run.state))
            .with(
                "work_order_id",
                self.call.api.ids.work_order(order.event.place, order.event.at).to_string(),
            )
            .with("attempt", run.attempts.max(1))
            .with("priority", if run.key.n > 1 { "immediate" } else { "normal" })
            .with("starting_job", self.starting_job())
            .with("error_type", error.map(|error| &*error.kind))
            .with("error_message", error.map(|error| &*error.message))
            .with("inserted_at", rfc3339(run.inserted))
            .with("claimed_at", moment(run.claimed))
            .with("started_at", moment(run.started))
            .with("finished_at", moment(run.finished))
            .with("cursor", self.cursor())
            .with("steps", steps);
        if includes.contains(&"final_state") {
            attributes = attributes.with_text("final_state", &self.final_state());
        }
        if includes.contains(&"input") {
            let state = initial_state_of(self.reader, run.key)?.unwrap_or_default();
            attributes = attributes.with_text("input", &state);
        }
        Ok(Document::item("runs", run_id(self.call, order, run.key), &attributes))
    }

    fn step(&self, step: &Step, states: bool) -> Result<Document, ApiError> {
        let finished = step.finished.as_ref();
        let exit = finished.map(|finished| exit_reason_name(finished.exit));
        let error = finished.and_then(|finished| finished.error.as_ref());
        let mut document = Document::default()
            .with("id", self.step_id(step.offset))
            .with("job", self.job_key(step.started.job))
            // A step that its run left open was lost with it.
            .with("exit_reason", exit.or_else(|| is_final(self.run.state).then_some("lost")))
            .with("error_type", error.map(|error| &*error.kind))
            .with("error_message", error.map(|error| &*error.message))
            .with("started_at", rfc3339(step.started.started))
            .with("finished_at", moment(finished.map(|finished| finished.finished)));
        if states {
            let input = StepInput::InputOf(step.started.step);
            let input = state_of(self.reader, self.run.key, input)?.unwrap_or_default();
            document = document.with_text("input", &input);
            let output = finished.map(|finished| finished.output.clone()).unwrap_or_default();
            document = document.with_text("output", &output);
        }
        Ok(document)
    }

    fn starting_job(&self) -> Option<&str> {
        let first = || {
            let workflow = self.workflow()?;
            let index = self.project.as_ref()?.trigger_index(workflow.id, self.order.received.trigger)?;
            workflow.graph.from_trigger.get(index)?.first().map(|edge| edge.target)
        };
        self.job_key(self.run.start.or_else(first)?)
    }

    fn final_state(&self) -> Bytes {
        let end = self.report.iter().rev().find_map(|event| match &event.kind {
            EventKind::RunFinished(end) => Some(&end.final_state),
            _ => None,
        });
        match end {
            Some(FinalState::Own(state)) => state.clone(),
            Some(FinalState::Step(wanted)) => {
                let step = self.steps.iter().find(|step| step.started.step == *wanted);
                let finished = step.and_then(|step| step.finished.as_ref());
                finished.map(|finished| finished.output.clone()).unwrap_or_default()
            }
            Some(FinalState::None) | None => Bytes::new(),
        }
    }

    /// What became of the state that later runs of a cron trigger start with; null when this run leaves none.
    fn cursor(&self) -> Option<&'static str> {
        let (_, trigger) = self.project.as_ref()?.trigger(self.order.received.trigger)?;
        let cursor = trigger.cursor.filter(|_| is_final(self.run.state))?;
        let left = match cursor.job {
            None => (self.run.state == RunState::Success).then(|| self.final_state())?,
            Some(job) => {
                let mut ended = self.steps.iter().rev().filter(|step| step.started.job == job);
                ended.find_map(|step| {
                    let finished = step.finished.as_ref()?;
                    (finished.exit == ExitReason::Success).then(|| finished.output.clone())
                })?
            }
        };
        // How large it was went with it.
        if wiped_at(&left).is_some() {
            return None;
        }
        let bytes = left.len() as u64;
        Some(match () {
            () if bytes > cursor.bytes_max => "too_large",
            () if bytes > cursor.warn_bytes => "warned",
            () => "kept",
        })
    }
}

/// The id of a run.
pub fn run_id(call: &Call, order: &WorkOrder, run: RunKey) -> String {
    run_id_at(call, order.event.place, order.event.at, run.n)
}

/// The id of the run with this number of the work order at `place`, made at `at`.
pub fn run_id_at(call: &Call, place: Place, at: Timestamp, n: u8) -> String {
    call.api.ids.encode(What::Run(n), place, at).to_string()
}
