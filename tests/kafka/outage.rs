//! A broker that hangs, a disk that is full, transactions that come to nothing: nothing is lost, nothing is made up.

use std::{
    fs,
    net::TcpListener,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::mocking::MockCluster;
use serde_json::json;

use crate::{
    broker::Broker,
    client::{Client, name},
    common::{
        disk::Disk,
        fake::Fake,
        keyway::{Keyway, eventually},
    },
    world::{Setting, by_place, count, events, go_on, has_orders, is_read, orders, received, trigger, value},
};

#[test]
fn a_broker_that_hangs_is_said_in_time_and_reading_goes_on_when_it_is_back() {
    let broker = Broker::start();
    let setting = Setting::on(&broker.address(), "hangs", 1);
    let client = Client::new(&broker.address());
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 1);
    client.send(&setting.topic, 0, None, Some(&value(0)));
    has_orders(&server, 1);
    broker.signal("STOP");
    let stopped = Instant::now();
    eventually("it is failing", || trigger(&server)["state"] == "failing");
    // The connect timeout of 5 s, and 10 s.
    assert!(stopped.elapsed() < Duration::from_secs(15), "{:?}", stopped.elapsed());
    assert!(trigger(&server)["last_error"].as_str().unwrap().contains(&broker.address()));
    broker.signal("CONT");
    client.send(&setting.topic, 0, None, Some(&value(1)));
    has_orders(&server, 2);
    eventually("it is well", || trigger(&server)["state"] == "running");
}

/// Longer than it takes until topics are looked at again: that must not be what keeps on connecting.
const WATCHED: Duration = Duration::from_secs(12);
/// Connects of one trigger in a second: those for the group, for the partition, and for any news, each with pauses.
const CONNECTS_PER_SECOND_MAX: u32 = 15;

/// CPU that a process has used.
fn cpu(server: &Keyway) -> Duration {
    let text = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    // In hundredths of a second, in the program and in the kernel for it.
    Duration::from_millis(fields[11..13].iter().map(|ticks| 10 * ticks.parse::<u64>().unwrap()).sum())
}

