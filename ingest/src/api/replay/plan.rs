//! What a replay is to do, as it is kept in the log: what was asked for, how far the logs reached then, and how much
//! that was.
//!
//! Invariant: a replay never comes to what was received after it was asked for, its own work orders among it.

use bytes::Bytes;
use keyway_engine::{
    project::Project,
    shard::ShardReader,
    view::forward::{Forward, between},
};
use keyway_storage::{
    error::ReadError,
    event::Event,
    limits::REPLAY_SAMPLE_ITEMS,
    place::{Offset, Span},
};
use serde_json::{Map, Value, json};

use super::filter::ReplayFilter;
use crate::api::{ApiError, whole::Whole};

/// What a replay is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What was asked for, as it was written.
    pub asked: Map<String, Value>,
    /// The same, read.
    pub filter: ReplayFilter,
    /// For each log, the first event that does not belong to it.
    pub until: Vec<Offset>,
    /// How many items there were.
    pub matched: u64,
}

impl Plan {
    /// The plan for what is there now, with the oldest of its items; refused while the views do not show all of it.
    pub fn new(
        asked: Map<String, Value>,
        readers: &[ShardReader],
        project: &Project,
    ) -> Result<(Self, Vec<Event>), ApiError> {
        let filter = ReplayFilter::read(&asked)?;
        let whole = Whole::of(readers)?;
        let mut plan = Self { asked, filter, until: whole.ends.clone(), matched: 0 };
        let spans = plan.spans(readers)?;
        let mut sample = Vec::new();
        let mut walk = Forward::new(readers, plan.filter.along(), &spans);
        while let Some(event) = walk.step()? {
            let Some(reader) = readers.get(usize::from(event.place.shard.0)) else { continue };
            if !plan.filter.fits(reader, project, &event)? {
                continue;
            }
            plan.matched += 1;
            if sample.len() < REPLAY_SAMPLE_ITEMS {
                sample.push(event);
            } else if plan.filter.fits_all() {
                // Where all fit there is no need to read them.
                plan.matched = Forward::new(readers, plan.filter.along(), &spans).count()?;
                break;
            }
        }
        whole.check()?;
        Ok((plan, sample))
    }

    /// The plan that the log holds.
    pub fn of_log(text: &[u8]) -> Result<Self, ApiError> {
        let unreadable = || ApiError::internal("The filter of the replay cannot be read.");
        let mut stored: Map<String, Value> = serde_json::from_slice(text).map_err(|_| unreadable())?;
        let Some(Value::Object(asked)) = stored.remove("asked") else { return Err(unreadable()) };
        let until: Option<Vec<Value>> = stored.get("until").and_then(Value::as_array).cloned();
        let until = until.ok_or_else(unreadable)?.iter().map(|offset| offset.as_u64().map(Offset)).collect();
        let until: Option<Vec<Offset>> = until;
        let matched = stored.get("matched").and_then(Value::as_u64);
        let filter = ReplayFilter::read(&asked)?;
        Ok(Self {
            asked,
            filter,
            until: until.ok_or_else(unreadable)?,
            matched: matched.ok_or_else(unreadable)?,
        })
    }

    /// As the log holds it.
    pub fn to_log(&self) -> Bytes {
        let until: Vec<u64> = self.until.iter().map(|offset| offset.0).collect();
        let stored = json!({ "asked": self.asked, "until": until, "matched": self.matched });
        Bytes::from(stored.to_string())
    }

    /// The parts of the logs that belong to it.
    pub fn spans(&self, readers: &[ShardReader]) -> Result<Vec<Span>, ReadError> {
        let span = |(index, reader): (usize, &ShardReader)| {
            let end = self.until.get(index).copied().unwrap_or_default();
            between(reader, Span { first: Offset(0), end }, self.filter.after, self.filter.before)
        };
        readers.iter().enumerate().map(span).collect()
    }
}
