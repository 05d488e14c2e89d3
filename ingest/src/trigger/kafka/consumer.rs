//! The consumer of one trigger: a thread that takes messages from Kafka and hands them to the shards that own them.
//!
//! Invariant: nothing is committed but what is durable; an assigned partition is read from where our log ends.

mod assign;
mod damage;
mod intake;
mod said;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keyway_engine::{
    mailbox::{Bell, Mailbox},
    permit::PermitPool,
    shard::ShardReader,
};
use keyway_storage::{
    event::Concern,
    limits::{
        KAFKA_COMMIT_MS, KAFKA_DRAIN_MS, KAFKA_EVENTS_MAX, KAFKA_LOOK_MS, KAFKA_OPEN_MS, KAFKA_PAUSE_MS,
        KAFKA_PROBE_MS, KAFKA_REFUSED_MS, KAFKA_TICK_MS, KAFKA_TOPICS_MS, KAFKA_WAIT_MS,
    },
    routes::Routes,
};
use rdkafka::{
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};
use uuid::Uuid;

use super::{
    ffi::{Queue, TopicId, events_waiting, watermarks},
    listener::{Listener, Partition, uncommitted},
    page::Page,
    plan::Plan,
    reach::{self, Reach},
    source::Sent,
    status::{Link, Status},
    track::Track,
    trouble::refusal,
};
use crate::time;
use damage::is_damage;
pub use said::Said;

/// What all consumers share.
pub struct World {
    /// The way to each shard.
    pub mailboxes: Vec<Arc<Mailbox<Sent>>>,
    /// Which shard owns what.
    pub routes: Routes,
    /// Reads each shard.
    pub readers: Vec<ShardReader>,
    /// Counts what is open.
    pub permits: Arc<PermitPool>,
    /// What librdkafka said of partitions.
    pub said: Said,
}

/// One trigger's consumer.
pub struct Consumer {
    plan: Arc<Plan>,
    world: Arc<World>,
    status: Arc<Status>,
    bell: Arc<Bell>,
    queue: Queue<Listener>,
    commits: Queue<Listener>,
    topics: Queue<Listener>,
    client: Arc<BaseConsumer<Listener>>,
    /// What messages become is written here.
    page: Page,
    /// What is assigned and waits to be read, and since when it may be.
    waiting: Option<(Vec<Partition>, Instant)>,
    assigned: Vec<Partition>,
    /// Whether the group gave us anything yet, be it nothing.
    joined: bool,
    ids: Vec<(String, String)>,
    /// A broker that has one of our partitions.
    leader: Option<i32>,
    ticked: Instant,
    described: Instant,
    probed: Instant,
}

/// Reads until the bell says stop.
pub fn run(plan: &Arc<Plan>, world: &Arc<World>, status: &Arc<Status>, bell: &Arc<Bell>) {
    bell.attach();
    while !bell.is_stopped() {
        match Consumer::open(plan, world, status, bell) {
            Ok(consumer) => consumer.run(),
            // Most of what is refused stays so until the project file changes, but a file may be there some time.
            Err(sentence) => {
                if status.fail(&sentence, time::now()) {
                    tracing::error!(trigger = %super::listener::trigger(plan), %sentence, "Kafka");
                    Listener::new(plan, world, status).warn(Concern::TriggerFailing, &sentence);
                }
                let again = Instant::now() + Duration::from_millis(KAFKA_OPEN_MS);
                while !bell.is_stopped() && Instant::now() < again {
                    bell.clear();
                    bell.wait(Some(Duration::from_millis(KAFKA_WAIT_MS)));
                }
            }
        }
    }
}

impl Consumer {
    fn open(
        plan: &Arc<Plan>,
        world: &Arc<World>,
        status: &Arc<Status>,
        bell: &Arc<Bell>,
    ) -> Result<Self, String> {
        let refused = |error: KafkaError| refusal(&plan.settings, &error.to_string());
        let listener = Listener::new(plan, world, status);
        let client = BaseConsumer::from_config_and_context(&plan.config()?, listener).map_err(refused)?;
        let client = Arc::new(client);
        let topics: Vec<&str> = plan.settings.topics.iter().map(String::as_str).collect();
        client.subscribe(&topics).map_err(refused)?;
        let now = Instant::now();
        Ok(Self {
            plan: Arc::clone(plan),
            world: Arc::clone(world),
            status: Arc::clone(status),
            bell: Arc::clone(bell),
            queue: Queue::new(&client),
            commits: Queue::new(&client),
            topics: Queue::new(&client),
            client,
            page: Page::default(),
            waiting: None,
            assigned: Vec::new(),
            joined: false,
            ids: Vec::new(),
            leader: None,
            ticked: now,
            described: now,
            probed: now,
        })
    }