#[test]
fn a_broker_that_is_gone_for_good_is_sought_with_pauses_and_costs_next_to_nothing() {
    let cluster = MockCluster::new(1).unwrap();
    let (address, topic) = (cluster.bootstrap_servers(), name("gone"));
    cluster.create_topic(&topic, 1, 1).unwrap();
    let session = "librdkafka: {session.timeout.ms: \"6000\", heartbeat.interval.ms: \"300\"}";
    let setting = Setting::at(&address, &topic).kafka(session);
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 1);
    drop(cluster);
    // What has its port now hangs up at once.
    let mut listener = None;
    eventually("the port is free", || {
        listener = TcpListener::bind(&address).ok();
        listener.is_some()
    });
    let connects = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&connects);
    thread::spawn(move || {
        for _ in listener.unwrap().incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    eventually("it is failing", || trigger(&server)["state"] == "failing");
    let (begun, used, seen) = (Instant::now(), cpu(&server), connects.load(Ordering::Relaxed));
    eventually("it is watched long enough", || begun.elapsed() > WATCHED);
    let (used, seen) = (cpu(&server) - used, connects.load(Ordering::Relaxed) - seen);
    assert!(seen > 0, "it is sought");
    assert!(seen < CONNECTS_PER_SECOND_MAX * WATCHED.as_secs() as u32, "{seen} connects in {WATCHED:?}");
    assert!(used < WATCHED / 10, "{used:?} of CPU in {WATCHED:?}");
}

/// Lets a broker lose some of the ten messages of a topic; gives a client of the one that comes back, and how many are left.
fn lose_the_last(broker: &mut Broker, topic: &str) -> (Client, i64) {
    broker.kill();
    broker.truncate(topic, 0);
    broker.restart();
    let client = Client::new(&broker.address());
    let end = client.count(topic, 1);
    assert!((1..10).contains(&end), "{end} messages are left");
    (client, end)
}

/// The trigger stops where its ten messages were cut, says so, and then reads the twenty that came behind the cut.
fn is_noticed(server: &Keyway, setting: &Setting, home: &Path, end: i64) {
    let error = || trigger(server)["last_error"].as_str().unwrap_or_default().to_owned();
    eventually("it stopped", || error().contains("on_gap"));
    assert!(error().contains("was truncated"), "{}", error());
    assert_eq!(orders(server), 10);
    go_on(server, setting, home);
    has_orders(server, 30);
    let bodies: Vec<_> = received(server).iter().map(|event| event["body"]["n"].as_i64()).collect();
    assert_eq!(bodies, (0..30).map(Some).collect::<Vec<_>>());
    let events = events(server);
    let moved = events.iter().find(|event| event["reason"] == "truncated").unwrap();
    assert_eq!((&moved["from"], &moved["next"]), (&json!(10), &json!(end)));
}

#[test]
fn a_broker_that_lost_its_last_messages_is_noticed_and_what_comes_then_is_read() {
    let mut broker = Broker::start();
    let url = Fake::new(&[("POST /hook", 204, String::new())]);
    let setting = Setting::on(&broker.address(), "truncated", 1).told_at(&format!("{}/hook", url.url));
    let setting = setting.trigger("on_gap: stop");
    let client = Client::new(&broker.address());
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 1);
    (0..10).for_each(|n| client.send(&setting.topic, 0, None, Some(&value(n))));
    has_orders(&server, 10);
    assert_eq!(server.stop().code(), Some(0));
    let (client, _) = lose_the_last(&mut broker, &setting.topic);
    // Fewer than were lost: by its number the last of them looks as if it had been read.
    (0..2).for_each(|n| client.send(&setting.topic, 0, None, Some(&value(10 + n))));
    let server = setting.start(home.path(), &[]);
    eventually("it stopped", || trigger(&server)["state"] == "failing");
    let error = trigger(&server)["last_error"].as_str().unwrap().to_owned();
    assert!(error.contains("was truncated"), "{error}");
    assert!(error.contains("on_gap"), "{error}");
    eventually("it is told", || count(&server, "Noticed") == 1);
    assert!(url.asked()[0].body.contains("was truncated"), "{}", url.asked()[0].body);
    assert_eq!(orders(&server), 10);
    go_on(&server, &setting, home.path());
    has_orders(&server, 12);
    let bodies: Vec<_> = received(&server).iter().map(|event| event["body"]["n"].as_i64()).collect();
    assert_eq!(bodies, (0..12).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_broker_that_lost_its_last_messages_and_has_more_again_is_noticed_and_read_from_where_it_was_cut() {
    // The group gives the partition back meanwhile, or does not: librdkafka says by itself what was lost, or is asked.
    for session in ["1000", "60000"] {
        let mut broker = Broker::start();
        let session = format!("{{session.timeout.ms: \"{session}\", heartbeat.interval.ms: \"300\"}}");
        let setting = Setting::on(&broker.address(), "refilled", 1).kafka(&format!("librdkafka: {session}"));
        let setting = setting.trigger("on_gap: stop");
        let client = Client::new(&broker.address());
        let home = tempfile::tempdir().unwrap();
        let server = setting.read(home.path(), 1);
        (0..10).for_each(|n| client.send(&setting.topic, 0, None, Some(&value(n))));
        has_orders(&server, 10);
        server.signal("STOP");
        let (client, end) = lose_the_last(&mut broker, &setting.topic);
        // By their numbers the first of them look as if they had been read, and by their times all.
        (10..30).for_each(|n| client.send_with(&setting.topic, b"k", &value(n), &[], 1_721_889_238_000));
        server.signal("CONT");
        is_noticed(&server, &setting, home.path(), end);
    }
}

#[test]
fn a_broker_that_lost_its_last_messages_and_has_more_again_is_noticed_though_keyway_was_down() {
    let mut broker = Broker::start();
    let setting = Setting::on(&broker.address(), "unseen", 1).trigger("on_gap: stop");
    let client = Client::new(&broker.address());
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 1);
    (0..10).for_each(|n| client.send(&setting.topic, 0, None, Some(&value(n))));
    has_orders(&server, 10);
    assert_eq!(server.stop().code(), Some(0));
    let (client, end) = lose_the_last(&mut broker, &setting.topic);
    (10..30).for_each(|n| client.send(&setting.topic, 0, None, Some(&value(n))));
    let server = setting.start(home.path(), &[]);
    is_noticed(&server, &setting, home.path(), end);
}

/// Where each batch of a segment file begins, and the offsets that are in it.
fn batches(segment: &[u8]) -> Vec<(usize, Range<i64>)> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < segment.len() {
        let number = |at: usize, bytes: usize| {
            let bytes = &segment[start + at..start + at + bytes];
            bytes.iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
        };
        let (first, length, last) = (number(0, 8), number(8, 4), number(23, 4));
        found.push((start, first..first + last + 1));
        start += 12 + length as usize;
    }
    found
}

/// Where in a batch its version is, and where its messages begin.
const VERSION_AT: usize = 16;
const MESSAGES_AT: usize = 61;

