//! State: what deciding reads. The first projection of the log, never behind it.
//!
//! Invariant: after `commit(watermark)` the rows are the fold of all events before the watermark, byte for byte,
//! whatever the turns were that led to it. Nothing here knows a clock.

mod cut;
mod fold;
pub mod keys;
mod open;
mod replay;
mod schedule;
mod streams;
mod wipe;

pub use fold::lease_state;
pub use replay::Part;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use keyway_storage::{
    error::{CommitError, Damage, ReadError},
    event::{Event, LaneId, ProjectApplied, RunState, TriggerId, WorkflowId},
    key::{Key, Tag},
    limits::{LEASES_MAX, LIVE_MS, ONCE_KEYS_MAX},
    place::{Offset, RunKey, ShardId, Timestamp},
    rows::{Rows, RowsReader},
    table::{
        CountsRow, HoldRow, LeaseRow, OnceRow, PositionRow, ProjectRow, Subject, Table, WorkOrderRow,
        notice_key,
    },
};

use crate::{project::Project, queue::Queue, source::Positions};
use keys::Keys;
use open::OpenCounts;
use replay::Replays;
use streams::Streams;

/// Gives the project that an event put into force.
pub type Projects = Arc<dyn Fn(Offset, Option<&ProjectApplied>) -> Option<Arc<Project>> + Send + Sync>;

/// Reads from the log which trigger a work order came in through; `None` if its input is not there.
pub type Origins = Box<dyn Fn(Offset) -> Result<Option<TriggerId>, ReadError> + Send>;

/// Everything that deciding reads.
pub struct State {
    shard: ShardId,
    rows: Rows,
    projects: Projects,
    origins: Option<Origins>,
    /// Work orders that may not be in the log yet, in their order, with their triggers.
    fresh: Vec<(Offset, TriggerId)>,
    project: Arc<Project>,
    project_at: Option<Offset>,
    pub(crate) queue: Queue,
    keys: Keys,
    streams: Streams,
    leases: BTreeMap<Offset, LeaseRow>,
    deadlines: BTreeSet<(Timestamp, Offset)>,
    switches: BTreeMap<TriggerId, bool>,
    counts: CountsRow,
    counts_dirty: bool,
    replays: Replays,
    /// When the last live input came since the start.
    live_at: Timestamp,
    orphans: BTreeSet<Offset>,
    freed: VecDeque<WorkflowId>,
    stops: VecDeque<RunKey>,
    open: OpenCounts,
}

impl State {
    /// Takes up the state that the rows describe.
    pub fn open(shard: ShardId, mut rows: Rows, projects: Projects) -> Result<Self, ReadError> {
        let counts = rows.get(&Key::new(Tag::Counts))?;
        let counts = counts.map_or(Ok(CountsRow::default()), |value| CountsRow::from_value(&value))?;
        let leases = open_leases(&rows)?;
        let queue = Queue::open(&mut rows, leases.iter().map(|lease| lease.claimed.lane))?;
        let keys = Keys::open(&rows, ONCE_KEYS_MAX)?;
        let open = OpenCounts::open(&rows)?;
        let project_at = match rows.get(&Key::new(Tag::Project))? {
            Some(value) => Some(ProjectRow::from_value(&value)?.offset),
            None => None,
        };
        let project = project_at.and_then(|offset| projects(offset, None)).unwrap_or_default();
        let replays = Replays::open(&rows)?;
        let mut state = Self {
            shard,
            rows,
            projects,
            origins: None,
            fresh: Vec::new(),
            project,
            project_at,
            queue,
            keys,
            streams: Streams::default(),
            leases: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            switches: BTreeMap::new(),
            counts,
            counts_dirty: false,
            replays,
            live_at: Timestamp(0),
            orphans: BTreeSet::new(),
            freed: VecDeque::new(),
            stops: VecDeque::new(),
            open,
        };
        leases.into_iter().for_each(|lease| state.insert_lease(lease));
        state.open_switches()?;
        Ok(state)
    }

    fn open_switches(&mut self) -> Result<(), ReadError> {
        let prefix = Key::new(Tag::Switch);
        for (key, value) in self.rows.scan(prefix, prefix.prefix_end(), usize::MAX)? {
            let trigger = TriggerId(key[1..17].try_into().expect("the key of a switch has 17 bytes"));
            self.switches.insert(trigger, value[..] == [1]);
        }
        Ok(())
    }

    fn insert_lease(&mut self, lease: LeaseRow) {
        let offset = lease.claimed.run.work_order;
        match lease.worker {
            0 if lease.boot < self.counts.boots => drop(self.orphans.insert(offset)),
            // The executor of this very process loses no run while it lives: the run's own time limit ends it, however
            // long it waits its turn.
            0 => {}
            _ => drop(self.deadlines.insert((lease.until, offset))),
        }
        self.leases.insert(offset, lease);
    }

    /// The first event that the rows do not reflect.
    pub fn watermark(&self) -> Offset {
        self.rows.watermark()
    }

