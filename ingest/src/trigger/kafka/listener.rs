//! What librdkafka tells a consumer while it is polled: assignments, errors, log lines.
//!
//! Invariant: after a revocation nothing that was taken before and not offered yet is offered: its tracks are closed. That a
//! topic has another id is noted before any message of it is fetched.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use keyway_engine::command::Warn;
use keyway_storage::{event::Concern, limits::KAFKA_COMMIT_MS};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};
use uuid::Uuid;

use super::{
    consumer::{Said, World},
    ffi::set_epoch,
    plan::Plan,
    source::Sent,
    status::{Link, Status},
    track::Track,
    trouble::sentence,
};
use crate::time;

/// A partition of a topic.
pub type Partition = (String, i32);

/// Listens to one client.
pub struct Listener {
    plan: Arc<Plan>,
    world: Arc<World>,
    status: Arc<Status>,
    /// What the group gave us and was not taken up yet.
    given: Mutex<Option<Vec<Partition>>>,
    /// Topics and the ids that they have from now on.
    renewed: Mutex<Vec<(String, Uuid)>>,
    doubt: Mutex<Option<Doubt>>,
}

/// A broker does not answer, and it is not known yet whether it is missed.
struct Doubt {
    since: Instant,
    code: RDKafkaErrorCode,
    reason: String,
}

impl Listener {
    /// A listener for the client of this plan.
    pub fn new(plan: &Arc<Plan>, world: &Arc<World>, status: &Arc<Status>) -> Self {
        let (plan, world, status) = (Arc::clone(plan), Arc::clone(world), Arc::clone(status));
        Self {
            plan,
            world,
            status,
            given: Mutex::default(),
            renewed: Mutex::default(),
            doubt: Mutex::default(),
        }
    }

    fn renewed(&self) -> MutexGuard<'_, Vec<(String, Uuid)>> {
        self.renewed.lock().expect("no holder of this lock panics: it only moves a list")
    }

    /// Topics that librdkafka found another id of since the last call, each with that id.
    pub fn take_renewed(&self) -> Vec<(String, Uuid)> {
        std::mem::take(&mut *self.renewed())
    }

    fn given(&self) -> MutexGuard<'_, Option<Vec<Partition>>> {
        self.given.lock().expect("no holder of this lock panics: it only moves a list")
    }

    /// What the group gave us since the last call.
    pub fn take_given(&self) -> Option<Vec<Partition>> {
        self.given().take()
    }

    fn doubt(&self) -> MutexGuard<'_, Option<Doubt>> {
        self.doubt.lock().expect("no holder of this lock panics: it only moves an error")
    }

    /// Since when a broker does not answer of which it is not known whether it is missed.
    pub fn in_doubt_since(&self) -> Option<Instant> {
        self.doubt().as_ref().map(|doubt| doubt.since)
    }

    /// Ends a doubt: what librdkafka said of that broker.
    pub fn take_doubt(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.doubt().take().map(|doubt| (doubt.code, doubt.reason))
    }

    /// Hears an error of the client. A broker that is gone is no trouble by itself: another may have what it had. Nor is
    /// that all are, as far as librdkafka knows: those that nobody needed may have hung up before.
    pub fn hear(&self, code: RDKafkaErrorCode, reason: &str) {
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, Resolve};
        if !matches!(code, AllBrokersDown | BrokerTransportFailure | Resolve) {
            return self.trouble(code, reason);
        }
        let mut doubt = self.doubt();
        // The first that is said of a broker says why.
        let says_more =
            doubt.as_ref().is_none_or(|known| known.code == AllBrokersDown && code != AllBrokersDown);
        if says_more && (code != AllBrokersDown || self.status.link() != Link::Failing) {
            let since = doubt.as_ref().map_or_else(Instant::now, |known| known.since);
            *doubt = Some(Doubt { since, code, reason: reason.to_owned() });
        }
    }

    /// Notes that a partition waits for its broker, which does not answer while others do.
    pub fn stuck(&self, track: &Track, reason: &str) {
        let Track { topic, partition, .. } = track;
        self.fail(&format!(
            "Partition {partition} of {topic} is not read: its broker does not answer. Check that this broker runs, and \
             that its address can be reached from here; reading goes on by itself. ({reason})"
        ));
    }

    /// Notes an error where people see it.
    pub fn trouble(&self, code: RDKafkaErrorCode, reason: &str) {
        if let Some(sentence) = sentence(&self.plan.settings, code, reason) {
            // This says more than that a broker hung up.
            *self.doubt() = None;
            self.fail(&sentence);
        }
    }

    fn fail(&self, sentence: &str) {
        if self.status.fail(sentence, time::now()) {
            tracing::warn!(trigger = %trigger(&self.plan), %sentence, "Kafka");
            self.warn(Concern::TriggerFailing, sentence);
        }
    }

    /// Has people told of something, once in an embargo.
    pub fn warn(&self, concern: Concern, sentence: &str) {
        let warn = Warn { trigger: self.plan.trigger, concern, message: sentence.into() };
        // Always the same shard, which knows whom it told when. If it has no room, people see it where they look.
        let shard = usize::from(self.plan.trigger.0[15]) % self.world.mailboxes.len();
        let _ = self.world.mailboxes[shard].put(Sent::Warn(warn), 0);
    }

    fn revoke(&self, client: &BaseConsumer<Self>) {
        *self.given() = None;
        let tracks = self.status.assign(Vec::new());
        tracks.iter().for_each(|track| track.close());
        // A group that gave our partitions to another does not take our word any more.
        if !client.assignment_lost() {
            let offsets = uncommitted(&tracks, &self.world.said);
            if offsets.count() > 0 {
                super::ffi::commit_within(client, &offsets, Duration::from_millis(KAFKA_COMMIT_MS));
            }
        }
        if let Err(error) = client.unassign() {
            tracing::warn!(trigger = %trigger(&self.plan), %error, "partitions are not given back");
        }
    }
}

