//! Librdkafka's mock cluster answers what a real broker cannot be made to answer: nothing is lost, nothing comes twice.

use std::time::{Duration, Instant};

use rdkafka::{
    mocking::{MockCluster, MockCoordinator},
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer},
};

use crate::{
    client::{Client, name},
    common::keyway::{Keyway, eventually},
    native::{connections_at, hang_up},
    world::{Setting, by_place, count, has_orders, is_read, orders, trigger, value},
};

/// The table of sentences that users read.
const TABLE: &str = include_str!("../../ingest/KAFKA.md");
/// Longer than the connect timeout: a broker that is gone is known to be missed by then, or not.
const WATCHED: Duration = Duration::from_secs(8);

const PARTITIONS: i32 = 2;

/// A cluster of two brokers with a topic, and a keyway that reads it.
struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
    setting: Setting,
    client: Client,
    server: Keyway,
    sent: i64,
    _home: tempfile::TempDir,
}

impl Mock {
    fn start() -> Self {
        let cluster = MockCluster::new(2).unwrap();
        let topic = name("mock");
        cluster.create_topic(&topic, PARTITIONS, 2).unwrap();
        let setting = Setting::at(&cluster.bootstrap_servers(), &topic);
        let client = Client::new(&cluster.bootstrap_servers());
        let home = tempfile::tempdir().unwrap();
        // A group of the mock waits 3 s for more members: a session must be longer.
        let session = "librdkafka: {session.timeout.ms: \"6000\", heartbeat.interval.ms: \"300\"}";
        let setting = setting.kafka(session);
        let server = setting.read(home.path(), PARTITIONS as usize);
        Self { cluster, setting, client, server, sent: 0, _home: home }
    }

    fn send(&mut self, count: i64) {
        for n in self.sent..self.sent + count {
            self.client.queue(&self.setting.topic, (n % 2) as i32, None, Some(&value(n)));
        }
        self.client.flush();
        self.sent += count;
    }

    /// Gives each partition to a broker, and the group to one.
    fn lead(&self, brokers: [i32; PARTITIONS as usize], group: i32) {
        let topic = &self.setting.topic;
        (0..PARTITIONS).zip(brokers).for_each(|(it, broker)| {
            self.cluster.partition_leader(topic, it, Some(broker)).unwrap();
        });
        self.cluster.coordinator(MockCoordinator::Group(self.setting.group.clone()), group).unwrap();
    }

    /// Takes the first of its brokers down, and waits until keyway has noticed.
    fn lose_the_first_broker(&self) {
        let address = self.cluster.bootstrap_servers().split(',').next().unwrap().to_owned();
        // Librdkafka says so of a broker that it has tried to come back to.
        let refused = || {
            let trace = self.server.trace();
            trace.lines().filter(|line| line.contains(&address) && line.contains("Connect to")).count()
        };
        let before = refused();
        let connections = connections_at(address.rsplit(':').next().unwrap().parse().unwrap());
        self.cluster.broker_down(1).unwrap();
        hang_up(&connections);
        eventually("it is noticed", || refused() > before);
    }

    /// Waits until all that was sent came in, once, and the group knows.
    fn all_came_once(&self) {
        has_orders(&self.server, self.sent as u64);
        let places = by_place(&self.server);
        assert!(places.values().all(|times| *times == 1));
        assert_eq!(places.len() as i64, self.sent);
        let each = Some(self.sent / i64::from(PARTITIONS));
        eventually("all is committed, and it is well", || {
            let seen = trigger(&self.server);
            let partitions = seen["partitions"].as_array().unwrap();
            let committed = partitions.iter().filter(|partition| partition["committed"].as_i64() == each);
            seen["state"] == "running" && committed.count() == PARTITIONS as usize
        });
    }
}

#[test]
fn errors_that_brokers_answer_for_a_while_neither_lose_nor_double_a_message() {
    let mut mock = Mock::start();
    let cases: [(Api, &[Answer]); 7] = [
        (
            Api::Fetch,
            &[Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, Answer::RD_KAFKA_RESP_ERR__TRANSPORT],
        ),
        (Api::Fetch, &[Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, Answer::RD_KAFKA_RESP_ERR_UNKNOWN]),
        (Api::Fetch, &[Answer::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE]),
        (
            Api::OffsetCommit,
            &[
                Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                Answer::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                Answer::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
            ],
        ),
        (Api::OffsetCommit, &[Answer::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION]),
        (Api::Heartbeat, &[Answer::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]),
        (Api::ListOffsets, &[Answer::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE]),
    ];
    for (api, answers) in cases {
        mock.send(10);
        mock.cluster.request_errors(api, answers);
        mock.send(10);
        mock.all_came_once();
        mock.cluster.clear_request_errors(api);
    }
}

