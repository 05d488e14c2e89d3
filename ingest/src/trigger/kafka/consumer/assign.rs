//! What a consumer does with the partitions that the group gave it: it finds where our log ends, and reads from there.
//!
//! Invariant: the log knows where a partition begins before anything of it is read. The topic is noted last, so that after a
//! crash in between the others still begin by the trigger's policy.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use keyway_engine::{command::Move, route::Route, stats::Health, view::stream};
use keyway_storage::{
    event::{Concern, MoveReason, Position},
    limits::{KAFKA_ANSWER_MS, KAFKA_RETRY_MS},
    place::{ShardId, Timestamp},
};
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _, error::RDKafkaErrorCode};
use uuid::Uuid;

use super::{Consumer, Partition, Sent, Track};
use crate::{
    time,
    trigger::kafka::{
        ffi,
        listener::trigger,
        position::{Heard, Known, Noted, Start, Topic, sentence},
        settings::OnGap,
    },
};

/// Stands for the id of a topic where the broker has none.
const NO_ID: &str = "-";

/// Why partitions are not read yet.
pub(super) enum Unread {
    /// Try again after a while; why was noted.
    Later,
    /// Not before the project file changes.
    Halted,
}

/// Where a partition is read from.
struct Begin {
    partition: Partition,
    stream: String,
    owner: ShardId,
    offset: u64,
    /// The leader epoch of what was read before that offset.
    epoch: Option<i32>,
}

/// What is found of a partition.
enum Placed {
    /// It is read from here, once the log knows this.
    Reads(Begin, Option<Move>),
    /// It is not read: a gap is before what is due, and the trigger stops at gaps.
    Stops(Begin),
}

/// The number of a stream that is due, since when, and on which shard.
type Due = (u64, Timestamp, ShardId);

/// An id as it stands in the name of a stream.
pub(super) fn id_text(id: Uuid) -> String {
    if id.is_nil() { NO_ID.to_owned() } else { id.to_string() }
}

impl Consumer {
    /// Begins to read what is assigned, when its time has come.
    pub(super) fn assign_waiting(&mut self) {
        let Some((partitions, _)) = self.waiting.take_if(|(_, due)| *due <= Instant::now()) else { return };
        if self.world.readers.iter().any(|reader| reader.stats.health() == Health::Full) {
            // A shard that would refuse what is read is not asked: it says when there is room.
            let due = Instant::now() + Duration::from_millis(KAFKA_RETRY_MS);
            self.waiting = Some((partitions, due));
            return;
        }
        match self.begin(&partitions) {
            Ok(()) | Err(Unread::Halted) => {}
            Err(Unread::Later) => {
                let due = Instant::now() + Duration::from_millis(KAFKA_RETRY_MS);
                self.waiting = Some((partitions, due));
            }
        }
    }

    fn begin(&mut self, partitions: &[Partition]) -> Result<(), Unread> {
        self.leader = self.leader_of(partitions)?;
        self.ids = self.topic_ids(partitions)?;
        self.recall(partitions);
        let (mut begins, mut moves, mut is_moved) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_halted = false;
        for partition in partitions {
            let (begin, order) = match self.place(partition) {
                // It stops, whatever is found of this one: nobody is to be told of the gap once more.
                Err(_) if is_halted => break,
                Err(unread) => return Err(unread),
                Ok(Placed::Reads(begin, order)) => (begin, order),
                Ok(Placed::Stops(begin)) => {
                    is_halted = true;
                    (begin, None)
                }
            };
            is_moved.push(order.is_some());
            moves.extend(order.map(|order| (begin.owner, order)));
            begins.push(begin);
        }
        if is_halted {
            self.status.assign(begins.iter().map(|begin| self.track(begin)).collect());
            self.status.hold();
            return Err(Unread::Halted);
        }
        self.note_all(moves)?;
        for (begin, is_moved) in begins.iter().zip(is_moved) {
            self.world.said.settle(self.plan.trigger, &begin.partition, is_moved);
        }
        self.note_topics()?;
        let mut list = TopicPartitionList::new();
        for Begin { partition: (topic, number), offset, .. } in &begins {
            self.queue.forward(topic, *number);
            add(&mut list, topic, *number, *offset);
        }
        self.status.assign(begins.iter().map(|begin| self.track(begin)).collect());
        if let Err(error) = self.client.assign(&list) {
            return Err(self.unread(error.rdkafka_error_code(), "partitions cannot be assigned"));
        }
        self.ask(&begins)?;
        tracing::info!(trigger = %trigger(&self.plan), partitions = begins.len(), "Kafka: reading");
        self.status.set_running();
        Ok(())
    }

