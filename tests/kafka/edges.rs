//! The six sharp edges that OpenFn documented of its Kafka triggers, each turned into something that a user can rely on.
//!
//! Three of them have their tests elsewhere: reprocessing with the replays, order with concurrency in `order`, and errors
//! that nobody sees in `trouble`.

use serde_json::json;

use crate::{
    client::Client,
    common::{
        code,
        keyway::{Keyway, eventually},
        stderr, tool,
    },
    world::{
        OTHER, Setting, TRIGGER, all, by_place, has_orders, is_read, orders, other, status, trigger, value,
    },
};

#[test]
fn sharp_edge_settings_only_per_instance_each_trigger_has_its_own() {
    let (setting, client) = Setting::new("own", 1);
    (0..3).for_each(|n| client.send(&setting.topic, 0, None, Some(&value(n))));
    // A second trigger on the same topic, whose own settings are refused by librdkafka.
    let other_setting = Setting::at(&setting.hosts, &setting.topic).kafka("librdkafka: {no.such.key: \"1\"}");
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), setting.beside(&other_setting)).unwrap();
    let server = Keyway::start_with(home.path(), &["--shards", "2"], &[("KAFKA_TRIGGERS_ENABLED", "yes")]);
    has_orders(&server, 3);
    let failing = other(&server);
    assert_eq!(failing["state"], "failing");
    assert!(failing["last_error"].as_str().unwrap().contains("no.such.key"), "{failing}");
    assert_eq!(trigger(&server)["state"], "running");
    assert_eq!(server.stop().code(), Some(0));

    // Two on one topic, each with a bound of its own; nothing is executed.
    let [two, three] = [2, 3].map(|most| {
        let setting = Setting::at(&setting.hosts, &setting.topic).trigger(&format!("in_flight_max: {most}"));
        Setting { group: format!("{}-{most}", setting.group), ..setting }
    });
    (3..9).for_each(|n| client.send(&setting.topic, 0, None, Some(&value(n))));
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), two.beside(&three)).unwrap();
    let flags = ["--shards", "2", "--executors", "0"];
    let server = Keyway::start_with(home.path(), &flags, &[("KAFKA_TRIGGERS_ENABLED", "yes")]);
    eventually("each has as many as it may, and the rest waits", || {
        let seen = [trigger(&server), other(&server)];
        let lags = [&seen[0], &seen[1]].map(|seen| seen["partitions"][0]["lag"].as_u64());
        lags == [Some(7), Some(6)] && seen.iter().all(|seen| seen["state"] == "paused")
    });
    for (id, count) in [(TRIGGER, 2), (OTHER, 3)] {
        assert_eq!(all(&server, &format!("/api/work_orders?trigger_id={id}")).len(), count);
    }
}

#[test]
fn sharp_edge_a_message_that_fails_is_lost_it_is_kept_and_only_then_committed() {
    let (setting, client) = Setting::new("kept", 1);
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 1);
    client.send(&setting.topic, 0, Some(b"k"), Some(b"oops"));
    eventually("it is committed", || client.committed(&setting.group, &setting.topic, 1) == [Some(1)]);
    assert_eq!(trigger(&server)["dead_letters"], 1);
    // A crash changes nothing.
    server.kill();
    let server = setting.read(home.path(), 1);
    assert_eq!(status(&server)["dead_letters"], 1);
    assert_eq!(orders(&server), 0);
}

#[test]
fn sharp_edge_duplicates_after_offsets_expire_our_log_knows_where_it_was() {
    let (setting, client) = Setting::new("expired", 2);
    let home = tempfile::tempdir().unwrap();
    for partition in 0..2 {
        (0..10).for_each(|n| client.queue(&setting.topic, partition, None, Some(&value(n))));
    }
    client.flush();
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 20);
    assert_eq!(server.stop().code(), Some(0));
    // The group is forgotten, as after `offsets.retention.minutes`.
    client.delete_group(&setting.group);
    client.send(&setting.topic, 0, None, Some(&value(10)));
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 21);
    assert_eq!(server.stop().code(), Some(0));
    // An operator sets it back.
    client.reset_group(&setting.group, &setting.topic, 0, 3);
    client.send(&setting.topic, 0, None, Some(&value(11)));
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 22);
    eventually("the group is told again", || {
        client.committed(&setting.group, &setting.topic, 2) == [Some(12), Some(10)]
    });
    assert_eq!(server.stop().code(), Some(0));
    // And forward, over messages that nobody has read yet.
    (12..15).for_each(|n| client.queue(&setting.topic, 0, None, Some(&value(n))));
    client.flush();
    client.reset_group(&setting.group, &setting.topic, 0, 15);
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 25);
    assert!(by_place(&server).values().all(|times| *times == 1));
}