/// The id of a plan's trigger, for traces.
pub fn trigger(plan: &Plan) -> Uuid {
    Uuid::from_bytes(plan.trigger.0)
}

/// The topic and its id, of a line that says that it has another one. Nothing else does: librdkafka goes on at the offset
/// that it had.
fn renewed(line: &str) -> Option<(String, Uuid)> {
    let (topic, ids) = line.split_once(" changed id from ")?;
    let topic = topic.rsplit(' ').next()?;
    let id = STANDARD_NO_PAD.decode(ids.rsplit(' ').next()?).ok()?;
    Some((topic.to_owned(), Uuid::from_slice(&id).ok()?))
}

/// What is durable and was not told to the group, with the leader epoch of what was read last.
pub fn uncommitted(tracks: &[Arc<Track>], said: &Said) -> TopicPartitionList {
    let mut offsets = TopicPartitionList::new();
    for track in tracks {
        let next = track.shown().position as i64;
        if next > track.committed() {
            // It was assigned with this name: there is nothing to refuse.
            let _ = offsets.add_partition_offset(&track.topic, track.partition, Offset::Offset(next));
            let partition = (track.topic.clone(), track.partition);
            if let (_, Some(epoch)) = said.of(track.trigger, &partition, Some(next as u64)) {
                set_epoch(&offsets, &track.topic, track.partition, epoch);
            }
        }
    }
    offsets
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if let Some(renewed) = renewed(line) {
            self.renewed().push(renewed);
        }
        let trigger = trigger(&self.plan);
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(%trigger, facility, line, "librdkafka");
            }
            _ => tracing::info!(%trigger, facility, line, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.hear(code, reason);
        }
    }
}

impl ConsumerContext for Listener {
    fn rebalance(&self, client: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let partition = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
                (element.topic().to_owned(), element.partition())
            };
            *self.given() = Some(list.elements().iter().map(partition).collect());
        } else {
            self.revoke(client);
        }
    }
}