    fn run(mut self) {
        while !self.bell.is_stopped() && self.client.client().fatal_error().is_none() {
            self.bell.clear();
            // At least once: the group takes a member that is not polled for dead.
            if self.poll(events_waiting(&self.client).clamp(1, KAFKA_EVENTS_MAX)) {
                self.restart(Duration::ZERO);
            } else if self.is_renewed() {
                self.renew();
            }
            if let Some(given) = self.client.context().take_given() {
                self.joined = true;
                self.assigned.clone_from(&given);
                self.waiting = Some((given, Instant::now()));
            }
            self.assign_waiting();
            self.tick();
            self.take();
        }
        self.close();
    }

    /// Serves the client: assignments, errors, log lines. Whether messages of a partition do not come by our queue.
    fn poll(&self, events: usize) -> bool {
        let mut stray = false;
        for _ in 0..events {
            match self.client.poll(Duration::ZERO) {
                None => {}
                Some(Ok(_)) => stray = true,
                // It came as an error of the client too, with its reason; but for what concerns a topic.
                Some(Err(error)) => {
                    stray |= error.rdkafka_error_code().is_some_and(|code| is_reset(code) || is_damage(code));
                    let code = error.rdkafka_error_code().filter(|_| self.status.link() != Link::Failing);
                    if let Some(code) = code {
                        self.client.context().hear(code, "no more is known");
                    }
                }
            }
        }
        stray
    }

    /// Whether librdkafka has said that a topic is another one than the one that is read.
    fn is_renewed(&self) -> bool {
        let renewed = self.client.context().take_renewed();
        renewed.iter().any(|(topic, id)| self.is_another(topic, *id))
    }

    /// Whether a topic has another id than the one that is read.
    fn is_another(&self, topic: &str, id: Uuid) -> bool {
        let known = self.ids.iter().find(|(known, _)| known == topic);
        // A broker that tells no id does not speak of another topic.
        known.is_some_and(|(_, known)| !id.is_nil() && *known != assign::id_text(id))
    }

    /// What is done now and then: commits, numbers for people, looks at topics and at a broker that was gone.
    fn tick(&mut self) {
        if self.ticked.elapsed() < Duration::from_millis(KAFKA_TICK_MS) {
            return;
        }
        self.ticked = Instant::now();
        let tracks = self.status.tracks();
        let positions = self.client.position().ok();
        for track in tracks.iter() {
            // Giving a partition back ends its forwarding, some time later: it may have ended after it began anew.
            self.queue.forward(&track.topic, track.partition);
            if let Some((_, high)) = watermarks(&self.client, &track.topic, track.partition) {
                track.set_high(high);
            }
            let element =
                positions.as_ref().and_then(|all| all.find_partition(&track.topic, track.partition));
            let position = element.and_then(|element| element.offset().to_raw());
            track.set_position(position.and_then(|position| u64::try_from(position).ok()).unwrap_or(0));
        }
        self.commit(&tracks);
        if tracks.iter().any(|track| track.is_refused()) {
            let sentence =
                "A shard takes nothing in at the moment (is the disk full?): messages wait in Kafka.";
            self.status.fail(sentence, time::now());
            self.restart(Duration::from_millis(KAFKA_REFUSED_MS));
        }
        self.look_at_topics();
        self.probe();
    }

    fn commit(&self, tracks: &[Arc<Track>]) {
        while let Some(answers) = self.commits.committed(Duration::ZERO) {
            for (topic, partition, answer) in answers {
                let track = tracks.iter().find(|track| track.is(&topic, partition));
                match (track, answer) {
                    (Some(track), Ok(offset)) => track.set_committed(offset),
                    (_, Err(code)) => self.client.context().trouble(code, "an offset was not committed"),
                    _ => {}
                }
            }
        }
        let offsets = uncommitted(tracks, &self.world.said);
        if offsets.count() > 0
            && let Err(code) = self.commits.commit(&offsets)
        {
            self.client.context().trouble(code, "offsets were not committed");
        }
    }

