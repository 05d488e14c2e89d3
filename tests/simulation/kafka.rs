//! Kafka in the world: a broker that forgets, truncates and makes topics again, and consumers that read it into the shards.
//!
//! The consumers are the plainest that keep the promises of the real one: they begin where `position` says, and hand on
//! what there is room for. A message is polled, waits for its shard, is decided, and is committed, each a step of its own: a
//! crash comes between any two of them. What consumers know is gone with each rebalance, and the leader epochs that they
//! read with each crash; the log is all that remains.

mod begin;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use keyway_engine::{
    command::{Answer, Command, Input, Refusal, Unusable},
    project::Ordering,
    route::Route,
    view::stream,
};
use keyway_ingest::trigger::kafka::position::Epochs;
use keyway_storage::{
    event::{Position, Reason, TriggerId, WorkflowId},
    place::{ShardId, Timestamp},
};

use crate::world::{SHARDS, World};

const PROJECT: &str = include_str!("kafka.yaml");
const NAME: &str = "orders";
const IN_FLIGHT_MAX: u32 = 7;
/// Most messages of one load.
const LOAD_MAX: usize = 5;
const PARTITIONS_MAX: usize = 4;

#[derive(Clone, Copy)]
struct Message {
    /// Counts over everything that was ever sent.
    id: u64,
    key: Option<u64>,
    is_good: bool,
    at: Timestamp,
}

/// A partition as the broker has it: offsets from `low` on.
#[derive(Default)]
struct Log {
    low: u64,
    messages: VecDeque<Message>,
    /// Where each leader epoch behind the first begins.
    epochs: Vec<u64>,
}

impl Log {
    fn high(&self) -> u64 {
        self.low + self.messages.len() as u64
    }

    /// The leader epoch in which it has this offset.
    fn epoch(&self, offset: u64) -> i32 {
        self.epochs.iter().filter(|first| **first <= offset).count() as i32
    }

    /// Where what it had in this epoch ends, if that is before the offset that is due.
    fn truncation(&self, epoch: Option<i32>, due: u64) -> Option<u64> {
        let end = self.epochs.get(epoch? as usize).copied().unwrap_or(self.high());
        (end < due).then_some(end)
    }
}

/// A partition that a trigger reads.
#[derive(Clone)]
struct Track {
    stream: String,
    owner: ShardId,
    /// The next offset to fetch.
    next: u64,
    /// The next offset that is not durable.
    released: u64,
}

/// Messages that were polled, and wait for their shard.
struct Load {
    trigger: TriggerId,
    partition: usize,
    messages: Vec<(u64, Message)>,
}

/// A broker with one topic, and a consumer for each trigger.
pub struct Kafka {
    pub world: World,
    triggers: Vec<TriggerId>,
    topic: u32,
    /// Whether the broker tells the id of the topic.
    tells_id: bool,
    logs: Vec<Log>,
    sent: u64,
    /// The leader epochs of what each trigger read.
    epochs: BTreeMap<(TriggerId, usize), Epochs>,
    /// Where each trigger heard that a partition was truncated.
    heard: BTreeMap<(TriggerId, usize), u64>,
    tracks: BTreeMap<(TriggerId, usize), Track>,
    loads: VecDeque<Load>,
    /// How often each trigger took each message.
    taken: BTreeMap<(TriggerId, u64), u32>,
    /// The last message that each trigger took of each partition.
    last: BTreeMap<(TriggerId, usize), u64>,
    /// What the group of each trigger was told.
    committed: BTreeMap<(TriggerId, String), u64>,
}

impl Kafka {
    pub fn new(seed: u64) -> Self {
        let mut world = World::of(PROJECT, seed);
        let id = |key: &str| world.project.workflow_by_key(key).unwrap().id;
        let (keyed, blocking, parted, serial) = (id("keyed"), id("blocking"), id("parted"), id("serial"));
        // Of a key that goes on after a failure nothing is promised but the order in which its runs first began.
        world.model.going = vec![id("going")];
        world.model.ordered = vec![keyed, blocking];
        world.model.laned = vec![parted];
        world.model.serial = vec![serial];
        world.model.limits = vec![(serial, 1)];
        world.model.project_limit = 6;
        let triggers = world.project.triggers().map(|(_, trigger)| trigger.id).collect();
        let logs = vec![Log::default(), Log::default()];
        let mut kafka = Self {
            world,
            triggers,
            topic: 0,
            tells_id: !seed.is_multiple_of(3),
            logs,
            sent: 0,
            epochs: BTreeMap::new(),
            heard: BTreeMap::new(),
            tracks: BTreeMap::new(),
            loads: VecDeque::new(),
            taken: BTreeMap::new(),
            last: BTreeMap::new(),
            committed: BTreeMap::new(),
        };
        kafka.begin_all();
        kafka
    }

