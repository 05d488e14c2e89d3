//! What the engine promises, kept beside it in the plainest way, and held against every event.

use std::collections::BTreeMap;

use keyway_engine::queue::lane::line_key;
use keyway_storage::{
    event::{Cause, Event, EventKind, LaneId, LetterEnd, Position, TriggerId, WorkflowId},
    place::{Offset, Place, ShardId, Timestamp},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Waiting,
    Running,
    Ended,
}

struct Order {
    workflow: WorkflowId,
    lane: LaneId,
    key: Option<u64>,
    status: Status,
    runs: u8,
    /// Whether it is about to be tried again, in the place of the run that failed.
    is_retried: bool,
    /// Whether someone asked for it again by hand.
    by_hand: bool,
    /// How many came before it.
    number: usize,
}

/// Everything that was promised so far.
#[derive(Default)]
pub struct Model {
    orders: BTreeMap<(ShardId, Offset), Order>,
    /// How many there ever were.
    pub received: usize,
    /// The last item that each part of a replay took, on each shard.
    replayed: BTreeMap<(ShardId, String), u64>,
    /// Dead letters, and whether they are open.
    letters: BTreeMap<Place, bool>,
    /// A dead letter whose work order was just made.
    leaving: Option<(Place, Place)>,
    /// How many dead letters became work orders.
    pub resent: usize,
    /// Held lanes by the work order that failed.
    blocked: BTreeMap<(ShardId, LaneId), Offset>,
    /// What idempotency keys stand for: work order, hash of the body, end of the window.
    once: BTreeMap<(TriggerId, u128), (Place, u64, Timestamp)>,
    /// Workflows whose runs of one key, or all runs, never overtake.
    pub ordered: Vec<WorkflowId>,
    /// Workflows whose first runs of one key never overtake; what is tried again leaves the line.
    pub going: Vec<WorkflowId>,
    /// Workflows whose runs of one lane never overtake.
    pub laned: Vec<WorkflowId>,
    /// Workflows that run one at a time, in order.
    pub serial: Vec<WorkflowId>,
    /// Whether a key has one owner, whatever it came through: keys of Kafka have one for each partition.
    pub by_key: bool,
    /// Most runs at once.
    pub limits: Vec<(WorkflowId, usize)>,
    /// Most runs at once over all workflows.
    pub project_limit: usize,
}

impl Model {
    /// Holds an event against the promises.
    pub fn observe(&mut self, event: &Event) {
        let shard = event.place.shard;
        self.observe_letter(event);
        match &event.kind {
            EventKind::Received(received) => {
                let (workflow, lane, key) = (received.workflow, received.lane, line_key(received));
                let number = self.received;
                self.received += 1;
                let (status, is_retried, by_hand) = (Status::Waiting, false, false);
                let order = Order { workflow, lane, key, status, runs: 1, is_retried, by_hand, number };
                let before = self.orders.insert((shard, event.place.offset), order);
                assert!(before.is_none(), "one work order per input");
                if let (Some(of), Position::Next { stream, number }) = (received.replays, &received.position)
                {
                    assert_eq!(of.offset, Offset(*number));
                    let last = self.replayed.insert((shard, stream.to_string()), *number);
                    assert!(last < Some(*number), "an item goes through once, and in its order");
                }
                if let Position::Once { key, body, window_seconds } = received.position {
                    let until = event.at.plus_millis(u64::from(window_seconds) * 1_000);
                    self.once.insert((received.trigger, key), (event.place, body, until));
                }
            }
            EventKind::RunsClaimed(claimed) => {
                for run in &claimed.runs {
                    self.claim(shard, run.run.work_order);
                }
                self.check_limits();
            }
            EventKind::LeaseExpired(expired) => {
                self.order(shard, expired.run.work_order).status = Status::Waiting
            }
            EventKind::LeaseReturned(back) => self.order(shard, back.run.work_order).status = Status::Waiting,
            EventKind::RunFinished(end) => {
                let order = self.order(shard, end.run.work_order);
                assert_ne!(order.status, Status::Ended, "a run ends once");
                order.status = Status::Ended;
            }
            EventKind::RunRequested(requested) => {
                let order = self.order(shard, requested.run.work_order);
                assert_eq!(order.status, Status::Ended, "one open run per work order");
                assert_eq!(requested.run.n, order.runs + 1);
                order.runs += 1;
                order.by_hand |= !std::mem::take(&mut order.is_retried);
                order.status = Status::Waiting;
            }
            EventKind::Held(held) if held.cause == Cause::Retry => {
                self.order(shard, held.work_order).is_retried = true;
            }
            EventKind::Held(held) if held.cause == Cause::Blocked => {
                self.blocked.insert((shard, held.lane), held.work_order);
            }
            EventKind::HistoryCut(cut) => {
                for order in cut.orders() {
                    let gone = self.orders.remove(&(shard, order)).expect("nothing is cut twice");
                    assert_eq!(gone.status, Status::Ended, "what is open stays");
                    let blocks = |((of, _), by): (&(ShardId, LaneId), &Offset)| (*of, *by) == (shard, order);
                    assert!(!self.blocked.iter().any(blocks), "what blocks others stays");
                }
            }
            EventKind::Released(released) => {
                self.blocked.remove(&(shard, released.lane));
            }
            _ => {}
        }
    }

