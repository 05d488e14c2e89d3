//! Where reading begins, and what happens when Kafka no longer has what was due.

use rdkafka::{mocking::MockCluster, types::RDKafkaApiKey as Api};
use serde_json::json;

use crate::{
    client::{Client, name},
    common::{
        code,
        fake::Fake,
        keyway::{Keyway, eventually},
        tool,
    },
    world::{Setting, by_place, count, events, go_on, has_orders, is_read, orders, trigger, value},
};

/// Sends so many messages to partition 0, with times that are a second apart.
fn fill(client: &Client, setting: &Setting, count: i64) {
    for n in 0..count {
        client.send_with(&setting.topic, b"k", &value(n), &[], 1_721_889_238_000 + n * 1_000);
    }
}

/// The offsets of partition 0 that came in.
fn offsets(server: &Keyway) -> Vec<i64> {
    by_place(server)
        .into_iter()
        .map(|((_, offset), times)| if times == 1 { offset } else { panic!("twice") })
        .collect()
}

fn error(server: &Keyway) -> String {
    trigger(server)["last_error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_gap_is_noticed_said_and_passed() {
    let (setting, client) = Setting::new("gap", 1);
    let home = tempfile::tempdir().unwrap();
    fill(&client, &setting, 3);
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 3);
    assert_eq!(server.stop().code(), Some(0));
    fill(&client, &setting, 7);
    client.forget(&setting.topic, 0, 6);
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 7);
    assert_eq!(offsets(&server), [0, 1, 2, 6, 7, 8, 9]);
    assert!(error(&server).contains("the offsets 3 to 5 of partition 0"), "{}", error(&server));
    assert_eq!(trigger(&server)["state"], "running");
    let moved = events(&server).into_iter().find(|event| event["reason"] == "gap").unwrap();
    assert_eq!((&moved["from"], &moved["next"], &moved["reason"]), (&json!(3), &json!(6), &json!("gap")));
}

#[test]
fn a_gap_is_told_to_people_and_a_second_one_within_the_embargo_is_shown_only() {
    let url = Fake::new(&[("POST /hook", 204, String::new())]);
    let (setting, client) = Setting::new("gap-told", 1);
    let setting = setting.told_at(&format!("{}/hook", url.url));
    let home = tempfile::tempdir().unwrap();
    fill(&client, &setting, 3);
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 3);
    assert_eq!(server.stop().code(), Some(0));
    for (round, (before, first, last)) in (1..).zip([(6, 3, 5), (12, 10, 11)]) {
        fill(&client, &setting, 7);
        client.forget(&setting.topic, 0, before);
        let server = setting.start(home.path(), &[]);
        let said = format!("the offsets {first} to {last} of partition 0");
        eventually("the gap is said", || error(&server).contains(&said));
        eventually("the messages behind it came in", || trigger(&server)["partitions"][0]["lag"] == 0);
        eventually("it is told", || count(&server, "Noticed") == 1);
        assert_eq!(count(&server, "Warned"), 1);
        let moves = events(&server).iter().filter(|event| event["reason"] == "gap").count();
        assert_eq!(moves, round, "each gap is an event");
        assert_eq!(server.stop().code(), Some(0));
    }
    let asked = url.asked();
    assert_eq!(asked.len(), 1);
    let told: serde_json::Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!((&told["kind"], &told["workflow"]), (&json!("gap"), &json!("orders")));
    assert!(told["message"].as_str().unwrap().contains("the offsets 3 to 5"), "{told}");
}

#[test]
fn a_gap_stops_a_trigger_that_says_so_until_it_says_otherwise() {
    let (setting, client) = Setting::new("stop", 1);
    let setting = setting.trigger("on_gap: stop");
    let home = tempfile::tempdir().unwrap();
    fill(&client, &setting, 3);
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 3);
    assert_eq!(server.stop().code(), Some(0));
    fill(&client, &setting, 7);
    client.forget(&setting.topic, 0, 6);
    let server = setting.start(home.path(), &[]);
    eventually("it stopped", || trigger(&server)["state"] == "failing");
    assert!(error(&server).contains("on_gap"), "{}", error(&server));
    // It stays in sight where it stopped.
    eventually("what waits behind the gap is counted", || trigger(&server)["partitions"][0]["lag"] == 7);
    let partition = trigger(&server)["partitions"][0].clone();
    assert_eq!((&partition["position"], &partition["paused"]), (&json!(3), &json!(true)));
    has_orders(&server, 3);
    go_on(&server, &setting, home.path());
    has_orders(&server, 7);
}