    fn track(&self, Begin { partition: (topic, number), stream, owner, offset, .. }: &Begin) -> Arc<Track> {
        Track::new(self.plan.trigger, (topic, *number), stream, *owner, *offset, &self.bell)
    }

    /// Has brokers asked, before anything is read, whether they still have what was read. librdkafka does so by itself where a
    /// leader changes while it reads, and not where a partition is given back meanwhile.
    fn ask(&self, begins: &[Begin]) -> Result<(), Unread> {
        let mut list = TopicPartitionList::new();
        for Begin { partition: (topic, number), offset, epoch, .. } in begins {
            if let Some(epoch) = epoch.filter(|_| *offset > 0) {
                add(&mut list, topic, *number, *offset);
                ffi::set_epoch(&list, topic, *number, epoch);
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let asked = self.client.seek_partitions(list, self.timeout());
        if asked.is_ok_and(|list| list.elements().iter().all(|element| element.error().is_ok())) {
            return Ok(());
        }
        // What was given back before is not gone yet.
        tracing::debug!(trigger = %trigger(&self.plan), "Kafka: partitions are not taken up yet");
        self.status.assign(Vec::new()).iter().for_each(|track| track.close());
        Err(Unread::Later)
    }

    /// Takes up what the group knows of partitions that were not read since we started: an offset, and the leader epoch of what
    /// was read before it. Where a position is, it never says.
    fn recall(&self, partitions: &[Partition]) {
        let mut list = TopicPartitionList::new();
        for partition in partitions.iter().filter(|it| self.world.said.is_new(self.plan.trigger, it)) {
            list.add_partition(&partition.0, partition.1);
        }
        if list.count() == 0 {
            return;
        }
        match self.client.committed_offsets(list, self.timeout()) {
            Ok(list) => {
                for element in list.elements() {
                    let partition = (element.topic().to_owned(), element.partition());
                    let epoch = ffi::epoch(&list, element.topic(), element.partition());
                    let offset = element.offset().to_raw().and_then(|offset| u64::try_from(offset).ok());
                    self.world.said.recall(self.plan.trigger, partition, offset.zip(epoch));
                }
            }
            // Nothing depends on it but that a partition that was cut, and has more again, is noticed.
            Err(error) => {
                tracing::info!(trigger = %trigger(&self.plan), %error, "Kafka: no committed offsets")
            }
        }
    }

    pub(super) fn unread(&self, code: Option<RDKafkaErrorCode>, reason: &str) -> Unread {
        self.client.context().trouble(code.unwrap_or(RDKafkaErrorCode::Fail), reason);
        Unread::Later
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.plan.connect_timeout_ms().min(KAFKA_ANSWER_MS))
    }

    /// The broker of the first partition: nothing is read without it, whatever the cluster's controller does.
    fn leader_of(&self, partitions: &[Partition]) -> Result<Option<i32>, Unread> {
        let Some((topic, number)) = partitions.first() else { return Ok(None) };
        let metadata = self.client.client().fetch_metadata(Some(topic), self.timeout());
        let metadata = metadata.map_err(|error| self.unread(error.rdkafka_error_code(), topic))?;
        let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let leader =
            partitions.find(|partition| partition.id() == *number).map(|partition| partition.leader());
        Ok(leader.filter(|leader| *leader >= 0))
    }

    /// The ids of the assigned topics. A topic that was made again has another one, and is another stream.
    fn topic_ids(&self, partitions: &[Partition]) -> Result<Vec<(String, String)>, Unread> {
        let mut names: Vec<String> = partitions.iter().map(|(topic, _)| topic.clone()).collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // An answer to an older question may be waiting.
        while self.topics.described(Duration::ZERO).is_some() {}
        self.topics.describe(&names, self.leader, self.timeout());
        let answer = self.topics.described(self.timeout() + Duration::from_millis(KAFKA_RETRY_MS));
        let late = Err(RDKafkaErrorCode::OperationTimedOut);
        let topics = answer.unwrap_or(late);
        let topics = topics.map_err(|code| self.unread(Some(code), "topics cannot be described"))?;
        let mut ids = Vec::new();
        for (topic, id) in topics {
            let id = id.map_err(|(code, reason)| self.unread(Some(code), &reason))?;
            // A broker that tells no id does not speak of another topic.
            let known = self.ids.iter().find(|(known, _)| id.is_nil() && *known == topic);
            let id = known.map_or_else(|| id_text(id), |(_, known)| known.clone());
            ids.push((topic, id));
        }
        Ok(ids)
    }

    /// Finds where a partition is read from, and what the log must know of it before.
    fn place(&self, partition: &Partition) -> Result<Placed, Unread> {
        let (topic, number) = partition;
        let id = self.ids.iter().find(|(known, _)| known == topic).map_or(NO_ID, |(_, id)| id.as_str());
        let stream = format!("{topic}/{id}/{number}");
        let owner = self.owner(&stream);
        let state = self.topic(topic, id)?;
        let (mut due, mut is_named) = (self.due(&stream)?, false);
        if due.is_none() && state == Topic::Named {
            due = self.due(&format!("{topic}/{NO_ID}/{number}"))?;
            is_named = due.is_some();
        }
        let watermarks = self.client.fetch_watermarks(topic, *number, self.timeout());
        let (low, high) = watermarks
            .map_err(|error| self.unread(error.rdkafka_error_code(), &format!("{topic}/{number}")))?;
        let (low, high) = (u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0));
        let last_ms = due.map_or(0, |(_, at, _)| at.0 / 1_000);
        let due = due.map(|(due, _, shard)| (due, shard));
        let offset = due.map(|(due, _)| due);
        let (heard, epoch) = self.world.said.of(self.plan.trigger, partition, offset);
        let heard = match (heard, offset) {
            (Heard::Nothing, Some(due)) if due >= low => self.damage(partition, due, high)?,
            (heard, _) => heard,
        };
        let known = Known { due: offset, low, high, topic: state, heard, is_asked: epoch.is_some() };
        let begin = |offset, epoch| {
            let (partition, stream) = (partition.clone(), stream.clone());
            Begin { partition, stream, owner, offset, epoch }
        };
        let (next, reason) = match known.start(self.plan.settings.initial, last_ms) {
            // Another shard owned it so far: the workflow's limit has changed. Or another stream, that has no id.
            Start::Due(next) if is_named || due.is_some_and(|(_, shard)| shard != owner) => {
                (next, MoveReason::Owned)
            }
            Start::Due(offset) => return Ok(Placed::Reads(begin(offset, epoch), None)),
            Start::Move(next, reason) => (next, reason),
            Start::Time(millis, reason) => (self.offset_at(partition, millis, high)?, reason),
        };
        if self.tell(partition, &known, next, reason) {
            return Ok(Placed::Stops(begin(offset.unwrap_or(next), None)));
        }
        let order = Move { trigger: self.plan.trigger, stream: stream.as_str().into(), next, reason };
        Ok(Placed::Reads(begin(next, None), Some(order)))
    }

