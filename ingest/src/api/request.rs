//! What people ask for about one work order: a rerun, the end of a run.

use std::sync::Arc;

use hyper::StatusCode;
use keyway_engine::{
    command::{Answer, Command, Rerun},
    project::Project,
    queue::lane::line_key,
    view::{
        order::{Run, WorkOrder},
        run::state_of,
    },
};
use keyway_storage::{
    event::{StepInput, wiped_at},
    place::RunKey,
};
use serde_json::{Map, Value};

use super::{ApiError, Reply, call::Call, document::Document, run::RunView};

/// `POST /api/runs/ID/cancel`.
pub fn cancel(call: &Call) -> Reply {
    call.body(&[])?;
    let (order, run) = call.run_named(call.id)?;
    match call.ask(order.event.place.shard, Command::Cancel(run))? {
        Answer::Done => {
            let call = call.again();
            let (order, run) = call.run_named(call.id)?;
            Ok((StatusCode::OK, Document::data(call.run_item(&order, run, &[])?)))
        }
        other => Err(ApiError::unexpected(other)),
    }
}

/// `POST /api/work_orders/ID/reruns`.
pub fn rerun(call: &Call) -> Reply {
    let order = call.work_order_named(call.id)?;
    let mut body = call.body(&["job", "version"])?;
    let version = Version::read(&mut body)?;
    let job = match body.remove("job") {
        None | Some(Value::Null) => None,
        Some(Value::String(job)) => Some(job),
        Some(_) => return Err(ApiError::invalid("`job` must be the key of a job.")),
    };
    let rerun = call.rerun_of(&order, job.as_deref(), version)?;
    match call.ask(order.event.place.shard, Command::Rerun(rerun))? {
        Answer::Run(run) => {
            let call = call.again();
            let order = call.work_order_named(call.id)?;
            Ok((StatusCode::CREATED, Document::data(call.run_item(&order, run, &[])?)))
        }
        other => Err(ApiError::unexpected(other)),
    }
}

impl Call<'_> {
    /// A rerun of a work order: whole, or from a job with the input that it had last.
    pub fn rerun_of(
        &self,
        order: &WorkOrder,
        job: Option<&str>,
        version: Version,
    ) -> Result<Rerun, ApiError> {
        let current = self.current()?;
        let gone = || ApiError::conflict("The project no longer has the workflow of this work order.");
        let has = |project: &Arc<Project>| project.workflow(order.received.workflow).is_some();
        let mut project = current.filter(has).ok_or_else(gone)?;
        if version == Version::Original {
            let unread = || ApiError::conflict("The project of this work order cannot be read any more.");
            project = self.project_at(order.event.place.shard, order.received.project).ok_or_else(unread)?;
        }
        let workflow = project.workflow(order.received.workflow).ok_or_else(gone)?;
        let mut rerun = whole(order, version);
        let Some(job) = job else {
            self.refuse_wiped(order, RunKey { work_order: rerun.work_order, n: 1 }, StepInput::Run)?;
            return Ok(rerun);
        };
        let unknown = || ApiError::invalid(format!("`job`: the workflow has no job `{job}`."));
        rerun.start = Some(workflow.job(job).ok_or_else(unknown)?);
        for run in order.runs.iter().rev() {
            if let Some(input) = self.input_of(order, run, job)? {
                self.refuse_wiped(order, run.key, input)?;
                return Ok(Rerun { input, origin: run.key.n, ..rerun });
            }
        }
        Err(ApiError::invalid(format!("`job`: no run of this work order came to the job `{job}`.")))
    }

    /// Refuses a rerun whose input was wiped.
    fn refuse_wiped(&self, order: &WorkOrder, run: RunKey, input: StepInput) -> Result<(), ApiError> {
        let reader = self.reader(order.event.place.shard)?;
        let gone =
            || ApiError::conflict("What it began with was cut with the history of another work order.");
        match wiped_at(&state_of(reader, run, input)?.ok_or_else(gone)?) {
            Some(at) => Err(ApiError::wiped(at)),
            None => Ok(()),
        }
    }

    /// The input that a job had in a run.
    fn input_of(&self, order: &WorkOrder, run: &Run, job: &str) -> Result<Option<StepInput>, ApiError> {
        let view = RunView::new(self, order, run)?;
        let step = view.steps().iter().rev().find(|step| view.job_key(step.started.job) == Some(job));
        Ok(step.map(|step| StepInput::InputOf(step.started.step)))
    }
}

/// Which version of its workflow a work order runs on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// That of the project in force.
    Current,
    /// That of its first run.
    Original,
}

impl Version {
    /// The version that a body asks for; the current one if it does not say.
    pub fn read(body: &mut Map<String, Value>) -> Result<Self, ApiError> {
        match body.remove("version").as_ref().map(Value::as_str) {
            None | Some(Some("current")) => Ok(Self::Current),
            Some(Some("original")) => Ok(Self::Original),
            Some(_) => Err(ApiError::invalid("`version` must be `current` or `original`.")),
        }
    }
}

/// A rerun of a work order from its trigger on.
pub fn whole(order: &WorkOrder, version: Version) -> Rerun {
    Rerun {
        work_order: order.event.place.offset,
        workflow: order.received.workflow,
        lane: order.received.lane,
        key: line_key(&order.received),
        project: (version == Version::Original).then_some(order.received.project),
        start: None,
        input: StepInput::Run,
        origin: 1,
    }
}