/// What an answer to one fetch brings at most, but for one batch; no more is fetched ahead.
const FETCHED_BYTES: usize = 1_000;

#[test]
fn messages_that_kafka_throws_away_while_their_trigger_waits_for_room_are_a_gap_when_it_goes_on() {
    let (setting, client) = Setting::new("waited", 1);
    let few = format!("queued.min.messages: \"1\", fetch.message.max.bytes: \"{FETCHED_BYTES}\"");
    let setting = setting.kafka(&format!("librdkafka: {{{few}, session.timeout.ms: \"1000\"}}"));
    let setting = setting.trigger("in_flight_max: 5");
    let home = tempfile::tempdir().unwrap();
    fill(&client, &setting, 100);
    let server = setting.start(home.path(), &["--executors", "0"]);
    eventually("it waits", || trigger(&server)["state"] == "paused" && orders(&server) == 5);
    client.forget(&setting.topic, 0, 90);
    // One open run after the other makes room.
    let line = ["runs", "cancel", "--all", "--server", &server.api];
    eventually("it came to the end", || {
        assert_eq!(code(&tool().args(line).output().unwrap()), 0);
        offsets(&server).last() == Some(&99)
    });
    let came = offsets(&server);
    let first = came.iter().position(|offset| *offset == 90).unwrap();
    assert_eq!(came[first..], (90..100).collect::<Vec<_>>());
    // Those that were fetched before are no part of it.
    assert_eq!(came[..first], (0..first as i64).collect::<Vec<_>>());
    assert!((5..50).contains(&first), "{first} were fetched before");
    let moved = events(&server).into_iter().find(|event| event["reason"] == "gap").unwrap();
    assert_eq!((&moved["from"], &moved["next"]), (&json!(first), &json!(90)));
    let said = format!("the offsets {first} to 89 of partition 0");
    assert!(error(&server).contains(&said), "{}", error(&server));
}

#[test]
fn a_topic_that_was_made_again_is_another_stream_and_loses_nothing() {
    let (setting, client) = Setting::new("again", 1);
    let url = Fake::new(&[("POST /hook", 204, String::new())]);
    let setting = setting.trigger("on_gap: stop").told_at(&format!("{}/hook", url.url));
    let home = tempfile::tempdir().unwrap();
    fill(&client, &setting, 5);
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 5);
    assert_eq!(server.stop().code(), Some(0));
    // More messages than were read of the old one: by the numbers alone it would look like the same.
    client.delete_topic(&setting.topic);
    client.make_topic(&setting.topic, 1);
    fill(&client, &setting, 8);
    let server = setting.start(home.path(), &[]);
    eventually("it stopped", || trigger(&server)["state"] == "failing");
    for said in ["re-created", "on_gap"] {
        assert!(error(&server).contains(said), "{}", error(&server));
    }
    eventually("it is told", || count(&server, "Noticed") == 1);
    assert!(url.asked()[0].body.contains("re-created"), "{}", url.asked()[0].body);
    assert_eq!(orders(&server), 5);
    go_on(&server, &setting, home.path());
    has_orders(&server, 13);
    eventually("it is well", || trigger(&server)["state"] == "running");
}

#[test]
fn a_topic_that_is_made_again_while_it_is_read_is_noticed_and_read_from_its_first_message() {
    let (setting, client) = Setting::new("anew", 2);
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 2);
    fill(&client, &setting, 5);
    has_orders(&server, 5);
    let client = Client::new(&setting.hosts);
    client.delete_topic(&setting.topic);
    client.make_topic(&setting.topic, 2);
    fill(&client, &setting, 8);
    has_orders(&server, 13);
    assert!(events(&server).iter().any(|event| event["reason"] == "recreated"));
    assert!(error(&server).contains("re-created"), "{}", error(&server));
    eventually("it is well", || trigger(&server)["state"] == "running");
    client.send(&setting.topic, 1, None, Some(&value(0)));
    has_orders(&server, 14);
    eventually("the group is told", || {
        client.committed(&setting.group, &setting.topic, 2) == [Some(8), Some(1)]
    });
}