    /// A dead letter is closed once, and with the work order that it becomes.
    fn observe_letter(&mut self, event: &Event) {
        let shard = event.place.shard;
        let leaving = self.leaving.take();
        let mut closed = None;
        match &event.kind {
            EventKind::DeadLettered(_) => assert_eq!(self.letters.insert(event.place, true), None),
            EventKind::Received(received) => {
                let letter = received.replays.filter(|of| self.letters.contains_key(of));
                self.leaving = letter.map(|of| (of, event.place));
            }
            EventKind::DeadLetterClosed(it) => {
                let letter = Place { shard, offset: it.letter };
                let is_open = self.letters.get_mut(&letter).expect("only a dead letter is closed");
                assert!(std::mem::take(is_open), "a dead letter is closed once");
                if let LetterEnd::Replayed { work_order } = it.end {
                    closed = Some((letter, work_order));
                    self.resent += 1;
                }
            }
            EventKind::HistoryCut(cut) => {
                for offset in cut.letters.iter().copied() {
                    let is_open = self.letters.remove(&Place { shard, offset });
                    assert_eq!(is_open, Some(false), "an open dead letter stays");
                }
            }
            _ => {}
        }
        assert_eq!(leaving, closed, "a dead letter and its work order go together");
    }

    /// All dead letters that were not cut, in no promised order.
    pub fn letters(&self) -> Vec<Place> {
        self.letters.keys().copied().collect()
    }

    /// Whether a dead letter is open.
    pub fn is_open(&self, letter: Place) -> bool {
        self.letters.get(&letter) == Some(&true)
    }

    /// The work order that an idempotency key stands for at this time, with the hash of its body.
    pub fn first(&self, trigger: TriggerId, position: &Position, now: Timestamp) -> Option<(Place, u64)> {
        let Position::Once { key, .. } = position else { return None };
        let first = self.once.get(&(trigger, *key)).filter(|(_, _, until)| now < *until);
        first.map(|(place, body, _)| (*place, *body))
    }

    fn order(&mut self, shard: ShardId, offset: Offset) -> &mut Order {
        self.orders.get_mut(&(shard, offset)).expect("only received work orders run")
    }

    /// A claimed work order must be the first of its key, or of its workflow, that has not ended for good.
    fn claim(&mut self, shard: ShardId, offset: Offset) {
        let order = self.order(shard, offset);
        assert_eq!(order.status, Status::Waiting, "only a waiting run is claimed, and only once");
        order.status = Status::Running;
        let (workflow, own_lane, key) = (order.workflow, order.lane, order.key);
        let (runs, number) = (order.runs, order.number);
        if runs == 1 && key.is_some() && self.going.contains(&workflow) {
            let is_before =
                |before: &&Order| (before.workflow, before.key, before.runs) == (workflow, key, 1);
            let mut before = self.orders.range((shard, Offset(0))..(shard, offset)).map(|(_, before)| before);
            let ended = before.by_ref().filter(is_before).all(|before| before.status == Status::Ended);
            assert!(ended, "work order {offset:?} overtook another first run of its key");
        }
        let (serial, laned) = (self.serial.contains(&workflow), self.laned.contains(&workflow));
        if !(serial || laned || self.ordered.contains(&workflow) && key.is_some()) {
            return;
        }
        for ((other_shard, other), before) in self.orders.range(..(shard, offset)) {
            let same_line = if laned { before.lane == own_lane } else { serial || before.key == key };
            let same = before.workflow == workflow && same_line;
            assert!(
                !same || *other_shard != shard || before.status == Status::Ended,
                "work order {offset:?} overtook {other:?} of its key"
            );
        }
        // Whoever owned it before another change of shards: only what someone asks for once more waits for nobody elsewhere.
        for ((other_shard, other), before) in self.orders.iter().filter(|_| runs == 1 && self.by_key) {
            let same = before.workflow == workflow && (serial || before.key == key);
            let is_before = before.number < number && before.runs == 1 && *other_shard != shard;
            assert!(
                !same || !is_before || before.status == Status::Ended,
                "work order {offset:?} overtook {other:?} of its key on another shard"
            );
        }
        let blocked = |lane: &LaneId| lane.owner == workflow.0 && Some(lane.key) == key;
        assert!(
            !self.blocked.keys().any(|(of, lane)| *of == shard && blocked(lane)),
            "a blocked key went on"
        );
    }

    fn check_limits(&self) {
        let running = |workflow: WorkflowId| {
            self.orders
                .values()
                .filter(|order| order.workflow == workflow && order.status == Status::Running)
                .count()
        };
        for (workflow, limit) in &self.limits {
            assert!(running(*workflow) <= *limit, "concurrency was overshot");
        }
        let all = self.orders.values().filter(|order| order.status == Status::Running).count();
        assert!(all <= self.project_limit, "the project's concurrency was overshot");
    }

    /// All work orders, in no promised order.
    pub fn orders(&self) -> Vec<(ShardId, Offset)> {
        self.orders.keys().copied().collect()
    }

    /// How many work orders of a workflow have an open run.
    pub fn open(&self, workflow: WorkflowId) -> usize {
        let is_open = |order: &&Order| order.workflow == workflow && order.status != Status::Ended;
        self.orders.values().filter(is_open).count()
    }

    /// How many of them no one asked for again by hand.
    pub fn open_unasked(&self, workflow: WorkflowId) -> usize {
        let is_asked =
            |order: &&Order| order.workflow == workflow && order.status != Status::Ended && order.by_hand;
        self.open(workflow) - self.orders.values().filter(is_asked).count()
    }

    /// Lanes that someone must release.
    pub fn blocked(&self) -> Vec<(ShardId, LaneId)> {
        self.blocked.keys().copied().collect()
    }

    /// Whether every run has ended.
    pub fn all_ended(&self) -> bool {
        self.orders.values().all(|order| order.status == Status::Ended)
    }
}