    /// Says where the triggers of work orders are read; without it only those since the last commit are known.
    pub fn read_origins(&mut self, origins: Origins) {
        self.origins = Some(origins);
    }

    /// Commits what the events so far changed.
    pub fn commit(&mut self, watermark: Offset) -> Result<(), CommitError> {
        self.fresh.clear();
        self.streams.flush(&mut self.rows);
        self.queue.flush(&mut self.rows);
        self.keys.flush(&mut self.rows);
        self.replays.flush(&mut self.rows);
        self.open.flush(&mut self.rows);
        if self.counts_dirty {
            self.rows.put(Key::new(Tag::Counts), self.counts.to_value());
            self.counts_dirty = false;
        }
        self.rows.commit(watermark)
    }

    /// Goes back to what is committed.
    pub fn roll_back(&mut self) -> Result<(), ReadError> {
        let mut rows = std::mem::replace(&mut self.rows, Rows::memory(Tag::Watermark));
        rows.discard();
        let origins = self.origins.take();
        *self = Self::open(self.shard, rows, Arc::clone(&self.projects))?;
        self.origins = origins;
        Ok(())
    }

    /// Whose state this is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The project in force.
    pub fn project(&self) -> &Arc<Project> {
        &self.project
    }

    /// Where the project in force was applied; `None` before the first one.
    pub fn project_at(&self) -> Option<Offset> {
        self.project_at
    }

    /// Whether a trigger takes inputs: what was said by hand counts until the next project file.
    pub fn is_enabled(&self, trigger: TriggerId, in_file: bool) -> bool {
        self.switches.get(&trigger).copied().unwrap_or(in_file)
    }

    /// Whether a live input came lately: what goes through again takes less then.
    pub fn is_busy(&self, now: Timestamp) -> bool {
        now < self.live_at.plus_millis(LIVE_MS)
    }

    /// How often the log was opened.
    pub fn boots(&self) -> u64 {
        self.counts.boots
    }

    /// When there is something to do without a command: a lease or a hold ends.
    pub fn due(&self) -> Timestamp {
        if !self.orphans.is_empty() {
            return Timestamp(0);
        }
        let lease = self.deadlines.first().map_or(Timestamp::NEVER, |(until, _)| *until);
        lease.min(self.queue.due())
    }

    /// Leases of the embedded executor from earlier boots: that executor is gone.
    pub fn orphans(&self) -> impl Iterator<Item = &LeaseRow> {
        self.orphans.iter().map(|offset| &self.leases[offset])
    }