#[test]
fn messages_that_are_damaged_in_kafka_are_named_and_all_others_come() {
    // A checksum that librdkafka looks at if it is told to; what cannot be decompressed; a version that does not exist, behind
    // which librdkafka finds nothing more.
    for (of, compression, check, at) in [
        ("checksum", "producer", "true", MESSAGES_AT + 10),
        ("gzip", "gzip", "false", MESSAGES_AT + 10),
        ("version", "producer", "false", VERSION_AT),
    ] {
        let mut broker = Broker::start();
        let topic = name(of);
        let client = Client::new(&broker.address());
        client.make_topic_with(&topic, 1, &[("compression.type", compression)]);
        let setting = Setting::at(&broker.address(), &topic).kafka(&format!(
            "librdkafka: {{check.crcs: \"{check}\", session.timeout.ms: \"1000\", heartbeat.interval.ms: \"300\"}}"
        ));
        let home = tempfile::tempdir().unwrap();
        let server = setting.read(home.path(), 1);
        (0..3).for_each(|n| client.send(&topic, 0, None, Some(&value(n))));
        has_orders(&server, 3);
        assert_eq!(server.stop().code(), Some(0));
        (3..30).for_each(|n| client.queue(&topic, 0, None, Some(&value(n))));
        client.flush();
        client.send(&topic, 0, None, Some(&value(30)));
        // A broker that ends in order does not look through its files when it begins.
        broker.signal("TERM");
        let data = broker.authority().parent().unwrap().join("data");
        eventually("it ended", || data.join(".kafka_cleanshutdown").exists());
        broker.kill();
        let path = data.join(format!("{topic}-0/00000000000000000000.log"));
        let mut segment = fs::read(&path).unwrap();
        let all = batches(&segment);
        let (start, damaged) = all.iter().find(|(_, offsets)| offsets.contains(&10)).unwrap();
        segment[start + at] ^= 0x55;
        fs::write(&path, &segment).unwrap();
        broker.restart();
        let server = setting.start(home.path(), &[]);
        let error = || trigger(&server)["last_error"].as_str().unwrap_or_default().to_owned();
        if of == "version" {
            eventually("it stands", || {
                error().contains(&format!("MagicByte 87 at offset {}", damaged.start))
            });
            assert_eq!(trigger(&server)["state"], "failing");
            assert_eq!(orders(&server), 3);
            client.forget(&topic, 0, damaged.end);
        }
        let lost = damaged.end - damaged.start;
        has_orders(&server, 31 - lost as u64);
        let came: Vec<i64> = by_place(&server).into_keys().map(|(_, offset)| offset).collect();
        let others: Vec<i64> = (0..31).filter(|offset| !damaged.contains(offset)).collect();
        assert_eq!(came, others, "{of}");
        let said = format!("the offsets {} to {} of partition 0", damaged.start, damaged.end - 1);
        assert!(error().contains(&said), "{of}: {}", error());
        assert_eq!(error().contains("damaged"), of != "version", "{}", error());
        let events = events(&server);
        let moved = events.iter().find(|event| event["reason"] == "gap").unwrap();
        assert_eq!((&moved["from"], &moved["next"]), (&json!(damaged.start), &json!(damaged.end)), "{of}");
    }
}

#[test]
fn transactions_that_were_aborted_never_come_in_and_leave_no_lag() {
    let (setting, client) = Setting::new("transactions", 1);
    let sent: [(&[u8], bool); 3] = [(b"{\"n\":1}", true), (b"{\"n\":2}", false), (b"{\"n\":3}", true)];
    client.send_in_transactions(&setting.topic, &sent);
    let home = tempfile::tempdir().unwrap();
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 2);
    let bodies: Vec<_> = received(&server).iter().map(|event| event["body"]["n"].as_u64()).collect();
    assert_eq!(bodies, [Some(1), Some(3)]);
    // Each has a marker behind it: six offsets in all.
    eventually("there is no lag", || {
        let seen = trigger(&server)["partitions"][0].clone();
        seen["lag"] == 0 && seen["high_watermark"] == 6
    });
}

#[test]
fn while_the_disk_is_full_messages_wait_in_kafka_and_nothing_is_committed() {
    let (setting, client) = Setting::new("full", 1);
    let Some(disk) = Disk::mount(&setting.project()) else { return };
    let flags = ["--shards", "1", "--executors", "1"];
    let server = Keyway::start_with(disk.path(), &flags, &[("KAFKA_TRIGGERS_ENABLED", "yes")]);
    is_read(&server, 1);
    // Large, so that what the log was promised before is soon used up.
    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(200_000));
    let mut count = 0;
    eventually("it waits", || {
        disk.fill();
        client.send(&setting.topic, 0, None, Some(large.as_bytes()));
        count += 1;
        let seen = trigger(&server);
        seen["state"] == "failing" && seen["last_error"].as_str().unwrap_or_default().contains("disk")
    });
    let taken = orders(&server);
    assert!(taken < count);
    let committed = client.committed(&setting.group, &setting.topic, 1)[0].unwrap_or(0);
    assert!(committed as u64 <= taken, "{committed} of {taken} durable messages are committed");
    disk.make_room();
    eventually("all came in", || orders(&server) == count);
    assert_eq!(by_place(&server).len() as u64, count);
    eventually("it is well", || trigger(&server)["state"] == "running");
}