    /// Notices a topic that was deleted and made again, though nothing was sent to it since.
    fn look_at_topics(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        match self.topics.described(Duration::ZERO) {
            Some(Ok(described)) => {
                let is_another =
                    |(topic, id): (String, TopicId)| id.is_ok_and(|id| self.is_another(&topic, id));
                if described.into_iter().any(is_another) {
                    self.renew();
                }
            }
            // That broker is gone, or leads no more: next time whichever the cluster names.
            Some(Err(_)) => self.leader = None,
            None => {}
        }
        let is_due = self.described.elapsed() >= Duration::from_millis(KAFKA_TOPICS_MS);
        // No broker is asked while none answers: as long as a question waits for its broker, librdkafka connects to it
        // again and again without a pause.
        if is_due && self.status.link() != Link::Failing {
            self.described = Instant::now();
            let timeout = Duration::from_millis(KAFKA_LOOK_MS);
            self.topics.describe(&self.plan.settings.topics, self.leader, timeout);
        }
    }

    /// Looks whether brokers that were gone are back, or are missed.
    fn probe(&mut self) {
        if self.probed.elapsed() < Duration::from_millis(KAFKA_PROBE_MS) {
            return;
        }
        let is_due = self.status.link() == Link::Failing || self.client.context().in_doubt_since().is_some();
        if is_due && self.waiting.is_none() {
            self.look_at_brokers();
            self.probed = Instant::now();
        } else if !self.status.held().is_empty() {
            reach::look_at_held(&self.client, &self.status.held());
            self.probed = Instant::now();
        }
    }

    fn look_at_brokers(&self) {
        let tracks = self.status.tracks();
        let found = reach::look(&self.client, &self.plan.settings.topics, &tracks);
        let context = self.client.context();
        // Whatever was given last is read; between two assignments the group's own broker may be the one that is missed.
        let is_settled = self.joined && (self.assigned.is_empty() || !tracks.is_empty());
        let patience = Duration::from_millis(self.plan.connect_timeout_ms());
        let is_new = context.in_doubt_since().is_some_and(|since| since.elapsed() < patience);
        match found {
            Reach::All if is_settled => {
                context.take_doubt();
                self.status.set_running();
            }
            // Another broker will have what this one had, or it is just being started again.
            Reach::All | Reach::Without(_) if is_new => {}
            Reach::Without(track) => {
                context.take_doubt().into_iter().for_each(|(_, reason)| context.stuck(&track, &reason));
            }
            Reach::All | Reach::Nobody => {
                context.take_doubt().into_iter().for_each(|(code, reason)| context.trouble(code, &reason));
            }
            Reach::Unwell => drop(context.take_doubt()),
        }
    }

    /// Begins anew, once the log has what was taken: of a topic that was made again, or that lost it, it is nowhere else.
    fn renew(&mut self) {
        self.wait_settled();
        self.restart(Duration::ZERO);
    }

    /// Drops what was taken and not offered, and reads again from where the log ends.
    fn restart(&mut self, pause: Duration) {
        self.status.tracks().iter().for_each(|track| track.close());
        self.wait_settled();
        self.status.hold();
        if let Err(error) = self.client.unassign() {
            tracing::warn!(%error, "partitions are not given back");
        }
        if !self.assigned.is_empty() {
            self.waiting = Some((self.assigned.clone(), Instant::now() + pause));
        }
    }

    /// Waits until all that was taken is decided or dropped.
    fn wait_settled(&self) {
        let deadline = Instant::now() + Duration::from_millis(KAFKA_DRAIN_MS);
        let tracks = self.status.tracks();
        while !tracks.iter().all(|track| track.is_settled()) && Instant::now() < deadline {
            self.bell.clear();
            self.bell.wait(Some(Duration::from_millis(KAFKA_PAUSE_MS)));
        }
    }

    /// Waits for what is on its way to the log, commits it, and leaves the group.
    fn close(self) {
        self.wait_settled();
        let tracks = self.status.assign(Vec::new());
        tracks.iter().for_each(|track| {
            track.close();
            track.set_position(0);
        });
        let offsets = uncommitted(&tracks, &self.world.said);
        if offsets.count() > 0 {
            super::ffi::commit_within(&self.client, &offsets, Duration::from_millis(KAFKA_COMMIT_MS));
        }
    }
}

/// Whether an error says that a partition does not have the offset that was asked for.
fn is_reset(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
}
