//! Work orders and their runs, as the log and the committed rows tell them.

use keyway_storage::{
    error::ReadError,
    event::{Event, JobId, Received, RunError, RunState},
    key::Tag,
    place::{Offset, RunKey, Timestamp},
    table::{Bitmap, LeaseRow, Table, WorkOrderRow, by_trigger_key},
};

use crate::{
    projection::ALL_TRIGGERS, refold::watermark_of, run::is_final, shard::ShardReader, state::lease_state,
};

/// A work order.
#[derive(Debug)]
pub struct WorkOrder {
    /// Its `Received`.
    pub event: Event,
    /// The same, without its wrapping.
    pub received: Received,
    /// The state that decides it, in the words of a run's.
    pub state: RunState,
    /// When it last changed.
    pub last_activity: Timestamp,
    /// Its runs, oldest first.
    pub runs: Vec<Run>,
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// Which.
    pub key: RunKey,
    /// Its state.
    pub state: RunState,
    /// How often it was claimed.
    pub attempts: u8,
    /// Its `RunRequested`; `None` for a first run.
    pub requested: Option<Offset>,
    /// When it was made.
    pub inserted: Timestamp,
    /// When it was claimed last.
    pub claimed: Option<Timestamp>,
    /// When it began last.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// The job that it was asked to start with.
    pub start: Option<JobId>,
    /// What went wrong, if something did.
    pub error: Option<RunError>,
    /// Its `RunFinished`.
    pub end: Option<Offset>,
}

/// The work order whose `Received` is at `offset`.
pub fn work_order(reader: &ShardReader, offset: Offset) -> Result<Option<WorkOrder>, ReadError> {
    let Some((event, received)) = super::run::received(reader, offset)? else { return Ok(None) };
    // The lease first: a run that ends in between then shows its end, not its beginning.
    let lease = reader.state.get(&WorkOrderRow::lease_key(offset))?;
    let lease = lease.map(|value| LeaseRow::from_value(&value)).transpose()?;
    let row = reader.state.get(&WorkOrderRow::key(offset))?;
    let row = row.map(|value| WorkOrderRow::from_value(&value)).transpose()?;
    // Without a row it waits for its first run, or its history was just cut and its events are on their way out.
    if row.is_none() && lease.is_none() && is_cut(reader, offset)? {
        return Ok(None);
    }
    let made = event.at;
    let mut order =
        WorkOrder { event, received, state: RunState::Available, last_activity: made, runs: Vec::new() };
    if let Some(row) = row {
        order.state = row.state;
        order.last_activity = row.last_activity;
        let runs = row.runs.into_iter().enumerate();
        order.runs = runs.map(|(index, run)| Run::of_row(offset, index, run, made)).collect();
    }
    if order.runs.is_empty() {
        order.runs.push(Run::waiting(RunKey { work_order: offset, n: 1 }, made));
    }
    if let Some(lease) = lease {
        order.apply_lease(&lease);
    }
    Ok(Some(order))
}

/// Whether the views no longer know a work order.
fn is_cut(reader: &ShardReader, offset: Offset) -> Result<bool, ReadError> {
    if offset >= watermark_of(&reader.views, Tag::ViewsWatermark)? {
        return Ok(false);
    }
    let set = reader.views.get(&by_trigger_key(ALL_TRIGGERS, Bitmap::bucket(offset)))?;
    let set = set.map_or(Ok(Bitmap::default()), |value| Bitmap::from_value(&value))?;
    // Once more: they may have been dropped in between, their mark first.
    Ok(!set.contains(offset) && offset < watermark_of(&reader.views, Tag::ViewsWatermark)?)
}

impl WorkOrder {
    /// The run with this number.
    pub fn run(&self, n: u8) -> Option<&Run> {
        self.runs.get(usize::from(n).checked_sub(1)?)
    }

    fn apply_lease(&mut self, lease: &LeaseRow) {
        let state = lease_state(lease);
        let last = self.runs.last_mut().expect("a work order has a run");
        if last.key != lease.claimed.run || is_final(last.state) {
            return;
        }
        last.state = state;
        last.attempts = lease.claimed.attempt;
        last.claimed = Some(lease.claimed_at);
        last.started = lease.started;
        self.last_activity = lease.started.unwrap_or(lease.claimed_at).max(self.last_activity);
        self.state = if state == RunState::Started { state } else { RunState::Available };
    }
}

impl Run {
    fn waiting(key: RunKey, inserted: Timestamp) -> Self {
        Self::of_row(
            key.work_order,
            usize::from(key.n) - 1,
            keyway_storage::table::RunRow::waiting(),
            inserted,
        )
    }

    fn of_row(work_order: Offset, index: usize, row: keyway_storage::table::RunRow, made: Timestamp) -> Self {
        Self {
            key: RunKey { work_order, n: index as u8 + 1 },
            state: row.state,
            attempts: row.attempts,
            requested: row.requested,
            inserted: if row.inserted == Timestamp(0) { made } else { row.inserted },
            claimed: row.claimed,
            started: row.started,
            finished: row.finished,
            start: row.start,
            error: row.error,
            end: row.end,
        }
    }
}
