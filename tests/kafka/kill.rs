//! A keyway that is killed (-9) at each step between a message's coming and the group's knowing of it.
//!
//! The steps are exact, see `tests/common/kill.rs`.

use std::{fs, os::unix::process::ExitStatusExt, path::Path, thread};

use crate::{
    client::Client,
    common::{
        keyway::{Keyway, eventually},
        kill::{Kill, SIGKILL, variables},
    },
    told::{SHARDS, Told},
    world::{Setting, has_orders, is_idle, is_read, trigger, value},
};

const PARTITIONS: i32 = 2;
const MESSAGES: i64 = 40;
const KEYS: i64 = 4;

/// The kills while messages are on their way to the log.
const BEFORE_COMMIT: [Kill; 6] =
    [("write", 0), ("write", 3), ("sync", 0), ("sync", 3), ("synced", 0), ("synced", 3)];
/// What the group knows before there are messages.
const NONE_YET: [Option<i64>; 2] = [Some(0), Some(0)];
/// The kills while the group is told of them.
const AT_COMMIT: [Kill; 3] = [("commit", 0), ("sent", 0), ("answered", 0)];

#[test]
fn killed_at_any_step_on_the_way_to_the_log_no_message_is_lost_or_doubled() {
    thread::scope(|scope| {
        for kill in BEFORE_COMMIT {
            scope.spawn(move || {
                let (told, committed) = killed(kill);
                // Of the first step it is known what was before: nothing, or all of one turn.
                match kill {
                    ("write", 0) => assert!(told.places.is_empty(), "{:?}", told.places),
                    ("synced", 0) => assert!(!told.places.is_empty(), "it was durable"),
                    _ => {}
                }
                assert!(kill.1 > 0 || committed == NONE_YET, "{kill:?}: it committed before: {committed:?}");
            });
        }
    });
}

#[test]
fn killed_at_any_step_of_a_commit_the_log_has_what_the_group_knows_and_no_message_comes_twice() {
    thread::scope(|scope| {
        for kill in AT_COMMIT {
            scope.spawn(move || {
                let (told, committed) = killed(kill);
                assert!(!told.places.is_empty(), "{kill:?}: nothing was durable");
                match kill.0 {
                    "commit" => assert_eq!(committed, NONE_YET),
                    "answered" => assert_ne!(committed, NONE_YET),
                    // Whether the broker took it before the connection broke is up to it.
                    _ => {}
                }
            });
        }
    });
}

/// Kills a keyway, and lets another go on to the end; gives what the log and the group knew in between.
fn killed(kill: Kill) -> (Told, Vec<Option<i64>>) {
    let (setting, client) = Setting::new("kill", PARTITIONS);
    let home = tempfile::tempdir().unwrap();
    let mut server = start(&setting, home.path(), kill);
    is_read(&server, PARTITIONS as usize);
    eventually("the group knows where reading began", || {
        let seen = trigger(&server)["partitions"].clone();
        (0..2).all(|index| seen[index]["committed"] == 0)
    });
    fs::write(home.path().join("now"), "").unwrap();
    send(&client, &setting);
    let status = server.wait();
    assert_eq!(status.signal(), Some(SIGKILL), "{kill:?}: {status}");
    let mut told = Told::default();
    told.read(home.path());
    let committed = client.committed(&setting.group, &setting.topic, PARTITIONS);
    told.is_not_behind(committed.clone());

    let server = setting.start(home.path(), &[]);
    has_orders(&server, MESSAGES as u64);
    is_idle(&server);
    assert_eq!(server.stop().code(), Some(0));
    let mut whole = Told::default();
    whole.read(home.path());
    whole.has_each_once(MESSAGES);
    (told, committed)
}

fn start(setting: &Setting, home: &Path, kill: Kill) -> Keyway {
    fs::write(home.join("project.yaml"), setting.project()).unwrap();
    let (shards, kill) = (SHARDS.to_string(), variables(kill, &home.join("now")));
    let kill = kill.each_ref().map(|(name, value)| (*name, value.as_str()));
    let variables = [&[("KAFKA_TRIGGERS_ENABLED", "yes")][..], &kill].concat();
    Keyway::start_with(home, &["--shards", &shards, "--executors", "1"], &variables)
}

fn send(client: &Client, setting: &Setting) {
    for n in 0..MESSAGES {
        let (key, partition) = (format!("k{}", n % KEYS), (n % KEYS) as i32 % PARTITIONS);
        client.queue(&setting.topic, partition, Some(key.as_bytes()), Some(&value(n)));
    }
    client.flush();
}
