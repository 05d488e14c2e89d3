//! The broker: a topic of the bench's own, what is sent to it, and a client that reads it and throws it away.
//!
//! Invariant: the topic is deleted when the bench is over.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use keyway_engine::project::Project;
use keyway_ingest::trigger::kafka::drain::Drain;
use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};
use uuid::Uuid;

use crate::failure::Failure;

/// Longest wait for an answer of the broker.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest wait for the first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// Longest wait for the topic to be deleted.
const LAST_ANSWER: Duration = Duration::from_secs(3);
/// Pause while the client's queue is full.
const FULL: Duration = Duration::from_millis(10);
/// What the client keeps until the broker has it, in messages and in KiB.
const QUEUE: [(&str, &str); 2] =
    [("queue.buffering.max.messages", "500000"), ("queue.buffering.max.kbytes", "524288")];

/// One broker, and a topic on it.
pub struct Broker {
    /// The topic's name.
    pub topic: String,
    partitions: i32,
    producer: BaseProducer<Deliveries>,
    admin: AdminClient<DefaultClientContext>,
}

/// Counts what the broker did not take.
#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.failed.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
    }
}

impl Broker {
    /// Finds the broker, and makes a topic.
    pub fn open(hosts: &str, partitions: i32) -> Result<Self, Failure> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", hosts).set("linger.ms", "5");
        for (name, value) in QUEUE {
            config.set(name, value);
        }
        let producer: BaseProducer<Deliveries> =
            config.create_with_context(Deliveries::default()).map_err(refuse)?;
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", hosts).create().map_err(refuse)?;
        producer.client().fetch_metadata(None, FIRST_ANSWER).map_err(|error| {
            let hint = "Is a broker running there that asks for no login? `tools/kafka run` starts one.";
            Failure::Unreachable(format!("no answer from Kafka at {hosts}: {error}\n{hint}"))
        })?;
        let topic = format!("keyway-bench-{}", Uuid::new_v4().simple());
        let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        for made in wait(admin.create_topics([&new], &options)).map_err(refuse)? {
            made.map_err(|(topic, error)| Failure::Failed(format!("Kafka does not make {topic}: {error}")))?;
        }
        Ok(Self { topic, partitions, producer, admin })
    }

    /// Hands a message to the client, and waits while its queue is full.
    pub fn send(&self, key: Option<&str>, value: &[u8]) -> Result<(), Failure> {
        loop {
            let mut record = BaseRecord::<str, [u8]>::to(&self.topic).payload(value);
            record.key = key;
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(FULL);
                }
                Err((error, _)) => return Err(refuse(error)),
            }
        }
    }

    /// Lets the client go on with what it was handed.
    pub fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until the broker has everything.
    pub fn flush(&self) -> Result<(), Failure> {
        self.producer.flush(ANSWER).map_err(refuse)?;
        match self.producer.context().failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(Failure::Failed(format!("Kafka did not take {failed} messages"))),
        }
    }

    /// What it takes to read the topic.
    pub fn reading(&self) -> Reading {
        Reading { topic: self.topic.clone(), partitions: self.partitions }
    }

    /// Reads all messages of the topic with librdkafka alone, told what the project's trigger is told, and throws them away;
    /// `seen` hears how many so far.
    pub fn throw_away(
        &self,
        project: &Project,
        count: u64,
        seen: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), Failure> {
        let drain = self.reading().open(project)?;
        let (mut read, mut last) = (0, Instant::now());
        while read < count {
            let taken = drain.take(&mut |_| {});
            let taken = taken.map_err(|error| Failure::Failed(format!("Kafka: {error}")))?;
            if taken > 0 {
                (read, last) = (read + taken, Instant::now());
            } else if last.elapsed() > ANSWER {
                return Err(Failure::Failed(format!(
                    "Kafka gave {read} of {count} messages and fell silent"
                )));
            }
            if !seen(read) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What it takes to read a topic with librdkafka alone.
pub struct Reading {
    topic: String,
    partitions: i32,
}

impl Reading {
    /// A consumer with the settings of the project's trigger.
    pub fn open(&self, project: &Project) -> Result<Drain, Failure> {
        let (workflow, trigger) = project.triggers().next().expect("our own project has one");
        let drain = Drain::open(workflow, trigger, &self.topic, self.partitions);
        drain.map_err(|error| Failure::Failed(format!("Kafka: {error}")))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // A broker that is gone keeps its topic; its name says where it comes from.
        let options = AdminOptions::new().request_timeout(Some(LAST_ANSWER));
        let _ = wait(self.admin.delete_topics(&[&self.topic], &options));
    }
}

fn refuse(error: KafkaError) -> Failure {
    Failure::Failed(format!("Kafka: {error}"))
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