    /// One thing happens.
    pub fn step(&mut self) {
        match self.world.random.below(100) {
            0..20 => self.send(),
            20..35 => self.poll(),
            35..50 => self.decide(),
            50..56 => self.commit(),
            56..80 => self.world.step_of_runs(),
            80..83 => self.begin_one(),
            83..84 => self.turn_id(),
            84..88 => self.crash(),
            88..91 => self.come_again(),
            91..94 => self.forget(),
            94..96 => self.truncate(),
            96..97 => self.make_again(),
            97..98 => self.add_partition(),
            98..99 => self.world.sweep(),
            _ => self.begin_all(),
        }
    }

    fn partition(&mut self) -> usize {
        self.world.random.below(self.logs.len())
    }

    fn crash(&mut self) {
        // Who hears nothing of a truncation before it ends, and finds more messages than were lost, cannot know of it.
        for (trigger, partition) in self.tracks.keys().copied().collect::<Vec<_>>() {
            self.hear(trigger, partition);
        }
        if !self.heard.is_empty() {
            // Nor can who waits for the id.
            self.tells_id = true;
            self.begin_all();
        }
        self.world.crash();
        self.epochs.clear();
        self.heard.clear();
        self.begin_all();
    }

    fn send(&mut self) {
        for _ in 0..1 + self.world.random.below(4) {
            self.world.tick();
            let partition = self.partition();
            let random = &mut self.world.random;
            let key = (!random.one_in(5)).then(|| 1 + 10 * partition as u64 + random.below(2) as u64);
            let message = Message { id: self.sent, key, is_good: !random.one_in(8), at: self.world.now };
            self.logs[partition].messages.push_back(message);
            self.sent += 1;
        }
    }

    /// A consumer takes what there is room for, and hands it on.
    fn poll(&mut self) {
        let trigger = self.world.random.pick(&self.triggers).unwrap();
        let partition = self.partition();
        let want = 1 + self.world.random.below(LOAD_MAX) as u32;
        self.take(trigger, partition, want);
    }

    fn take(&mut self, trigger: TriggerId, partition: usize, want: u32) {
        if self.hear(trigger, partition) {
            return;
        }
        let Some(track) = self.tracks.get_mut(&(trigger, partition)) else { return };
        let log = &self.logs[partition];
        if track.next < log.low || track.next > log.high() {
            // What the broker answers then is an error: it begins anew.
            return self.begin(trigger);
        }
        let intake = self.world.permits.intake();
        let granted = intake.reserve(trigger, want, IN_FLIGHT_MAX);
        let first = (track.next - log.low) as usize;
        let messages = (track.next..).zip(log.messages.iter().copied().skip(first));
        let messages: Vec<_> = messages.take(granted as usize).collect();
        intake.give_back(trigger, granted - messages.len() as u32);
        track.next += messages.len() as u64;
        let epochs = self.epochs.entry((trigger, partition)).or_default();
        messages.iter().for_each(|(offset, _)| epochs.take(*offset, log.epoch(*offset)));
        let is_empty = messages.is_empty();
        self.loads.push_back(Load { trigger, partition, messages });
        let open = self.world.model.open(self.world.workflow(trigger));
        let own = self.loads.iter().filter(|load| load.trigger == trigger);
        let reserved: usize = own.map(|load| load.messages.len()).sum();
        assert!(is_empty || open + reserved <= IN_FLIGHT_MAX as usize, "runs by hand count");
    }

    /// Whether the broker says that it lost what was read: the consumer then begins anew.
    fn hear(&mut self, trigger: TriggerId, partition: usize) -> bool {
        let place = (trigger, partition);
        let (Some(track), Some(epochs)) = (self.tracks.get(&place), self.epochs.get(&place)) else {
            return false;
        };
        let end = self.logs[partition].truncation(epochs.before(track.next), track.next);
        if let Some(end) = end {
            self.heard.insert(place, end);
            self.begin(trigger);
        }
        end.is_some()
    }

    /// A shard decides the oldest load of a partition.
    fn decide(&mut self) {
        let (trigger, partition) = (self.world.random.pick(&self.triggers).unwrap(), self.partition());
        let is_its = |load: &Load| (load.trigger, load.partition) == (trigger, partition);
        let Some(index) = self.loads.iter().position(is_its) else { return };
        self.decide_load(index);
    }

