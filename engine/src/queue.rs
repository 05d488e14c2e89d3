//! The queue: work orders that wait, in lanes, and lanes that are held.
//!
//! Invariant: a work order with an open run is either waiting in exactly one lane or counted in exactly one lane's
//! `busy`. Memory is bounded by the number of lanes, not by what waits in them: the backlog is on disk.

mod backlog;
mod gone;
pub mod lane;
pub mod old;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use keyway_storage::{
    error::ReadError,
    event::{LaneId, WorkflowId},
    key::Tag,
    limits::{LANES_MAX, REQUEUED_MAX, SET_ASIDE_MAX},
    place::{Offset, RunKey, Timestamp},
    rows::Rows,
    table::{AgainRow, HoldRow, Table, WaitingEntry, lane_key},
};

use rustc_hash::FxHashMap;

use crate::project::{Trigger, Workflow};
use backlog::Backlog;
use gone::Gone;
use lane::{Lane, Waiting};

/// Everything that waits in one shard.
#[derive(Debug, Default)]
pub struct Queue {
    /// Looked up for each input; nobody outside chooses their ids, which are hashes of secrets.
    lanes: FxHashMap<LaneId, Lane>,
    backlog: Backlog,
    ready: BTreeMap<WorkflowId, Ready>,
    /// Workflows with ready lanes, in the order of their turns.
    turns: BTreeMap<u64, WorkflowId>,
    holds: BTreeMap<LaneId, HoldRow>,
    timers: BTreeSet<(Timestamp, LaneId)>,
    /// Lanes that became ready before any of what waits in them was read.
    short: BTreeSet<LaneId>,
    /// Lanes whose first run is of a held key while there is no room to set it aside.
    stuck: BTreeSet<LaneId>,
    /// First runs that were cancelled while they waited.
    gone: Gone,
    /// Whether something may wait in a lane of before triggers were told apart.
    has_former: bool,
    requeued: usize,
    next_turn: u64,
}

#[derive(Debug, Default)]
struct Ready {
    turn: u64,
    lanes: BTreeMap<u64, LaneId>,
}

impl Queue {
    /// Whether an input for this lane may be taken.
    pub fn has_room(&self, lane: LaneId) -> bool {
        self.lanes.len() < LANES_MAX || self.lanes.contains_key(&lane)
    }

    /// Whether nothing of a lane waits or is with a worker.
    pub fn is_idle(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_none_or(|lane| lane.is_empty() && lane.busy == 0)
    }

    /// The lane in which a new input waits: that of before, as long as anything is in it that it must not overtake.
    pub fn lane_for(&self, workflow: &Workflow, trigger: &Trigger, key: Option<u64>, stream: u64) -> LaneId {
        let lane = lane::lane_of(workflow, trigger, key, stream);
        if !self.has_former {
            return lane;
        }
        let waits = |former: &LaneId| {
            let held = lane::key_lane(*former, key);
            let holds = |lane: LaneId| self.holds.contains_key(&lane) || !self.is_idle(lane);
            holds(*former) || held.is_some_and(holds)
        };
        lane::former_lane(lane, trigger, key, stream).filter(waits).unwrap_or(lane)
    }

    /// Whether another run may wait again.
    pub fn has_room_again(&self) -> bool {
        self.requeued < REQUEUED_MAX
    }

    /// How many runs of held keys may be set aside.
    pub fn room_aside(&self) -> usize {
        SET_ASIDE_MAX.saturating_sub(self.requeued)
    }

    /// Whether a lane is ready.
    pub fn is_ready(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Workflows with ready lanes, in the order of their turns.
    pub fn ready_workflows(&self) -> impl Iterator<Item = WorkflowId> + '_ {
        self.turns.values().copied()
    }

