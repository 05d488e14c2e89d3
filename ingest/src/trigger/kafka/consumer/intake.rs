//! The intake: messages that librdkafka has fetched become inputs, and go to the shards that own them.
//!
//! Invariant: nothing is taken without room under the trigger's bound. What a load counts as taken is counted before it is
//! sent, and settled once.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use keyway_engine::command::Input;
use keyway_storage::{
    event::Position,
    limits::{KAFKA_BATCH_MESSAGES_MAX, KAFKA_LOAD_BYTES_MAX, KAFKA_PAUSE_MS, KAFKA_WAIT_MS},
};
use rdkafka::consumer::Consumer as _;

use super::{Consumer, Partition, damage::is_damage, is_reset};
use crate::trigger::kafka::{
    ffi::{Message, events_waiting},
    message::{Raw, hash},
    page::Page,
    plan::Plan,
    source::{Load, Sent},
    track::Track,
};

/// A load that is being filled.
struct Filling {
    load: Load,
    bytes: usize,
    /// Name of its stream, its own: were it the track's, consumer and shard would count its users against each other for
    /// each message.
    stream: Arc<str>,
}

impl Filling {
    fn new(track: &Arc<Track>, messages: usize) -> Self {
        let load = Load { track: Arc::clone(track), inputs: VecDeque::with_capacity(messages) };
        Self { load, bytes: 0, stream: Arc::from(&*track.stream) }
    }

    /// Whether a message of this track goes here.
    fn takes(&self, track: &Arc<Track>) -> bool {
        Arc::ptr_eq(&self.load.track, track) && self.bytes < KAFKA_LOAD_BYTES_MAX
    }

    fn add(&mut self, plan: &Plan, message: &Message<'_>, page: &mut Page) {
        let headers = message.headers();
        let (track, offset) = (&self.load.track, message.offset());
        let raw = Raw {
            topic: &track.topic,
            partition: track.partition,
            offset,
            timestamp: message.timestamp(),
            key: message.key(),
            payload: message.payload(),
            headers: &headers,
        };
        let (request, body) = raw.read(plan.settings.payload, page);
        let kept = match &body {
            Ok(body) => body.len(),
            Err(unusable) => unusable.raw.as_ref().map_or(0, |raw| raw.len()) + unusable.detail.len(),
        };
        let bytes = request.len() + kept;
        let input = Input {
            trigger: plan.trigger,
            position: Position::Next { stream: Arc::clone(&self.stream), number: offset },
            key: raw.key.filter(|_| plan.keyed).map(hash),
            stream: track.hash,
            request,
            body,
            follow: None,
            replays: None,
        };
        self.load.inputs.push_back((offset, input, bytes));
        self.bytes += bytes;
    }
}

impl Consumer {
    /// Takes what there is room for, and hands it on.
    pub(super) fn take(&mut self) {
        let intake = self.world.permits.intake();
        let trigger = self.plan.trigger;
        let granted = intake.reserve(trigger, KAFKA_BATCH_MESSAGES_MAX, self.plan.in_flight_max);
        self.status.set_paused(granted == 0);
        if granted == 0 {
            return self.bell.wait(Some(Duration::from_millis(KAFKA_PAUSE_MS)));
        }
        let mut messages = self.queue.take(granted as usize, Duration::ZERO);
        if messages.is_empty() {
            // The first that comes, at once: a batch would wait until it is full.
            messages = self.queue.take(1, Duration::from_millis(KAFKA_WAIT_MS));
        }
        intake.give_back(trigger, granted - messages.len() as u32);
        // What librdkafka said before it fetched these comes first: their topic may be another one.
        let mut restart = false;
        while !messages.is_empty() && events_waiting(&self.client) > 0 {
            restart |= self.poll(1);
        }
        let is_renewed = self.is_renewed();
        if restart || is_renewed {
            intake.give_back(trigger, messages.len() as u32);
            drop(messages);
            return if is_renewed { self.renew() } else { self.restart(Duration::ZERO) };
        }
        let tracks = self.status.tracks();
        let mut jumped: Vec<Partition> = Vec::new();
        let mut loads: Vec<Filling> = Vec::new();
        let mut last = None;
        for (index, message) in messages.iter().enumerate() {
            let source = message.source();
            // Messages come in runs of one partition.
            let track = match last {
                Some((known, track)) if known == source => Some(track),
                _ => tracks.iter().find(|track| track.is(message.topic(), message.partition())),
            };
            let is_left = |track: &Track| jumped.iter().any(|(topic, number)| track.is(topic, *number));
            let track = track.filter(|track| !track.is_closed() && !is_left(track));
            let (Some(track), None) = (track, message.error()) else {
                intake.give_back(trigger, 1);
                jumped.extend(self.jump(message));
                continue;
            };
            last = Some((source, track));
            let epoch = message.epoch();
            if track.is_new_epoch(epoch) {
                self.world.said.take(track, message.offset(), epoch);
            }
            if !loads.last().is_some_and(|filling| filling.takes(track)) {
                let run = messages[index..].iter().take_while(|next| next.source() == source);
                loads.push(Filling::new(track, run.count()));
            }
            let filling = loads.last_mut().expect("there is one that takes it");
            filling.add(&self.plan, message, &mut self.page);
        }
        drop(messages);
        for filling in loads {
            filling.load.track.take(filling.load.inputs.len());
            self.send(filling.load, filling.bytes);
        }
        if !jumped.is_empty() {
            // What was taken before may be gone from Kafka.
            self.renew();
        }
    }

    /// Notes an error that stands in a message's place; gives the partition if it has to begin anew: it does not have our offset,
    /// or what is there cannot be read.
    fn jump(&self, message: &Message<'_>) -> Option<Partition> {
        let (code, reason) = message.error()?;
        let (said, trigger) = (&self.world.said, self.plan.trigger);
        let partition = (message.topic().to_owned(), message.partition());
        if is_reset(code) {
            said.jump(trigger, partition.clone(), &reason);
            return Some(partition);
        }
        let place = format!("{}, {}/{}", reason, message.topic(), message.partition());
        self.client.context().trouble(code, &place);
        is_damage(code).then(|| {
            said.damage(trigger, partition.clone(), message.offset());
            partition
        })
    }

    /// Hands a load to its shard, waiting for room; a load whose track is closed meanwhile is dropped.
    fn send(&self, load: Load, bytes: usize) {
        let track = Arc::clone(&load.track);
        let mailbox = &self.world.mailboxes[usize::from(track.owner.0)];
        let mut sent = Sent::Load(load);
        while let Err(back) = mailbox.put(sent, bytes) {
            sent = back;
            if self.bell.is_stopped() || track.is_closed() {
                let Sent::Load(load) = sent else { return };
                track.close();
                self.world.permits.intake().give_back(track.trigger, load.inputs.len() as u32);
                return track.settle(load.inputs.len());
            }
            self.bell.clear();
            self.bell.wait(Some(Duration::from_millis(KAFKA_PAUSE_MS)));
        }
    }
}
