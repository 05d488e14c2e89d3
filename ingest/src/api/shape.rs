//! The shapes of work orders, runs, steps and log lines.

use keyway_engine::{
    project::Workflow,
    run::{is_final, run_state_name, work_order_state_name},
    view::{
        order::{Run, WorkOrder},
        run::Step,
    },
};
use keyway_storage::{
    event::{ExitReason, Level, LogSource, TriggerId},
    id::What,
    place::{Place, ShardId},
};
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use super::Api;
use crate::time::rfc3339;

/// `{"type", "id", "attributes"}`.
pub fn item(kind: &str, id: impl ToString, attributes: Value) -> Value {
    json!({ "type": kind, "id": id.to_string(), "attributes": attributes })
}

/// A trigger's UUID.
pub fn trigger_uuid(id: TriggerId) -> String {
    Uuid::from_bytes(id.0).to_string()
}

/// JSON text as a value; numbers beyond 2^53 and repeated keys are shown as far as JSON values can hold them.
pub fn json_text(text: &[u8]) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(text).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(text).into_owned()))
}

impl Api {
    pub(super) fn workflow_of<T>(
        &self,
        shard: ShardId,
        order: &WorkOrder,
        read: impl Fn(&Workflow) -> T,
    ) -> Option<T> {
        let project = self.project_at(shard, order.received.project)?;
        project.workflow(order.received.workflow).map(read)
    }

    pub(super) fn work_order_id(&self, order: &WorkOrder) -> Uuid {
        self.ids.work_order(order.event.place, order.event.at)
    }

    pub(super) fn run_id(&self, order: &WorkOrder, n: u8) -> Uuid {
        self.ids.encode(What::Run(n), order.event.place, order.event.at)
    }

    pub(super) fn shape_work_order(&self, order: &WorkOrder) -> Value {
        let shard = order.event.place.shard;
        let workflow = self.workflow_of(shard, order, |workflow| workflow.key.clone());
        let project = self.project_at(shard, order.received.project);
        let kind = project.and_then(|project| project.trigger(order.received.trigger).map(|(_, it)| it.kind));
        let runs: Vec<String> =
            order.runs.iter().map(|run| self.run_id(order, run.key.n).to_string()).collect();
        json!({
            "state": work_order_state_name(order.state),
            "workflow": workflow,
            "trigger_id": trigger_uuid(order.received.trigger),
            "trigger_type": kind,
            "inserted_at": rfc3339(order.event.at),
            "last_activity": rfc3339(order.last_activity),
            "runs": runs,
        })
    }

    pub(super) fn shape_run(&self, order: &WorkOrder, run: &Run, steps: Vec<Value>) -> Value {
        let shard = order.event.place.shard;
        let start = self.workflow_of(shard, order, |workflow| {
            let first = || {
                let index = workflow.trigger_index(order.received.trigger)?;
                workflow.graph.from_trigger.get(index)?.first().map(|edge| edge.target)
            };
            let start = run.start.or_else(first)?;
            workflow.jobs.get(usize::from(start.0)).map(|job| job.key.clone())
        });
        json!({
            "state": run_state_name(run.state),
            "work_order_id": self.work_order_id(order).to_string(),
            "attempt": run.attempts,
            "priority": if run.requested.is_some() { "immediate" } else { "normal" },
            "starting_job": start.flatten(),
            "error_type": run.error.as_ref().map(|error| &*error.kind),
            "error_message": run.error.as_ref().map(|error| &*error.message),
            "inserted_at": rfc3339(run.inserted),
            "claimed_at": run.claimed.map(rfc3339),
            "started_at": run.started.map(rfc3339),
            "finished_at": run.finished.map(rfc3339),
            "cursor": Value::Null,
            "steps": steps,
        })
    }

    pub(super) fn shape_step(
        &self,
        order: &WorkOrder,
        run: &Run,
        step: &Step,
        at: keyway_storage::place::Timestamp,
    ) -> Value {
        let place = Place { shard: order.event.place.shard, offset: step.offset };
        let finished = step.finished.as_ref();
        let exit = finished.map(|finished| exit_reason_name(finished.exit));
        json!({
            "id": self.ids.encode(What::Step, place, at).to_string(),
            "job": self.job_key(order, run, step.started.job),
            "exit_reason": exit.or_else(|| is_final(run.state).then_some("lost")),
            "error_type": finished.and_then(|it| it.error.as_ref()).map(|error| &*error.kind),
            "error_message": finished.and_then(|it| it.error.as_ref()).map(|error| &*error.message),
            "started_at": rfc3339(step.started.started),
            "finished_at": finished.map(|finished| rfc3339(finished.finished)),
        })
    }

    /// A job's key, in the project that the run was made for.
    pub(super) fn job_key(
        &self,
        order: &WorkOrder,
        run: &Run,
        job: keyway_storage::event::JobId,
    ) -> Option<String> {
        let shard = order.event.place.shard;
        let reader = self.reader(shard)?;
        let requested =
            run.requested.and_then(|offset| keyway_engine::view::run::requested(reader, offset).ok()?);
        let project = requested.map_or(order.received.project, |requested| requested.project);
        let project = self.project_at(shard, project)?;
        let workflow = project.workflow(order.received.workflow)?;
        workflow.jobs.get(usize::from(job.0)).map(|job| job.key.clone())
    }
}

/// Whether a text is JSON.
pub fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(text).is_ok()
}

/// The name of an exit reason.
pub fn exit_reason_name(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Success => "success",
        ExitReason::Fail => "fail",
        ExitReason::Crash => "crash",
        ExitReason::Cancel => "cancel",
        ExitReason::Kill => "kill",
        ExitReason::Exception => "exception",
        ExitReason::Lost => "lost",
    }
}

/// The name of a log line's level.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Success => "success",
        Level::Always => "always",
    }
}

/// The name of a log line's source, in the words of OpenFn's worker.
pub fn source_name(source: LogSource) -> &'static str {
    match source {
        LogSource::Job => "JOB",
        LogSource::Runtime => "R/T",
    }
}