    fn decide_load(&mut self, index: usize) {
        let Load { trigger, partition, messages } = self.loads.remove(index).unwrap();
        let track = self.tracks[&(trigger, partition)].clone();
        let reserved = messages.len() as u32;
        for (offset, message) in messages {
            match self.offer(trigger, partition, &track, offset, message) {
                Answer::Refused(Refusal::Full) => {
                    self.world.permits.intake().give_back(trigger, reserved);
                    return self.begin(trigger);
                }
                Answer::Repeated(..) => panic!("it began behind what the log has"),
                answer => {
                    assert!(matches!(answer, Answer::Accepted(_) | Answer::DeadLettered(_)), "{answer:?}")
                }
            }
            self.tracks.get_mut(&(trigger, partition)).unwrap().released = offset + 1;
        }
        self.world.permits.intake().give_back(trigger, reserved);
        // Runs by hand are held up by no bound: a blocked key with as many behind it would stay blocked.
        let open = self.world.model.open_unasked(self.world.workflow(trigger));
        assert!(open <= IN_FLIGHT_MAX as usize, "{open} runs are open");
    }

    /// The group is told what is durable of a partition.
    fn commit(&mut self) {
        let all: Vec<_> = self.tracks.keys().copied().collect();
        let Some(of) = self.world.random.pick(&all) else { return };
        let track = &self.tracks[&of];
        self.committed.insert((of.0, track.stream.clone()), track.released);
    }

    /// What was polled and not decided is forgotten.
    fn drop_loads(&mut self, trigger: TriggerId) {
        let is_its = |load: &Load| load.trigger == trigger;
        let (dropped, kept): (VecDeque<_>, _) = std::mem::take(&mut self.loads).into_iter().partition(is_its);
        self.loads = kept;
        let reserved = dropped.iter().map(|load| load.messages.len() as u32).sum();
        self.world.permits.intake().give_back(trigger, reserved);
    }

    fn offer(
        &mut self,
        trigger: TriggerId,
        partition: usize,
        track: &Track,
        offset: u64,
        message: Message,
    ) -> Answer {
        self.world.tick();
        let (id, keyed) = (message.id, self.world.is_keyed(trigger));
        let unusable =
            || Unusable { raw: None, reason: Reason::InvalidJson, detail: "it is not JSON".into() };
        let input = Input {
            trigger,
            position: Position::Next { stream: track.stream.as_str().into(), number: offset },
            key: message.key.filter(|_| keyed),
            stream: 1 + u64::from(self.topic) * 100 + partition as u64,
            request: Bytes::new(),
            body: if message.is_good { Ok(Bytes::from_static(b"{}")) } else { Err(unusable()) },
            follow: None,
            replays: None,
        };
        let answer = self.world.command(track.owner, Command::Receive(input));
        if matches!(answer, Answer::Accepted(_) | Answer::DeadLettered(_)) {
            let times = self.taken.entry((trigger, id)).or_default();
            *times += 1;
            assert_eq!(*times, 1, "message {id} came twice");
            let last = self.last.insert((trigger, partition), id);
            assert!(last < Some(id), "message {id} was overtaken by {last:?}");
        }
        answer
    }

    /// A load that was under way when its partition was given back comes late: the log knows all of it.
    fn come_again(&mut self) {
        let trigger = self.world.random.pick(&self.triggers).unwrap();
        let partition = self.partition();
        let Some(track) = self.tracks.get(&(trigger, partition)).cloned() else { return };
        let log = &self.logs[partition];
        let from = log.low.max(track.released.saturating_sub(3));
        let first = (from - log.low) as usize;
        let messages = (from..track.released).zip(log.messages.iter().copied().skip(first));
        for (offset, message) in messages.collect::<Vec<_>>() {
            let answer = self.offer(trigger, partition, &track, offset, message);
            assert!(matches!(answer, Answer::Repeated(..)), "{answer:?}");
        }
    }

    /// Retention eats the oldest messages, read or not.
    fn forget(&mut self) {
        let partition = self.partition();
        let count = self.world.random.below(4).min(self.logs[partition].messages.len());
        self.logs[partition].messages.drain(..count);
        self.logs[partition].low += count as u64;
    }

    /// The broker loses its newest messages. It may have as many again, or more, before anyone hears of it.
    fn truncate(&mut self) {
        let partition = self.partition();
        if self.triggers.iter().any(|trigger| !self.tracks.contains_key(&(*trigger, partition))) {
            // It waits for the id, and would not hear of it.
            return;
        }
        let log = &mut self.logs[partition];
        let count = self.world.random.below(4).min(log.messages.len());
        log.messages.truncate(log.messages.len() - count);
        let end = log.high();
        log.epochs.iter_mut().for_each(|first| *first = end.min(*first));
        log.epochs.push(end);
        if self.world.random.one_in(2) && self.is_heard(partition, end) {
            return self.refill(partition);
        }
        self.committed.clear();
        self.tells_id = true;
        self.begin_all();
    }