    /// Ready lanes of a workflow, in the order of their turns.
    pub fn ready_lanes(&self, workflow: WorkflowId) -> impl Iterator<Item = (LaneId, &Lane)> + '_ {
        let lanes = self.ready.get(&workflow).into_iter().flat_map(|ready| ready.lanes.values());
        lanes.map(|id| (*id, &self.lanes[id]))
    }

    /// Whether a first run was cancelled while it waited.
    pub fn is_gone(&self, offset: Offset) -> bool {
        self.gone.contains(offset)
    }

    /// Whether a key has a lane to itself.
    pub fn is_diverted(&self, lane: LaneId, key: Option<u64>) -> bool {
        lane::key_lane(lane, key).is_some_and(|lane| self.holds.contains_key(&lane))
    }

    /// The hold on a lane.
    pub fn hold(&self, lane: LaneId) -> Option<&HoldRow> {
        self.holds.get(&lane)
    }

    /// All holds.
    pub fn holds(&self) -> impl Iterator<Item = (&LaneId, &HoldRow)> {
        self.holds.iter()
    }

    /// The holds that end by themselves until `now`.
    pub fn timed_out(&self, now: Timestamp) -> impl Iterator<Item = (LaneId, &HoldRow)> {
        self.timers.range(..=(now, LANE_LAST)).map(|(_, lane)| (*lane, &self.holds[lane]))
    }

    /// When the next hold ends by itself.
    pub fn due(&self) -> Timestamp {
        self.timers.first().map_or(Timestamp::NEVER, |(time, _)| *time)
    }

    /// Puts a new work order at the end of its lane.
    pub fn push(&mut self, id: LaneId, entry: WaitingEntry, rows: &mut Rows) -> Result<(), ReadError> {
        self.backlog.push(id, entry, rows)?;
        self.has_former |= lane::is_former(id);
        let lane = self.lanes.entry(id).or_default();
        let was_empty = lane.is_empty();
        lane.append(id, entry);
        // One in which something waits already stays where it is among the ready ones.
        if was_empty {
            self.settle(id, rows);
        }
        Ok(())
    }

    /// Puts a run back to its place in its lane.
    pub fn push_again(&mut self, id: LaneId, offset: Offset, row: AgainRow, rows: &mut Rows) {
        rows.put(lane_key(Tag::Again, id).u64(offset.0), row.to_value());
        self.has_former |= lane::is_former(id);
        let lane = self.lanes.entry(id).or_default();
        assert_eq!(lane.again.insert(offset, row), None, "a work order waits once");
        self.requeued += 1;
        self.settle(id, rows);
    }

    /// Takes a run out of its lane for a worker, and diverts held keys before it.
    pub fn take(&mut self, id: LaneId, offset: Offset, rows: &mut Rows) -> Result<AgainRow, ReadError> {
        let waiting = match self.take_again(id, offset, rows) {
            Some(row) => row,
            None => {
                self.divert(id, offset, rows)?;
                let entry = self.pop(id, rows)?;
                let entry =
                    entry.filter(|entry| entry.offset == offset).expect("a claimed run waits in its lane");
                AgainRow { n: 1, attempts: 0, requested: None, key: entry.key }
            }
        };
        let lane = self.lanes.get_mut(&id).expect("it was just there");
        lane.busy += 1;
        // Served: to the end of the lane's and the workflow's turns.
        self.unready(id);
        self.settle(id, rows);
        Ok(waiting)
    }

    /// Takes a run that waits again out of its lane, without serving it.
    pub fn take_again(&mut self, id: LaneId, offset: Offset, rows: &mut Rows) -> Option<AgainRow> {
        let row = self.lanes.get_mut(&id)?.again.remove(&offset)?;
        rows.delete(lane_key(Tag::Again, id).u64(offset.0));
        self.requeued -= 1;
        if self.room_aside() > 0 {
            std::mem::take(&mut self.stuck).into_iter().for_each(|stuck| self.settle(stuck, rows));
        }
        Some(row)
    }

    /// Moves first runs before `end` aside: those of held keys to their own lanes, cancelled ones away.
    pub fn divert(&mut self, id: LaneId, end: Offset, rows: &mut Rows) -> Result<(), ReadError> {
        loop {
            self.load(id, rows)?;
            let front = self.lanes.get(&id).and_then(|lane| lane.front.front()).copied();
            let Some(entry) = front.filter(|entry| entry.offset < end) else { break };
            self.pop(id, rows)?;
            if self.gone.remove(entry.offset, rows) {
                let own = lane::key_lane(id, entry.key).filter(|own| self.lanes.contains_key(own));
                own.into_iter().for_each(|own| self.settle(own, rows));
            } else if let Some(own) = lane::key_lane(id, entry.key) {
                let row = AgainRow { n: 1, attempts: 0, requested: None, key: entry.key };
                self.push_again(own, entry.offset, row, rows);
            }
        }
        self.settle(id, rows);
        Ok(())
    }

    /// Takes a run that was cancelled while it waited out of its lane.
    pub fn cancel(&mut self, run: RunKey, rows: &mut Rows) {
        // A walk over all lanes: someone cancels by hand, and what waits again is bounded.
        let again = self.lanes.iter().find(|(_, lane)| lane.again.contains_key(&run.work_order));
        match again.map(|(id, _)| *id) {
            Some(id) => {
                self.take_again(id, run.work_order, rows);
                self.settle(id, rows);
            }
            None => self.gone.insert(run.work_order, rows),
        }
    }

    /// A run of the lane is no longer with a worker.
    pub fn give_back(&mut self, id: LaneId, rows: &mut Rows) {
        let lane = self.lanes.get_mut(&id).expect("a lane with a busy run is kept");
        assert!(lane.busy > 0);
        lane.busy -= 1;
        self.settle(id, rows);
    }

    /// Holds a lane.
    pub fn put_hold(&mut self, id: LaneId, hold: HoldRow, rows: &mut Rows) {
        rows.put(lane_key(Tag::Hold, id), hold.to_value());
        self.has_former |= lane::is_former(id);
        self.set_hold(id, hold);
        self.gather(id, rows);
        self.settle(id, rows);
    }

    /// Moves runs of a held key that wait again from the shared lane to the key's own: all of a key stand in one line.
    fn gather(&mut self, own: LaneId, rows: &mut Rows) {
        let shared = LaneId { key: 0, ..own };
        let Some(lane) = self.lanes.get(&shared).filter(|_| own != shared) else { return };
        let same = |row: &AgainRow| lane::key_lane(shared, row.key) == Some(own);
        let moved: Vec<Offset> =
            lane.again.iter().filter(|(_, row)| same(row)).map(|(offset, _)| *offset).collect();
        for offset in moved {
            if let Some(row) = self.take_again(shared, offset, rows) {
                self.push_again(own, offset, row, rows);
            }
        }
        self.settle(shared, rows);
    }

    fn set_hold(&mut self, id: LaneId, hold: HoldRow) {
        if let Some(old) = self.holds.get(&id) {
            self.timers.remove(&(old.until, id));
        }
        if hold.until != Timestamp::NEVER && !hold.released {
            self.timers.insert((hold.until, id));
        }
        self.holds.insert(id, hold);
    }

    /// Lets a held lane go on. A key's own lane stays until it is empty, so that nothing overtakes.
    pub fn release(&mut self, id: LaneId, rows: &mut Rows) {
        if let Some(hold) = self.holds.get(&id).cloned() {
            self.put_hold(id, HoldRow { released: true, ..hold }, rows);
        }
    }

    /// Brings the lane's place among the ready ones up to date, and forgets it when nothing is left of it.
    fn settle(&mut self, id: LaneId, rows: &mut Rows) {
        let (is_early, is_stuck) = (self.is_early(id), self.is_stuck(id));
        let lane = self.lanes.entry(id).or_default();
        let idle = lane.is_empty() && lane.busy == 0;
        let released = self.holds.get(&id).is_some_and(|hold| hold.released);
        if released && (idle || !lane::is_own(id)) {
            self.holds.remove(&id);
            rows.delete(lane_key(Tag::Hold, id));
        }
        let held = self.holds.get(&id).is_some_and(|hold| !hold.released);
        if !lane.is_empty() && lane.busy < lane::width(id) && !held && !is_early && !is_stuck {
            if lane.is_short() {
                self.short.insert(id);
            }
            self.make_ready(id);
        } else {
            self.unready(id);
        }
        if is_stuck {
            self.stuck.insert(id);
        }
        if idle {
            self.lanes.remove(&id);
        }
    }

    /// Whether the first of a key's own lane is before its turn: it was cancelled in the shared lane and asked for again,
    /// and others of its key, that were there first, may wait in that lane still.
    fn is_early(&self, id: LaneId) -> bool {
        let lane = self.lanes.get(&id).filter(|_| lane::is_own(id));
        let first = lane.and_then(|lane| lane.again.first_key_value());
        first.is_some_and(|(offset, _)| self.gone.contains(*offset))
    }

    /// Whether the first of a shared lane would be set aside, and there is no room for it.
    fn is_stuck(&self, id: LaneId) -> bool {
        if self.room_aside() > 0 {
            return false;
        }
        let first = self.lanes.get(&id).and_then(|lane| lane.waiting().next());
        first.is_some_and(|first| {
            !first.again && !self.is_gone(first.offset) && self.is_diverted(id, first.row.key)
        })
    }

    fn make_ready(&mut self, id: LaneId) {
        let lane = self.lanes.get_mut(&id).expect("only known lanes are made ready");
        if lane.ready.is_some() {
            return;
        }
        self.next_turn += 1;
        let turn = self.next_turn;
        let place = match id.number {
            // Reruns of unordered work orders go first: someone waits for them.
            lane::RERUN => 0,
            // Those of a replay go last: live inputs keep their latency.
            lane::REPLAYED => u64::MAX,
            _ => turn,
        };
        lane.ready = Some(place);
        let ready = self.ready.entry(WorkflowId(id.owner)).or_insert_with(|| {
            self.turns.insert(turn, WorkflowId(id.owner));
            Ready { turn, lanes: BTreeMap::new() }
        });
        ready.lanes.insert(place, id);
    }

    fn unready(&mut self, id: LaneId) {
        let Some(place) = self.lanes.get_mut(&id).and_then(|lane| lane.ready.take()) else { return };
        let workflow = WorkflowId(id.owner);
        let ready = self.ready.get_mut(&workflow).expect("a ready lane's workflow is ready");
        ready.lanes.remove(&place);
        self.turns.remove(&ready.turn);
        if ready.lanes.is_empty() {
            self.ready.remove(&workflow);
        } else {
            self.next_turn += 1;
            ready.turn = self.next_turn;
            self.turns.insert(self.next_turn, workflow);
        }
    }

    /// Waiting runs of a lane that a claim may look at.
    pub fn waiting(&self, id: LaneId) -> impl Iterator<Item = Waiting> + '_ {
        self.lanes.get(&id).into_iter().flat_map(Lane::waiting)
    }
}

const LANE_LAST: LaneId = LaneId { owner: u64::MAX, number: u16::MAX, key: u64::MAX };