#[test]
fn reading_begins_at_a_time_before_the_beginning_or_past_the_end() {
    for (policy, expected) in [
        ("'1721889240500'", vec![3, 4, 5]),
        ("'1000000000000'", vec![0, 1, 2, 3, 4, 5]),
        ("'1900000000000'", vec![5]),
        ("latest", vec![5]),
    ] {
        let (setting, client) = Setting::new("time", 1);
        let setting = setting.kafka(&format!("initial_offset_reset_policy: {policy}"));
        let home = tempfile::tempdir().unwrap();
        fill(&client, &setting, 5);
        let server = setting.read(home.path(), 1);
        // What comes while nobody reads is not forgotten, though nothing was read before.
        server.kill();
        client.send(&setting.topic, 0, None, Some(&value(5)));
        let server = setting.start(home.path(), &[]);
        has_orders(&server, expected.len() as u64);
        assert_eq!(offsets(&server), expected, "{policy}");
    }
}

#[test]
fn partitions_that_are_added_later_are_read_from_their_first_message() {
    let (setting, client) = Setting::new("added", 1);
    let fast = "librdkafka: {topic.metadata.refresh.interval.ms: \"1000\", session.timeout.ms: \"1000\", heartbeat.interval.ms: \"300\"}";
    let setting = setting.kafka("initial_offset_reset_policy: latest").kafka(fast);
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 1);
    client.add_partitions(&setting.topic, 2);
    // A client that has not heard of the topic yet.
    let client = Client::new(&setting.hosts);
    (0..2).for_each(|partition| client.send(&setting.topic, partition, None, Some(&value(0))));
    is_read(&server, 2);
    has_orders(&server, 2);
    assert_eq!(by_place(&server).into_keys().collect::<Vec<_>>(), [(0, 0), (1, 0)]);
}

#[test]
fn a_topic_whose_id_kafka_tells_later_or_no_more_is_the_same_topic_and_comes_once() {
    let cluster = MockCluster::new(1).unwrap();
    let topic = name("named");
    cluster.create_topic(&topic, 1, 1).unwrap();
    // Metadata has ids of topics from version 10 on, and fetches name topics by them from 13 on.
    let ids = |told: bool| {
        let (metadata, fetch) = if told { (12, 16) } else { (9, 11) };
        cluster.apiversion(Api::Metadata, Some(0), Some(metadata)).unwrap();
        cluster.apiversion(Api::Fetch, Some(0), Some(fetch)).unwrap();
    };
    // A group of the mock waits 3 s for more members: a session must be longer.
    let session = "librdkafka: {session.timeout.ms: \"6000\", heartbeat.interval.ms: \"300\"}";
    let setting = Setting::at(&cluster.bootstrap_servers(), &topic).kafka(session);
    let client = Client::new(&setting.hosts);
    let home = tempfile::tempdir().unwrap();
    let send = |count: i64| (0..count).for_each(|n| client.send(&topic, 0, None, Some(&value(n))));
    ids(false);
    send(4);
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 4);
    assert_eq!(server.stop().code(), Some(0));
    ids(true);
    send(2);
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 6);
    let streams = |server: &Keyway| {
        let moved = events(server).into_iter().filter(|event| event["kind"] == "StreamMoved");
        moved.map(|event| event["stream"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let begun = format!("{topic}/-/0");
    assert!(streams(&server).contains(&begun), "{:?}", streams(&server));
    let is_named = |stream: &String| stream.ends_with("/0") && *stream != begun;
    assert!(streams(&server).iter().any(is_named), "{:?}", streams(&server));
    assert_eq!(error(&server), "");
    assert_eq!(server.stop().code(), Some(0));
    ids(false);
    send(2);
    let server = setting.start(home.path(), &[]);
    eventually("it waits for the id", || error(&server).contains("tells no id"));
    assert_eq!(orders(&server), 6);
    ids(true);
    cluster.broker_down(1).unwrap();
    cluster.broker_up(1).unwrap();
    has_orders(&server, 8);
    assert_eq!(offsets(&server), (0..8).collect::<Vec<_>>());
}
