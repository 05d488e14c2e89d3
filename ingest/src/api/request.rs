//! What people ask for: reruns, cancels, discards.

use hyper::StatusCode;
use keyway_engine::{
    command::{Answer, Command, Discard, Refusal, Rerun},
    view::{
        order::{Run, WorkOrder, work_order},
        run::{report, steps},
    },
};
use keyway_storage::{
    event::{JobId, StepInput},
    id::What,
};
use serde_json::{Value, json};

use super::{Api, ApiError, Call, Reply};

/// Asks that a run end.
pub fn cancel(api: &Api, call: &Call) -> Reply {
    let (order, n) = api.run_named(call.id())?;
    let key = order.runs[usize::from(n) - 1].key;
    match api.ask(order.event.place.shard, Command::Cancel(key))? {
        Answer::Done => {
            let (order, n) = api.run_named(call.id())?;
            let run = &order.runs[usize::from(n) - 1];
            Ok((StatusCode::OK, json!({ "data": api.run_item(&order, run, call, true)? })))
        }
        Answer::Refused(refusal) => Err(refused(refusal)),
        other => Err(ApiError::internal(format!("an unexpected answer: {other:?}"))),
    }
}

/// Gives a work order another run.
pub fn rerun(api: &Api, call: &Call) -> Reply {
    let order = api.work_order_named(call.id())?;
    let body = call.body()?;
    let job = match body.get("job") {
        None | Some(Value::Null) => None,
        Some(Value::String(job)) => Some(job.as_str()),
        Some(_) => return Err(ApiError::invalid("`job` must be the key of a job.")),
    };
    let rerun = api.rerun_of(&order, job)?;
    let shard = order.event.place.shard;
    match api.ask(shard, Command::Rerun(rerun))? {
        Answer::Run(key) => {
            let reader = api.reader(shard).ok_or_else(|| ApiError::not_found("No such shard."))?;
            let order = work_order(reader, key.work_order)?.unwrap_or(order);
            let run = match order.runs.get(usize::from(key.n) - 1) {
                Some(run) => api.run_item(&order, run, call, true)?,
                // The rows that are read may be a turn behind the answer.
                None => api.run_item(&order, &asked_for(&order, key), call, false)?,
            };
            Ok((StatusCode::CREATED, json!({ "data": run })))
        }
        Answer::Refused(refusal) => Err(refused(refusal)),
        other => Err(ApiError::internal(format!("an unexpected answer: {other:?}"))),
    }
}

fn asked_for(order: &WorkOrder, key: keyway_storage::place::RunKey) -> Run {
    Run {
        key,
        state: keyway_storage::event::RunState::Available,
        attempts: 0,
        requested: Some(key.work_order),
        inserted: crate::time::now().max(order.last_activity),
        claimed: None,
        started: None,
        finished: None,
        start: None,
        error: None,
        end: None,
    }
}

/// Closes a dead letter without replaying it.
pub fn discard(api: &Api, call: &Call) -> Reply {
    let (_, place, _) = api.locate(call.id(), |what| what == What::DeadLetter)?;
    let body = call.body()?;
    let reason = body.get("reason").and_then(Value::as_str).unwrap_or_default();
    let discard = Discard { letter: place.offset, reason: reason.into() };
    match api.ask(place.shard, Command::Discard(discard))? {
        Answer::Done => super::event::show_dead_letter(api, call),
        Answer::Refused(_) => {
            let message = "The dead letter was replayed or discarded before.";
            Err(ApiError::new(StatusCode::CONFLICT, "conflict", message))
        }
        other => Err(ApiError::internal(format!("an unexpected answer: {other:?}"))),
    }
}

impl Api {
    /// A rerun of a work order: whole, or from a job with the input that it had last.
    fn rerun_of(&self, order: &WorkOrder, job: Option<&str>) -> Result<Rerun, ApiError> {
        let mut rerun = Rerun {
            work_order: order.event.place.offset,
            workflow: order.received.workflow,
            lane: order.received.lane,
            key: order.received.key,
            start: None,
            input: StepInput::Run,
            origin: 1,
        };
        let Some(job) = job else { return Ok(rerun) };
        let missing =
            || ApiError::not_found(format!("The workflow has no job `{job}` that this work order ran."));
        let current = self.current()?.map(|(project, _)| project);
        let workflow = current.as_ref().and_then(|project| project.workflow(order.received.workflow));
        rerun.start = Some(workflow.and_then(|workflow| workflow.job(job)).ok_or_else(missing)?);
        for run in order.runs.iter().rev() {
            if let Some(input) = self.input_of(order, run, job)? {
                rerun.input = input;
                rerun.origin = run.key.n;
                return Ok(rerun);
            }
        }
        Err(missing())
    }

    fn input_of(&self, order: &WorkOrder, run: &Run, job: &str) -> Result<Option<StepInput>, ApiError> {
        let Some(reader) = self.reader(order.event.place.shard) else { return Ok(None) };
        let named = |id: JobId| self.job_key(order, run, id).is_some_and(|key| key == job);
        let steps = steps(&report(reader, run.key)?);
        let step = steps.iter().rev().find(|step| named(step.started.job));
        Ok(step.map(|step| StepInput::InputOf(step.started.step)))
    }
}

/// The error of a refusal.
pub fn refused(refusal: Refusal) -> ApiError {
    let conflict = |message: &str| ApiError::new(StatusCode::CONFLICT, "conflict", message);
    match refusal {
        Refusal::UnknownTrigger | Refusal::NotFound => ApiError::not_found("There is no such thing."),
        Refusal::Ended => conflict("The run has ended already."),
        Refusal::Open => conflict("The work order has a run that has not ended."),
        Refusal::TooManyRuns => conflict("The work order has as many runs as it may have."),
        Refusal::Disabled => conflict("The trigger is disabled."),
        Refusal::KeyReused => conflict("The idempotency key came before with another body."),
        Refusal::TooLarge => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "It is too large."),
        Refusal::Full => {
            let message = "The shard has no room at the moment: a bound is reached or the disk is full.";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", message)
        }
    }
}