    /// Tells people of a gap, and whether the trigger stops before it, as they said.
    fn tell(&self, (topic, number): &Partition, known: &Known, next: u64, reason: MoveReason) -> bool {
        let sentence = sentence(topic, *number, known.due, next, reason, known.heard);
        let Some(sentence) = sentence else { return false };
        tracing::warn!(trigger = %trigger(&self.plan), %sentence, "Kafka");
        self.client.context().warn(Concern::Gap, &sentence);
        match self.plan.settings.on_gap {
            OnGap::Continue => {
                self.status.note(sentence, time::now());
                false
            }
            OnGap::Stop => {
                let stopped = "The trigger stopped, as `on_gap: stop` says: set it to `continue` to go on.";
                self.status.halt(format!("{sentence} {stopped}"), time::now());
                true
            }
        }
    }

    /// The first offset of this time or later; the end if there is none.
    fn offset_at(&self, (topic, number): &Partition, millis: u64, high: u64) -> Result<u64, Unread> {
        let mut list = TopicPartitionList::new();
        add(&mut list, topic, *number, millis);
        let found = self.client.offsets_for_times(list, self.timeout());
        let found = found.map_err(|error| self.unread(error.rdkafka_error_code(), "no offset for a time"))?;
        let offset = found.find_partition(topic, *number).map(|element| element.offset());
        Ok(match offset {
            Some(Offset::Offset(offset)) => u64::try_from(offset).unwrap_or(high),
            _ => high,
        })
    }

