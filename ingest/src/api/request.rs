//! What people ask for about one work order: a rerun, the end of a run.

use hyper::StatusCode;
use keyway_engine::{
    command::{Answer, Command, Rerun},
    view::order::{Run, WorkOrder},
};
use keyway_storage::event::StepInput;
use serde_json::Value;

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
    let mut body = call.body(&["job"])?;
    let job = match body.remove("job") {
        None | Some(Value::Null) => None,
        Some(Value::String(job)) => Some(job),
        Some(_) => return Err(ApiError::invalid("`job` must be the key of a job.")),
    };
    let rerun = call.rerun_of(&order, job.as_deref())?;
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
    pub fn rerun_of(&self, order: &WorkOrder, job: Option<&str>) -> Result<Rerun, ApiError> {
        let current = self.current()?.map(|(project, _)| project);
        let workflow = current.as_ref().and_then(|project| project.workflow(order.received.workflow));
        let workflow = workflow.ok_or_else(|| {
            ApiError::conflict("The project no longer has the workflow of this work order.")
        })?;
        let mut rerun = whole(order);
        let Some(job) = job else { return Ok(rerun) };
        let unknown = || ApiError::invalid(format!("`job`: the workflow has no job `{job}`."));
        rerun.start = Some(workflow.job(job).ok_or_else(unknown)?);
        for run in order.runs.iter().rev() {
            if let Some(input) = self.input_of(order, run, job)? {
                return Ok(Rerun { input, origin: run.key.n, ..rerun });
            }
        }
        Err(ApiError::invalid(format!("`job`: no run of this work order came to the job `{job}`.")))
    }

    /// The input that a job had in a run.
    fn input_of(&self, order: &WorkOrder, run: &Run, job: &str) -> Result<Option<StepInput>, ApiError> {
        let view = RunView::new(self, order, run)?;
        let step = view.steps().iter().rev().find(|step| view.job_key(step.started.job) == Some(job));
        Ok(step.map(|step| StepInput::InputOf(step.started.step)))
    }
}

/// A rerun of a work order from its trigger on.
pub fn whole(order: &WorkOrder) -> Rerun {
    Rerun {
        work_order: order.event.place.offset,
        workflow: order.received.workflow,
        lane: order.received.lane,
        key: order.received.key,
        start: None,
        input: StepInput::Run,
        origin: 1,
    }
}
