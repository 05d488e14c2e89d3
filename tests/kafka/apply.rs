//! A project that changes while Kafka triggers run: what becomes of one trigger is nothing to the others.

use std::fs;

use crate::{
    common::{
        code,
        keyway::{Keyway, eventually},
        stderr, tool,
    },
    world::{OTHER, Setting, TRIGGER, is_read, other, trigger, value},
};

/// How often a trigger's partitions were taken up: each change of its group, and each start of its consumer, is one more.
fn takes(server: &Keyway, trigger: &str) -> usize {
    let trace = server.trace();
    trace.lines().filter(|line| line.contains("Kafka: reading") && line.contains(trigger)).count()
}

#[test]
fn a_trigger_that_is_changed_switched_or_removed_leaves_the_consumers_of_others_alone() {
    let (setting, client) = Setting::new("calm", 2);
    let (busy, _) = Setting::new("busy", 1);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    fs::write(&file, setting.beside(&busy)).unwrap();
    let server = Keyway::start_with(home.path(), &["--shards", "2"], &[("KAFKA_TRIGGERS_ENABLED", "yes")]);
    let ask = |line: &[&str]| {
        let output = tool().args(["--server", &server.api]).args(line).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
    };
    let apply = |project: String| {
        fs::write(&file, project).unwrap();
        ask(&["apply", file.to_str().unwrap()]);
    };
    is_read(&server, 2);
    eventually("the other is read", || takes(&server, OTHER) == 1);
    let members = client.members(&setting.group);
    assert_eq!(members.len(), 1);
    let mut sent = 0;
    let mut goes_on = || {
        (0..4).for_each(|n| client.queue(&setting.topic, n % 2, None, Some(&value(sent + i64::from(n)))));
        client.flush();
        sent += 4;
        eventually("what was sent came in", || {
            let seen = trigger(&server)["partitions"].clone();
            (0..2).filter_map(|index| seen[index]["position"].as_i64()).sum::<i64>() == sent
        });
        assert_eq!(client.members(&setting.group), members, "it is the same member of its group");
        assert_eq!(takes(&server, TRIGGER), 1, "its partitions were taken up once");
    };

    goes_on();
    let busy = busy.trigger("in_flight_max: 7");
    apply(setting.beside(&busy));
    eventually("the other was begun anew", || takes(&server, OTHER) == 2);
    goes_on();
    ask(&["triggers", "disable", OTHER]);
    eventually("the other is off", || other(&server)["state"] == "off");
    goes_on();
    ask(&["triggers", "enable", OTHER]);
    eventually("the other is read again", || takes(&server, OTHER) == 3);
    goes_on();
    let lost = Setting { hosts: "127.0.0.1:9".to_owned(), ..busy };
    apply(setting.beside(&lost));
    eventually("the other finds no broker", || other(&server)["state"] == "failing");
    goes_on();
    apply(setting.project());
    eventually("the other is gone", || other(&server).is_null());
    goes_on();
    assert_eq!(server.stop().code(), Some(0));
}