    /// What the log knows of a topic.
    fn topic(&self, topic: &str, id: &str) -> Result<Topic, Unread> {
        let known = self.noted(topic, id)?.topic(id != NO_ID);
        known.ok_or_else(|| {
            let sentence = format!(
                "Kafka tells no id of the topic {topic}, which it told before: reading goes on when it does, so that nothing \
                 comes twice."
            );
            self.status.fail(&sentence, time::now());
            Unread::Later
        })
    }

    fn noted(&self, topic: &str, id: &str) -> Result<Noted, Unread> {
        let next = |stream: &str| Ok(self.due(stream)?.map(|(next, ..)| next));
        let no_id = next(&format!("{topic}/{NO_ID}"))?;
        let id = if id == NO_ID { None } else { next(&format!("{topic}/{id}"))? };
        Ok(Noted { name: next(topic)?, no_id, id })
    }

    /// Notes that the topics are known from now on. That one has an id is noted last of its name without one: whatever comes in
    /// between, it still goes on from there.
    fn note_topics(&self) -> Result<(), Unread> {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        let order = |stream: String, next| {
            let (trigger, reason, owner) = (self.plan.trigger, MoveReason::Started, self.owner(&stream));
            (owner, Move { trigger, stream: stream.into(), next, reason })
        };
        for (topic, id) in &self.ids {
            let noted = self.noted(topic, id)?;
            let (no_id, has_id) = (format!("{topic}/{NO_ID}"), id != NO_ID);
            if has_id && noted.id.is_none() {
                first.push(order(format!("{topic}/{id}"), noted.next_of_id()));
            }
            if !has_id && noted.no_id.is_none() {
                first.push(order(no_id.clone(), 0));
            }
            if noted.name.is_none() {
                first.push(order(topic.clone(), 0));
            }
            if has_id && noted.no_id == Some(0) {
                last.push(order(no_id, 1));
            }
        }
        self.note_all(first)?;
        self.note_all(last)
    }

    /// What is due of a stream, on whatever shard it was read last.
    fn due(&self, name: &str) -> Result<Option<Due>, Unread> {
        let mut found: Option<Due> = None;
        for reader in &self.world.readers {
            let due = stream::due(&reader.settled(), self.plan.trigger, name).map_err(|error| {
                self.status.fail(&format!("A position cannot be read: {error}."), time::now());
                Unread::Later
            })?;
            let younger =
                due.filter(|(next, at)| found.is_none_or(|(most, last, _)| (*at, *next) > (last, most)));
            found = younger.map(|(next, at)| (next, at, reader.shard)).or(found);
        }
        Ok(found)
    }

    fn owner(&self, stream: &str) -> ShardId {
        let position = Position::Next { stream: stream.into(), number: 0 };
        let (trigger, serial) = (self.plan.trigger, self.plan.serial);
        let route = Route { trigger, serial, key: None, position: &position };
        route.owner(&self.world.routes).expect("a stream has an owner")
    }

    /// Brings moves into the log, and waits until they are durable.
    fn note_all(&self, moves: Vec<(ShardId, Move)>) -> Result<(), Unread> {
        let refused = || {
            self.status.fail("The log does not take a position in at the moment.", time::now());
            Unread::Later
        };
        let mut answers: Vec<Receiver<bool>> = Vec::new();
        for (owner, order) in moves {
            let (sender, receiver) = bounded(1);
            let mailbox = &self.world.mailboxes[usize::from(owner.0)];
            mailbox.put(Sent::Move(order, sender), 0).map_err(|_| refused())?;
            answers.push(receiver);
        }
        let deadline = Instant::now() + Duration::from_millis(KAFKA_ANSWER_MS);
        for answer in answers {
            if answer.recv_deadline(deadline) != Ok(true) {
                return Err(refused());
            }
        }
        Ok(())
    }
}

pub(super) fn add(list: &mut TopicPartitionList, topic: &str, partition: i32, offset: u64) {
    let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
    list.add_partition_offset(topic, partition, offset).expect("an offset that is not negative is one");
}
