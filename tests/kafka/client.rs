//! Other people's clients: what sends to Kafka, and what operators do to it.

use std::{
    ffi::CStr,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    message::{Header, Message, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{common::keyway::eventually, native};

const WAIT: Duration = Duration::from_secs(30);

/// A client of one broker.
pub struct Client {
    address: String,
    producer: BaseProducer,
    admin: AdminClient<DefaultClientContext>,
}

/// A name that no other test uses.
pub fn name(of: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{of}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Client {
    pub fn new(address: &str) -> Self {
        Self::packing(address, "none")
    }

    /// A client that packs its batches with this codec.
    pub fn packing(address: &str, codec: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("compression.type", codec);
        config.set("bootstrap.servers", address).set("linger.ms", "1").set("message.max.bytes", "12000000");
        config.set("queue.buffering.max.messages", "1000000");
        // A broker that was away is back at once, and not found so only after the longest of pauses.
        config.set("reconnect.backoff.max.ms", "500");
        // A broker that is killed before it answers has the message: sent again without this, it would be there twice.
        config.set("enable.idempotence", "true");
        Self {
            address: address.to_owned(),
            producer: config.create().unwrap(),
            admin: config.create().unwrap(),
        }
    }

    /// Makes a topic.
    pub fn make_topic(&self, topic: &str, partitions: i32) {
        self.make_topic_with(topic, partitions, &[]);
    }

    /// The same, with settings of its own.
    pub fn make_topic_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        wait(self.admin.create_topics([&new], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
        // It is there when its partitions have leaders.
        eventually("the topic is there", || {
            let metadata = self.producer.client().fetch_metadata(Some(topic), WAIT).unwrap();
            let topic = &metadata.topics()[0];
            topic.partitions().len() as i32 == partitions
                && topic.partitions().iter().all(|it| it.leader() >= 0)
        });
    }

    pub fn delete_topic(&self, topic: &str) {
        wait(self.admin.delete_topics(&[topic], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
        // All are asked for: a broker may make the one that is asked for by its name.
        eventually("the topic is gone", || {
            let metadata = self.producer.client().fetch_metadata(None, WAIT).unwrap();
            metadata.topics().iter().all(|known| known.name() != topic)
        });
    }

    pub fn add_partitions(&self, topic: &str, partitions: usize) {
        let new = NewPartitions::new(topic, partitions);
        wait(self.admin.create_partitions([&new], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    }

    /// Throws away what is before this offset, as retention does.
    pub fn forget(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).unwrap();
        wait(self.admin.delete_records(&list, &AdminOptions::new())).unwrap();
    }

    /// Deletes a group, which must have no members.
    pub fn delete_group(&self, group: &str) {
        eventually("the group is deleted", || {
            wait(self.admin.delete_groups(&[group], &AdminOptions::new())).unwrap()[0].is_ok()
        });
    }

    /// Sets the committed offset of a group without members.
    pub fn reset_group(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let consumer = self.group(group);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        eventually("the offset is reset", || consumer.commit(&list, CommitMode::Sync).is_ok());
    }

    /// What a group has committed, by partition.
    pub fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        let consumer = self.group(group);
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let mut found = None;
        // A coordinator that has just come up says that it is none.
        eventually("offsets are told", || {
            found = consumer.committed_offsets(list.clone(), WAIT).ok();
            found.is_some()
        });
        let list = found.unwrap();
        let offset = |partition| list.find_partition(topic, partition).unwrap().offset();
        (0..partitions).map(|partition| offset(partition).to_raw().filter(|offset| *offset >= 0)).collect()
    }

    /// The ids of a group's members: one that leaves and comes again has another.
    pub fn members(&self, group: &str) -> Vec<String> {
        let groups = self.producer.client().fetch_group_list(Some(group), WAIT).unwrap();
        let members = groups.groups().iter().flat_map(|group| group.members());
        members.map(|member| member.id().to_owned()).collect()
    }

    fn group(&self, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.address)
            .set("group.id", group)
            .set("enable.auto.commit", "false");
        config.create().unwrap()
    }

    /// Messages that were ever sent to a topic, by the ends of its partitions.
    pub fn count(&self, topic: &str, partitions: i32) -> i64 {
        let end = |partition| {
            let mut found = None;
            // A partition that was just made has no leader for a moment.
            eventually("its end is told", || {
                found = self.producer.client().fetch_watermarks(topic, partition, WAIT).ok();
                found.is_some()
            });
            found.unwrap().1
        };
        (0..partitions).map(end).sum()
    }

    /// The topic whose name begins so and that has so many partitions.
    pub fn topic_of(&self, beginning: &str, partitions: usize) -> Option<String> {
        let metadata = self.producer.client().fetch_metadata(None, WAIT).unwrap();
        let mut topics = metadata.topics().iter().filter(|topic| topic.partitions().len() == partitions);
        topics.find(|topic| topic.name().starts_with(beginning)).map(|topic| topic.name().to_owned())
    }

    /// The offsets of partition 0 that Kafka still has.
    pub fn offsets(&self, topic: &str) -> Vec<i64> {
        let consumer = self.group("nobody");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let end = self.count(topic, 1);
        let offsets = std::iter::from_fn(|| Some(consumer.poll(WAIT).unwrap().unwrap().offset()));
        let mut found = Vec::new();
        for offset in offsets {
            found.push(offset);
            if offset + 1 == end {
                break;
            }
        }
        found
    }

    /// Sends one message; returns when Kafka has it.
    pub fn send(&self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.queue(topic, partition, key, value);
        self.flush();
    }

    /// Sends one message, some time.
    pub fn queue(&self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        record.key = key;
        record.payload = value;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    /// Sends messages in transactions, each with whether it is committed; others are aborted.
    pub fn send_in_transactions(&self, topic: &str, values: &[(&[u8], bool)]) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address).set("transactional.id", topic);
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(WAIT).unwrap();
        for (value, is_committed) in values {
            producer.begin_transaction().unwrap();
            let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(*value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
            producer.flush(WAIT).unwrap();
            match is_committed {
                true => producer.commit_transaction(WAIT).unwrap(),
                false => producer.abort_transaction(WAIT).unwrap(),
            }
        }
    }

    /// Sends a message of this time with headers.
    pub fn send_with(
        &self,
        topic: &str,
        key: &[u8],
        value: &[u8],
        headers: &[(&str, Option<&[u8]>)],
        time: i64,
    ) {
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }));
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).key(key).payload(value);
        self.producer.send(record.headers(headers).timestamp(time)).map_err(|(error, _)| error).unwrap();
        self.flush();
    }

    /// Sends a message with one header, whose name may be no text.
    pub fn send_with_header(&self, topic: &str, value: &[u8], header: (&CStr, &[u8])) {
        native::send_with_header(&self.producer, topic, value, header);
        self.flush();
    }

    /// Returns when Kafka has all.
    pub fn flush(&self) {
        self.producer.flush(2 * WAIT).unwrap();
    }
}

/// Waits for a future on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