#[test]
fn open_runs_never_exceed_in_flight_max_and_the_rest_waits_in_kafka() {
    let (setting, client) = Setting::new("bound", 2);
    let setting = setting.trigger("in_flight_max: 5");
    let home = tempfile::tempdir().unwrap();
    for partition in 0..2 {
        (0..20).for_each(|n| client.queue(&setting.topic, partition, None, Some(&value(n))));
    }
    client.flush();
    for _ in 0..2 {
        // Nothing is executed: what came in stays open, also over a restart and after a rebuild.
        let server = setting.start(home.path(), &["--executors", "0"]);
        eventually("it is paused", || {
            let seen = trigger(&server);
            let lag = |index: usize| seen["partitions"][index]["lag"].as_u64();
            seen["state"] == "paused" && lag(0).zip(lag(1)).is_some_and(|(one, two)| one + two == 35)
        });
        assert_eq!(orders(&server), 5);
        assert_eq!(trigger(&server)["partitions"][0]["paused"], true);
        assert_eq!(server.stop().code(), Some(0));
        for command in ["verify", "rebuild"] {
            let output =
                tool().arg(command).arg("--data-dir").arg(home.path().join("data")).output().unwrap();
            assert_eq!(code(&output), 0, "{command}: {}", stderr(&output));
        }
    }
    let server = setting.start(home.path(), &[]);
    let mut most = 0;
    eventually("all came in", || {
        let runs = status(&server)["runs"].clone();
        let open: u64 =
            ["available", "claimed", "started"].iter().filter_map(|state| runs[*state].as_u64()).sum();
        most = most.max(open);
        orders(&server) == 40 && open == 0
    });
    assert!(most <= 5, "{most} runs were open");
    eventually("it goes on", || trigger(&server)["state"] == "running");
}

/// Memory of a trigger that waits for room: what librdkafka has fetched ahead, the answer to one fetch, and some for all
/// that holds them.
const WAITING_BYTES_MAX: u64 = 64 << 20;

#[test]
fn a_trigger_that_waits_for_room_lets_others_go_on_and_no_backlog_grows_memory() {
    let (setting, client) = Setting::new("slow", 2);
    let (free, _) = Setting::new("free", 1);
    let setting = setting.trigger("in_flight_max: 5");
    // 150 MB of them are twice what may wait here.
    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(250_000));
    for n in 0..600 {
        client.queue(&setting.topic, n % 2, None, Some(large.as_bytes()));
        client.queue(&free.topic, 0, None, Some(&value(i64::from(n))));
    }
    client.flush();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), setting.beside(&free)).unwrap();
    // Nothing is executed: what came in stays open.
    let flags = ["--shards", "2", "--executors", "0"];
    let server = Keyway::start_with(home.path(), &flags, &[("KAFKA_TRIGGERS_ENABLED", "yes")]);
    let before = server.memory_bytes();
    has_orders(&server, 605);
    eventually("one waits, the other does not", || {
        trigger(&server)["state"] == "paused" && other(&server)["state"] == "running"
    });
    client.send(&free.topic, 0, None, Some(&value(600)));
    has_orders(&server, 606);
    eventually("the lags are told", || {
        let lags = trigger(&server)["partitions"].clone();
        let lag = |index: usize| lags[index]["lag"].as_u64().unwrap_or(0);
        lag(0) + lag(1) == 595 && other(&server)["partitions"][0]["lag"] == 0
    });
    let grown = server.memory_bytes_max().saturating_sub(before);
    assert!(grown < WAITING_BYTES_MAX, "{} MiB more than before", grown >> 20);
}

/// Memory of large messages on their way to the log, and of what the log holds of them at once: where files are written more
/// slowly than messages come, five memtables of each shard before it waits, and those that are about to be freed.
const FLOWING_BYTES_MAX: u64 = 512 << 20;
/// Messages of a million bytes that are sent: more than that.
const FLOWING: i32 = 800;

#[test]
fn large_messages_that_flow_in_at_full_speed_take_no_more_memory_than_is_set_aside_for_them() {
    let (setting, client) = Setting::new("large", 2);
    // As much as may be sent by default, and nothing that waits for room.
    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(1_000_000));
    for n in 0..FLOWING {
        client.queue(&setting.topic, n % 2, None, Some(large.as_bytes()));
    }
    client.flush();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), setting.project()).unwrap();
    let flags = ["--shards", "2", "--executors", "0"];
    let server = Keyway::start_with(home.path(), &flags, &[("KAFKA_TRIGGERS_ENABLED", "yes")]);
    let before = server.memory_bytes();
    has_orders(&server, FLOWING as u64);
    let grown = server.memory_bytes_max().saturating_sub(before);
    assert!(grown < FLOWING_BYTES_MAX, "{} MiB more than before", grown >> 20);
}

#[test]
fn a_trigger_is_switched_off_on_and_changed_while_the_server_runs() {
    let (setting, client) = Setting::new("switch", 1);
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 1);
    let switch = |how: &str| {
        let output = tool().args(["triggers", how, TRIGGER, "--server", &server.api]).output().unwrap();
        assert_eq!(code(&output), 0);
    };
    switch("disable");
    eventually("it is off", || trigger(&server)["state"] == "off");
    client.send(&setting.topic, 0, None, Some(&value(0)));
    switch("enable");
    has_orders(&server, 1);
    // Another topic, by a new project file; what is read of it is its own.
    let (second, _) = Setting::new("switched", 1);
    client.send(&second.topic, 0, None, Some(&value(1)));
    std::fs::write(home.path().join("project.yaml"), second.project()).unwrap();
    server.signal("HUP");
    has_orders(&server, 2);
    eventually("it reads the other topic", || {
        trigger(&server)["partitions"][0]["topic"] == json!(second.topic)
    });
    is_read(&server, 1);
}

#[test]
fn without_the_switch_kafka_triggers_are_off_and_say_so() {
    let (setting, client) = Setting::new("off", 1);
    client.send(&setting.topic, 0, None, Some(&value(0)));
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), setting.project()).unwrap();
    let server = Keyway::start(home.path(), &[]);
    let seen = trigger(&server);
    assert_eq!(seen["state"], "off");
    assert!(seen["last_error"].as_str().unwrap().contains("KAFKA_TRIGGERS_ENABLED=yes"));
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(Client::new(&setting.hosts).committed(&setting.group, &setting.topic, 1), [None]);
}