    /// Whether all that read behind this offset will hear that it was truncated there.
    fn is_heard(&self, partition: usize, end: u64) -> bool {
        self.triggers.iter().all(|trigger| {
            let Some(track) = self.tracks.get(&(*trigger, partition)) else { return false };
            let due = self.world.stream_due(*trigger, &track.stream).map_or(0, |(due, _)| due);
            let epochs = self.epochs.get(&(*trigger, partition));
            let is_known = |due: u64| due <= end || epochs.is_some_and(|epochs| epochs.before(due).is_some());
            is_known(due) && is_known(track.next)
        })
    }

    /// Messages come that claim to be old.
    fn refill(&mut self, partition: usize) {
        for _ in 0..self.world.random.below(8) {
            self.world.tick();
            let key = Some(1 + 10 * partition as u64);
            let message = Message { id: self.sent, key, is_good: true, at: Timestamp(0) };
            self.logs[partition].messages.push_back(message);
            self.sent += 1;
        }
    }

    /// The broker tells the id of the topic from now on, or no more: another version of it leads.
    fn turn_id(&mut self) {
        self.tells_id = !self.tells_id;
        if self.world.random.one_in(2) {
            self.begin_all();
        }
    }

    /// Someone deletes the topic, and makes it again.
    fn make_again(&mut self) {
        // Without an id nobody could tell one from the other.
        self.tells_id = true;
        self.begin_all();
        self.epochs.clear();
        self.heard.clear();
        self.topic += 1;
        self.logs = vec![Log::default(), Log::default()];
        self.tracks.clear();
        if self.world.random.one_in(2) {
            self.send();
        }
        self.begin_all();
    }

    fn add_partition(&mut self) {
        if self.logs.len() < PARTITIONS_MAX {
            self.logs.push(Log::default());
        }
    }

    /// Nothing more is sent: all that the broker still has must have come in, and all runs end.
    pub fn finish(mut self) {
        self.tells_id = true;
        self.begin_all();
        let all: Vec<(TriggerId, usize)> = self.tracks.keys().copied().collect();
        for _ in 0..10_000 {
            let open = |(trigger, partition): &&(TriggerId, usize)| {
                self.tracks[&(*trigger, *partition)].next < self.logs[*partition].high()
            };
            let Some((trigger, partition)) = all.iter().find(open).copied() else { break };
            self.take(trigger, partition, 1);
            self.decide_load(0);
            self.world.end_runs();
        }
        for trigger in &self.triggers {
            for message in self.logs.iter().flat_map(|log| &log.messages) {
                assert_eq!(
                    self.taken.get(&(*trigger, message.id)),
                    Some(&1),
                    "message {} is missing",
                    message.id
                );
            }
        }
        self.world.finish();
    }
}

impl World {
    /// Time passes, so that no two messages have the same.
    fn tick(&mut self) {
        self.now = self.now.plus_millis(1);
    }

    /// One thing happens to runs.
    fn step_of_runs(&mut self) {
        match self.random.below(10) {
            0..4 => self.claim(),
            4..8 => self.work(),
            8 => self.pass(),
            _ if self.random.one_in(3) => self.cancel(),
            _ => self.release(),
        }
    }

    /// The rows of all shards are written.
    fn settle(&mut self) {
        (0..SHARDS).for_each(|shard| self.append(ShardId(shard as u8), vec![], true));
    }

    fn workflow(&self, trigger: TriggerId) -> WorkflowId {
        self.project.trigger(trigger).unwrap().0.id
    }

    fn is_keyed(&self, trigger: TriggerId) -> bool {
        self.project.trigger(trigger).unwrap().1.ordering == Ordering::Key
    }

    fn owner(&self, trigger: TriggerId, stream: &str) -> ShardId {
        let (workflow, _) = self.project.trigger(trigger).unwrap();
        let serial = (workflow.concurrency == Some(1)).then_some(workflow.id);
        let position = Position::Next { stream: stream.into(), number: 0 };
        Route { trigger, serial, key: None, position: &position }.owner(&self.routes).unwrap()
    }

    /// What is due of a stream, and since when.
    fn stream_due(&self, trigger: TriggerId, stream: &str) -> Option<(u64, Timestamp)> {
        let owner = self.owner(trigger, stream);
        stream::due(&self.reader(owner), trigger, stream).unwrap()
    }
}