    /// Leases that have run out.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = &LeaseRow> {
        self.deadlines.range(..=(now, Offset(u64::MAX))).map(|(_, offset)| &self.leases[offset])
    }

    /// The lease on the open run of a work order.
    pub fn lease(&self, work_order: Offset) -> Option<&LeaseRow> {
        self.leases.get(&work_order)
    }

    /// How many runs workers have.
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// How many runs workers have, by workflow.
    pub fn open_runs(&self) -> BTreeMap<WorkflowId, u32> {
        let mut open = BTreeMap::new();
        for lease in self.leases.values() {
            *open.entry(lease.workflow).or_default() += 1;
        }
        open
    }

    /// Whether a claim may get something.
    pub fn ready(&self) -> bool {
        self.queue.is_ready()
    }

    /// Brings waiting runs into memory for the next claim.
    pub fn prepare_claim(&mut self) -> Result<(), ReadError> {
        self.queue.refill(&mut self.rows)
    }

    /// The row of a work order, if one of its runs has ended or was asked for.
    pub fn work_order(&self, offset: Offset) -> Result<Option<WorkOrderRow>, ReadError> {
        let value = self.rows.get(&WorkOrderRow::key(offset))?;
        Ok(value.map(|value| WorkOrderRow::from_value(&value)).transpose()?)
    }

    /// The trigger that a work order came in through, as far as that can be told.
    pub fn trigger_of(&self, work_order: Offset) -> Result<Option<TriggerId>, ReadError> {
        match self.fresh.binary_search_by_key(&work_order, |(offset, _)| *offset) {
            Ok(index) => Ok(Some(self.fresh[index].1)),
            Err(_) => self.origins.as_ref().map_or(Ok(None), |read| read(work_order)),
        }
    }

    /// The last position of a stream.
    pub fn position(&self, trigger: TriggerId, stream: &str) -> Result<Option<PositionRow>, ReadError> {
        self.streams.get(trigger, stream, &self.rows)
    }

    /// What an idempotency key stands for.
    pub fn once(&self, trigger: TriggerId, key: u128) -> Result<Option<OnceRow>, ReadError> {
        let value = self.rows.get(&OnceRow::key(trigger, key))?;
        Ok(value.map(|value| OnceRow::from_value(&value)).transpose()?)
    }

    /// How many idempotency keys are remembered.
    pub fn keys_count(&self) -> u64 {
        self.keys.count()
    }

    /// Whether a dead letter is open.
    pub fn has_letter(&self, letter: Offset) -> Result<bool, ReadError> {
        Ok(self.rows.get(&Key::new(Tag::DeadLetter).u64(letter.0))?.is_some())
    }

    /// Whether something that was asked of many at once goes on.
    pub fn has_bulk(&self, id: [u8; 16]) -> Result<bool, ReadError> {
        Ok(self.rows.get(&Key::new(Tag::Bulk).bytes(&id))?.is_some())
    }

    /// When people were last warned of something.
    pub fn warned_at(&self, subject: &Subject) -> Result<Option<Timestamp>, ReadError> {
        let value = self.rows.get(&subject.key(Tag::Embargo))?;
        Ok(value.as_deref().map(timestamp_from).transpose()?)
    }

    /// What a warning that was not delivered yet is about, as the end of its keys, and its time.
    pub fn open_notice(&self, warned: Offset) -> Result<Option<Bytes>, ReadError> {
        self.rows.get(&notice_key(warned))
    }

    /// The hold on a lane.
    pub fn hold(&self, lane: LaneId) -> Option<&HoldRow> {
        self.queue.hold(lane)
    }

    /// Exact counts.
    pub fn counts(&self) -> &CountsRow {
        &self.counts
    }

    /// A workflow for each run that workers no longer have, since the last call.
    pub fn drain_freed(&mut self) -> impl Iterator<Item = WorkflowId> + '_ {
        self.freed.drain(..)
    }

    /// Runs that someone asked to end, since the last call.
    pub fn drain_stops(&mut self) -> impl Iterator<Item = RunKey> + '_ {
        self.stops.drain(..)
    }

    /// By how much the runs that have not ended became more or fewer, for each trigger that reads, since the last call.
    pub fn drain_intake(&mut self) -> impl Iterator<Item = (TriggerId, i64)> + '_ {
        self.open.drain_changes()
    }

    /// Runs that have not ended, of each trigger that ever read from a stream.
    pub fn intake(&self) -> impl Iterator<Item = (TriggerId, u64)> + '_ {
        self.open.runs()
    }

    /// A reader of committed rows.
    pub fn reader(&self) -> RowsReader {
        self.rows.reader()
    }

    /// Takes an event in. The same road for what was just decided and for what a start reads from the log.
    pub fn apply(&mut self, event: &Event) -> Result<(), ReadError> {
        self.fold(event)?;
        self.keys.forget(event.at, &mut self.rows)
    }

    fn count_run(&mut self, from: Option<RunState>, to: RunState) {
        self.counts_dirty = true;
        if let Some(from) = from {
            self.counts.runs[from as usize] -= 1;
        }
        self.counts.runs[to as usize] += 1;
    }

    fn count_work_order(&mut self, from: Option<RunState>, to: RunState) {
        self.counts_dirty = true;
        if let Some(from) = from {
            self.counts.work_orders[from as usize] -= 1;
        }
        self.counts.work_orders[to as usize] += 1;
    }

    fn put_lease(&mut self, lease: LeaseRow) {
        let key = WorkOrderRow::lease_key(lease.claimed.run.work_order);
        self.rows.put(key, lease.to_value());
        self.insert_lease(lease);
    }

    fn remove_lease(&mut self, work_order: Offset) -> Option<LeaseRow> {
        let lease = self.leases.remove(&work_order)?;
        self.orphans.remove(&work_order);
        self.deadlines.remove(&(lease.until, work_order));
        self.rows.delete(WorkOrderRow::lease_key(work_order));
        self.freed.push_back(lease.workflow);
        Some(lease)
    }

    fn put_letter(&mut self, letter: Offset) {
        self.rows.put(Key::new(Tag::DeadLetter).u64(letter.0), Bytes::new());
        self.counts.dead_letters += 1;
        self.counts_dirty = true;
    }
}

fn open_leases(rows: &Rows) -> Result<Vec<LeaseRow>, ReadError> {
    let prefix = Key::new(Tag::Lease);
    let found = rows.scan(prefix, prefix.prefix_end(), LEASES_MAX)?;
    found.into_iter().map(|(_, value)| Ok(LeaseRow::from_value(&value)?)).collect()
}

/// A row that is a time.
pub fn timestamp_from(value: &[u8]) -> Result<Timestamp, Damage> {
    let bytes = value.try_into().map_err(|_| Damage::new("row", "it is not a time"))?;
    Ok(Timestamp(u64::from_le_bytes(bytes)))
}

impl Positions for State {
    fn last(&self, trigger: TriggerId, stream: &str) -> Option<u64> {
        self.position(trigger, stream).ok().flatten().map(|row| row.number)
    }

    fn is_enabled(&self, trigger: TriggerId, in_file: bool) -> bool {
        State::is_enabled(self, trigger, in_file)
    }

    fn since(&self, trigger: TriggerId) -> Option<Timestamp> {
        self.schedule(trigger).ok().flatten().map(|row| row.since)
    }
}