#[test]
fn rights_that_are_missing_on_the_cluster_are_said_and_what_was_read_is_committed_when_they_are_given() {
    let mut mock = Mock::start();
    // Librdkafka asks again at once; keyway does so with what comes in next.
    let refused = [Answer::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 2];
    mock.cluster.request_errors(Api::OffsetCommit, &refused);
    mock.send(10);
    let error = || trigger(&mock.server)["last_error"].as_str().unwrap_or_default().to_owned();
    eventually("it is said", || error().contains("has not the rights that this needs on the cluster."));
    let said = error().replace("The user anonymous", "The user `USER`");
    assert!(TABLE.contains(&format!("| {} |", said.split_once(" (").unwrap().0)), "{said}");
    mock.cluster.clear_request_errors(Api::OffsetCommit);
    mock.send(10);
    mock.all_came_once();
}

#[test]
fn leaders_and_coordinators_that_move_and_brokers_that_go_are_followed() {
    let mut mock = Mock::start();
    for broker in [1, 2] {
        mock.send(10);
        mock.lead([broker; PARTITIONS as usize], broker);
        mock.send(10);
        mock.all_came_once();
    }
    mock.cluster.broker_down(-1).unwrap();
    eventually("it is failing", || trigger(&mock.server)["state"] == "failing");
    mock.cluster.broker_up(-1).unwrap();
    mock.cluster.broker_round_trip_time(-1, Duration::from_millis(200)).unwrap();
    mock.send(10);
    mock.all_came_once();
    is_read(&mock.server, PARTITIONS as usize);
}

#[test]
fn one_broker_of_several_that_goes_is_no_trouble_when_another_takes_over() {
    let mut mock = Mock::start();
    for (brokers, group) in [([1, 2], 2), ([1, 2], 1)] {
        mock.lead(brokers, group);
        mock.send(10);
        mock.all_came_once();
        mock.lose_the_first_broker();
        mock.lead([2, 2], 2);
        let begun = Instant::now();
        eventually("it is watched long enough", || {
            assert_eq!(trigger(&mock.server)["state"], "running", "{}", trigger(&mock.server));
            begun.elapsed() > WATCHED
        });
        mock.send(10);
        mock.all_came_once();
        mock.cluster.broker_up(1).unwrap();
    }
    assert_eq!(count(&mock.server, "Warned"), 0);
    assert!(trigger(&mock.server)["last_error"].is_null(), "{}", trigger(&mock.server));
}

#[test]
fn a_broker_that_takes_a_partition_along_is_said_and_the_others_are_read() {
    let mut mock = Mock::start();
    mock.send(10);
    mock.all_came_once();
    mock.lead([1, 2], 2);
    mock.send(10);
    mock.all_came_once();
    mock.lose_the_first_broker();
    eventually("it is said", || trigger(&mock.server)["state"] == "failing");
    let said = trigger(&mock.server)["last_error"].as_str().unwrap().to_owned();
    let (sentence, reason) = said.split_once(" (").unwrap();
    let sentence = sentence.replace("Partition 0", "Partition N").replace(&mock.setting.topic, "TOPIC");
    assert!(TABLE.contains(&format!("| {sentence} |")), "{said}");
    assert!(reason.contains("127.0.0.1"), "{said}");
    // A client that knows nothing of the broker that is gone.
    let client = Client::new(mock.cluster.bootstrap_servers().split(',').nth(1).unwrap());
    client.send(&mock.setting.topic, 1, None, Some(&value(0)));
    has_orders(&mock.server, 21);
    let begun = Instant::now();
    eventually("it is watched long enough", || {
        assert_eq!(trigger(&mock.server)["state"], "failing", "its broker is still missed");
        begun.elapsed() > WATCHED
    });
    assert_eq!(count(&mock.server, "Warned"), 1, "it is told once");
    mock.cluster.broker_up(1).unwrap();
    eventually("it is well again", || trigger(&mock.server)["state"] == "running");
    client.send(&mock.setting.topic, 0, None, Some(&value(0)));
    eventually("the rest comes", || orders(&mock.server) == 22);
}
