//! Two processes with data dirs of their own in one consumer group: each partition has one reader at a time.

use crate::{
    client::Client,
    common::keyway::{Keyway, eventually},
    world::{Setting, by_place, has_orders, is_read, orders, trigger, value},
};

fn send(client: &Client, setting: &Setting, numbers: std::ops::Range<i64>) {
    for n in numbers {
        client.queue(&setting.topic, (n % 2) as i32, None, Some(&value(n)));
    }
    client.flush();
}

/// The partition that a process reads alone.
fn partition(server: &Keyway) -> i64 {
    trigger(server)["partitions"][0]["partition"].as_i64().unwrap()
}

fn each_came_once(server: &Keyway) {
    let twice: Vec<_> = by_place(server).into_iter().filter(|(_, times)| *times != 1).collect();
    assert!(twice.is_empty(), "not once in one data dir: {twice:?}");
}

#[test]
fn two_processes_of_one_group_share_its_partitions_and_one_that_slept_finds_its_place() {
    let (setting, client) = Setting::new("group", 2);
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = setting.read(home.path(), 2);
    let second = setting.start(other.path(), &[]);
    is_read(&first, 1);
    is_read(&second, 1);
    assert_ne!(partition(&first), partition(&second));
    send(&client, &setting, 0..20);
    has_orders(&first, 10);
    has_orders(&second, 10);

    // One sleeps longer than its session: the group takes its partition away without asking.
    first.signal("STOP");
    is_read(&second, 2);
    // The second has never read it: it begins at the first message, as losing is worse than reading twice.
    has_orders(&second, 20);
    send(&client, &setting, 20..40);
    has_orders(&second, 40);
    first.signal("CONT");
    eventually("the group is whole again", || {
        let assigned = |server: &Keyway| {
            trigger(server)["partitions"].as_array().map_or(0, |partitions| partitions.len())
        };
        assigned(&first) == 1 && assigned(&second) == 1 && partition(&first) != partition(&second)
    });
    send(&client, &setting, 40..60);
    // Whichever it reads now: all of that partition, none of it twice.
    eventually("it read on from where its log ends", || orders(&first) >= 30 && orders(&second) >= 50);
    for server in [&first, &second] {
        each_came_once(server);
        let mine = partition(server);
        let offsets: Vec<i64> =
            by_place(server).into_keys().filter(|(of, _)| *of == mine).map(|(_, offset)| offset).collect();
        assert_eq!(offsets, (0..30).collect::<Vec<_>>());
    }
}
