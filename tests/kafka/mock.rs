//! Librdkafka's mock cluster answers what a real broker cannot be made to answer: nothing is lost, nothing comes twice.

use std::time::Duration;

use rdkafka::{
    mocking::{MockCluster, MockCoordinator},
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer},
};

use crate::{
    client::{Client, name},
    common::keyway::{Keyway, eventually},
    world::{Setting, by_place, has_orders, is_read, trigger, value},
};

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
fn leaders_and_coordinators_that_move_and_brokers_that_go_are_followed() {
    let mut mock = Mock::start();
    let (topic, group) = (mock.setting.topic.clone(), mock.setting.group.clone());
    for broker in [1, 2] {
        mock.send(10);
        (0..PARTITIONS).for_each(|it| mock.cluster.partition_leader(&topic, it, Some(broker)).unwrap());
        mock.cluster.coordinator(MockCoordinator::Group(group.clone()), broker).unwrap();
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
