//! Which dead letters or past events go through again.
//!
//! Invariant: what was asked for is read the same way from a request and, after a restart, from the log.

use keyway_engine::{
    project::Project,
    run::is_final,
    shard::ShardReader,
    view::{forward::Along, order::work_order},
};
use keyway_storage::{
    error::ReadError,
    event::{Event, EventKind, Reason, RunState, TriggerId, WorkflowId},
    limits::REPLAY_RATE_MAX,
    place::Timestamp,
};
use serde_json::{Map, Value};

use super::range::KafkaRange;
use crate::api::{
    ApiError,
    page::{self, Values},
    shape::reason_named,
};

/// What a replay may be asked with, beside `dry_run`.
pub const KEYS: &[&str] = &[
    "from",
    "trigger_id",
    "reason",
    "workflow",
    "state",
    "inserted_after",
    "inserted_before",
    "kafka",
    "rate_per_second",
];

/// Which ones, and how fast.
#[derive(Debug, Clone)]
pub struct ReplayFilter {
    /// Whether dead letters go through again; otherwise it is past events.
    pub letters: bool,
    /// Only those at this time or later.
    pub after: Option<Timestamp>,
    /// Only those before this time.
    pub before: Option<Timestamp>,
    /// Most items per second.
    pub rate_per_second: Option<u64>,
    trigger: Option<TriggerId>,
    reason: Option<Reason>,
    workflow: Option<WorkflowId>,
    state: Option<RunState>,
    kafka: Option<KafkaRange>,
}

impl ReplayFilter {
    /// The filter in a request.
    pub fn read(asked: &Map<String, Value>) -> Result<Self, ApiError> {
        if let Some(unknown) = asked.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(ApiError::invalid(format!("The body has an unknown key `{unknown}`.")));
        }
        let letters = match asked.value("from")?.as_deref() {
            Some("dead_letters") => true,
            Some("events") => false,
            _ => return Err(ApiError::invalid("`from` must be `dead_letters` or `events`.")),
        };
        let only_for =
            |name: &str, whom: &str| Err(ApiError::invalid(format!("`{name}` is a filter of {whom}.")));
        let orders = match page::work_order_filter(asked)? {
            Some(filter) => filter,
            None => return Err(ApiError::invalid("`state`: nothing that came in is rejected.")),
        };
        let reason = asked.value("reason")?.map(|name| reason_named(&name)).transpose()?;
        match letters {
            true if orders.state.is_some() => return only_for("state", "past events"),
            false if reason.is_some() => return only_for("reason", "dead letters"),
            _ => {}
        }
        let kafka = match asked.get("kafka") {
            None | Some(Value::Null) => None,
            Some(Value::Object(range)) => KafkaRange::of_object(range)?,
            Some(_) => return Err(ApiError::invalid("`kafka` must be an object.")),
        };
        Ok(Self {
            letters,
            after: page::moment(asked, "inserted_after")?,
            before: page::moment(asked, "inserted_before")?,
            rate_per_second: rate(asked)?,
            trigger: orders.trigger,
            reason,
            workflow: orders.workflow,
            state: orders.state,
            kafka,
        })
    }

    /// What a walk must come to.
    pub fn along(&self) -> Along {
        match self.letters {
            true => Along::Letters,
            false => Along::WorkOrders { trigger: self.trigger, state: self.state },
        }
    }

    /// Whether all that a walk comes to fits.
    pub fn fits_all(&self) -> bool {
        let none = self.reason.is_none() && self.workflow.is_none() && self.kafka.is_none();
        none && match (self.letters, self.state) {
            (true, _) => self.trigger.is_none(),
            (false, None) => true,
            (false, Some(state)) => is_final(state) && self.trigger.is_none(),
        }
    }

    /// Whether an event fits that a walk came to. Dead letters belong to the workflow that has their trigger today.
    pub fn fits(&self, reader: &ShardReader, project: &Project, event: &Event) -> Result<bool, ReadError> {
        let (trigger, workflow, request) = match &event.kind {
            EventKind::DeadLettered(it) => {
                if self.reason.is_some_and(|reason| reason != it.letter.reason) {
                    return Ok(false);
                }
                let workflow = project.trigger(it.trigger).map(|(workflow, _)| workflow.id);
                (it.trigger, workflow, &it.letter.request)
            }
            EventKind::Received(it) => (it.trigger, Some(it.workflow), &it.request),
            _ => return Ok(false),
        };
        let fits = self.trigger.is_none_or(|wanted| wanted == trigger)
            && (self.workflow.is_none() || self.workflow == workflow)
            && self.kafka.as_ref().is_none_or(|range| range.holds(request));
        match self.state.filter(|state| fits && !is_final(*state)) {
            None => Ok(fits),
            // Those that ended are walked by their state; the others are not kept by theirs.
            Some(state) => {
                let order = work_order(reader, event.place.offset)?;
                Ok(order.is_some_and(|order| order.state == state))
            }
        }
    }
}

fn rate(asked: &Map<String, Value>) -> Result<Option<u64>, ApiError> {
    match asked.get("rate_per_second") {
        None | Some(Value::Null) => Ok(None),
        Some(rate) => match rate.as_u64().filter(|rate| (1..=REPLAY_RATE_MAX).contains(rate)) {
            Some(rate) => Ok(Some(rate)),
            None => {
                let message =
                    format!("`rate_per_second` must be a whole number from 1 to {REPLAY_RATE_MAX}.");
                Err(ApiError::invalid(message))
            }
        },
    }
}
