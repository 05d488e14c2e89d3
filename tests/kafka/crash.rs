//! A keyway and a broker that are killed (-9) while messages flow.
//!
//! `KEYWAY_TEST_KAFKA_MESSAGES=N` says how many messages flow.

use serde_json::json;

use crate::{
    broker::Broker,
    client::Client,
    common::keyway::eventually,
    told::Told,
    world::{Setting, is_idle, is_read, orders},
};

const PARTITIONS: i32 = 8;
const KEYS: i64 = 500;
const MESSAGES: i64 = 200_000;
/// How many messages come in before each kill: never the same point of a turn, nor between two commits, twice.
const TAKEN_BEFORE_KILL: [u64; 12] = [1, 700, 33, 2_500, 1, 150, 4_000, 17, 333, 1_500, 60, 900];
const KILLS_OF_THE_BROKER: [usize; 2] = [3, 8];

#[test]
fn whatever_is_killed_each_message_becomes_one_work_order_and_keys_keep_their_order() {
    let count = std::env::var("KEYWAY_TEST_KAFKA_MESSAGES").map_or(MESSAGES, |count| count.parse().unwrap());
    let mut broker = Broker::start();
    let client = Client::new(&broker.address());
    let setting = Setting::on(&broker.address(), "crash", PARTITIONS);
    let home = tempfile::tempdir().unwrap();
    let mut server = setting.start(home.path(), &[]);
    let mut told = Told::default();
    let rounds = TAKEN_BEFORE_KILL.len() as i64;
    for (round, taken) in (0..).zip(TAKEN_BEFORE_KILL) {
        send(&client, &setting.topic, round * count / rounds..(round + 1) * count / rounds);
        let before = orders(&server);
        eventually("some came in", || orders(&server) >= (before + taken).min(count as u64 / 2));
        if KILLS_OF_THE_BROKER.contains(&(round as usize)) {
            broker.kill();
            broker.restart();
        }
        server.kill();
        client.flush();
        told.read(home.path());
        told.is_not_behind(client.committed(&setting.group, &setting.topic, PARTITIONS));
        server = setting.start(home.path(), &[]);
        is_read(&server, PARTITIONS as usize);
    }
    assert_eq!(client.count(&setting.topic, PARTITIONS), count, "the broker has each message once");
    let mut seen = orders(&server);
    while seen < count as u64 {
        let before = seen;
        eventually("more came in", || {
            seen = orders(&server);
            seen > before
        });
    }
    is_idle(&server);
    let shown = orders(&server);
    assert_eq!(server.stop().code(), Some(0));
    told.read(home.path());
    told.has_each_once(count);
    assert_eq!(shown, count as u64);
    assert_eq!(told.keys.len() as i64, KEYS.min(count));
}

/// Sends these messages, each key always to the same partition.
fn send(client: &Client, topic: &str, numbers: std::ops::Range<i64>) {
    for n in numbers {
        let (key, body) = (format!("k{}", n % KEYS), json!({ "n": n }).to_string());
        let partition = (n % KEYS) as i32 % PARTITIONS;
        client.queue(topic, partition, Some(key.as_bytes()), Some(body.as_bytes()));
    }
}
