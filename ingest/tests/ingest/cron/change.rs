//! A trigger that is switched, or whose schedule is another one from now on.

use std::collections::HashMap;

use keyway_storage::{
    event::{EventKind, Position, Received, TriggerId},
    limits::TICK_LOOKUPS_PER_TURN,
};

use super::{TRIGGER, at, disk::Fault, project, world::World};

const HOURLY: &str = "cron_expression: '0 * * * *', catch_up: all";

#[test]
fn a_trigger_that_is_enabled_again_does_not_make_up_for_what_it_missed() {
    let mut world = World::new("09:30:00", &project(HOURLY));
    world.go_to("10:00:00");
    world.switch(TRIGGER, false);
    world.go_to("12:30:00");
    world.switch(TRIGGER, true);
    world.go_to("13:00:00");
    assert_eq!(world.made_at(TRIGGER), ["10:00", "13:00"]);
    assert_eq!(world.skipped(TRIGGER), []);
}

#[test]
fn a_trigger_that_was_disabled_over_a_restart_does_not_make_up_for_it_either() {
    let mut world = World::new("09:30:00", &project(HOURLY));
    world.switch(TRIGGER, false);
    world.kill();
    world.set_clock(at("12:30:00"));
    world.start();
    world.switch(TRIGGER, true);
    world.kill();
    world.set_clock(at("13:30:00"));
    world.start();
    assert!(world.turn());
    assert_eq!(world.made_at(TRIGGER), ["13:00"]);
}

#[test]
fn a_changed_expression_or_time_zone_counts_from_the_change_on() {
    let mut world = World::new("09:30:00", &project(HOURLY));
    world.go_to("10:10:00");
    world.apply(&project("cron_expression: '5,35 * * * *', catch_up: all"));
    world.pass_minutes(30);
    assert_eq!(world.made_at(TRIGGER), ["10:00", "10:35"]);
    world.apply(&project("cron_expression: '5,35 * * * *', catch_up: all, timezone: Asia/Kathmandu"));
    world.pass_minutes(30);
    // 35 past the hour in Kathmandu is ten before the next one here.
    assert_eq!(world.made_at(TRIGGER), ["10:00", "10:35", "10:50"]);
}

#[test]
fn an_expression_that_changed_while_the_process_was_down_counts_from_the_start_on() {
    for (catch_up, made, skipped) in [
        ("all", &["10:00", "11:00", "12:00", "12:40"][..], None),
        ("latest", &["12:00", "12:40"], Some("11:00")),
        ("none", &["12:40"], Some("12:00")),
    ] {
        let before = format!("cron_expression: '0 * * * *', catch_up: {catch_up}");
        let mut world = World::new("09:30:00", &project(&before));
        world.kill();
        world.edit(&project("cron_expression: '*/10 * * * *', catch_up: all"));
        world.set_clock(at("12:31:00"));
        world.start();
        world.pass_minutes(10);
        // What was due before the change is made up for as the file said that it was due under.
        assert_eq!(world.made_at(TRIGGER), made, "{catch_up}");
        let passed_over = world.skipped(TRIGGER);
        assert_eq!(passed_over.iter().map(|(due, _)| due.as_str()).next(), skipped, "{catch_up}");
        world.kill();
        world.start();
        assert!(world.turn());
        assert_eq!(world.made_at(TRIGGER), made, "{catch_up}: and not again");
    }
}

#[test]
fn a_crash_among_the_ticks_of_an_expression_that_is_about_to_change_makes_each_once() {
    for fault in [Fault::Before, Fault::After] {
        let mut world = World::new("09:30:00", &project(HOURLY));
        world.kill();
        world.edit(&project("cron_expression: '*/10 * * * *', catch_up: all"));
        world.set_clock(at("12:31:00"));
        world.start_after_death_in_settling(fault);
        world.pass_minutes(10);
        assert_eq!(world.made_at(TRIGGER), ["10:00", "11:00", "12:00", "12:40"], "{fault:?}");
    }
}

#[test]
fn a_trigger_that_was_disabled_in_the_file_while_the_process_was_down_makes_up_for_nothing() {
    let mut world = World::new("09:30:00", &project(HOURLY));
    world.kill();
    world.edit(&project("enabled: false, cron_expression: '*/10 * * * *', catch_up: all"));
    world.set_clock(at("12:31:00"));
    world.start();
    world.pass_minutes(10);
    assert_eq!(world.made_at(TRIGGER), [""; 0]);
}

#[test]
fn a_tick_in_the_turn_of_a_change_is_made_once() {
    let mut world = World::new("09:30:00", &project(HOURLY));
    world.set_clock(at("10:00:00"));
    world.apply(&project("cron_expression: '*/30 * * * *', catch_up: all"));
    world.set_clock(at("10:30:00"));
    world.switch(TRIGGER, true);
    world.pass_minutes(5);
    assert_eq!(world.made_at(TRIGGER), ["10:00", "10:30"]);
}

/// The id of one of many.
fn one_of_many(n: usize) -> TriggerId {
    TriggerId((n as u128 + 1).to_be_bytes())
}

/// A project of so many triggers with the same schedule.
fn crowd(count: usize, expression: &str) -> String {
    let trigger = |n: usize| {
        let id = uuid::Uuid::from_bytes(one_of_many(n).0);
        format!("      t{n}: {{id: {id}, type: cron, cron_expression: '{expression}'}}\n")
    };
    let triggers: String = (0..count).map(trigger).collect();
    format!("name: clock\nworkflows:\n  many:\n    jobs: {{pull: {{body: ''}}}}\n    triggers:\n{triggers}")
}

#[test]
fn a_change_that_comes_while_more_is_due_than_a_turn_takes_loses_none_of_it() {
    let count = TICK_LOOKUPS_PER_TURN + 100;
    let mut world = World::new("09:59:00", &crowd(count, "0 * * * *"));
    world.set_clock(at("10:00:00"));
    world.apply(&crowd(count, "30 * * * *"));
    world.go_to("10:30:00");
    let mut made = HashMap::<TriggerId, Vec<u64>>::new();
    for event in world.events() {
        if let EventKind::Received(Received { trigger, position: Position::Next { number, .. }, .. }) =
            event.kind
        {
            made.entry(trigger).or_default().push(number);
        }
    }
    let due = ["10:00:00", "10:30:00"].map(|time| at(time).seconds());
    for n in 0..count {
        assert_eq!(made[&one_of_many(n)], due, "trigger {n}");
    }
}

#[test]
fn a_file_that_changes_something_else_loses_no_tick_that_was_missed() {
    let mut world = World::new("09:30:00", &project(HOURLY));
    world.kill();
    world.edit(&project(&format!("{HOURLY}, overlap: queue")));
    world.set_clock(at("11:30:00"));
    world.start();
    assert!(world.turn());
    assert_eq!(world.made_at(TRIGGER), ["10:00", "11:00"]);
}

#[test]
fn a_trigger_that_leaves_the_file_and_comes_back_begins_anew() {
    let mut world = World::new("09:30:00", &project(HOURLY));
    let without = project("enabled: false, cron_expression: '0 * * * *'");
    world.apply(
        &without.replace("07070707-0707-0707-0707-070707070707", "08080808-0808-0808-0808-080808080808"),
    );
    world.go_to("11:30:00");
    world.apply(&project(HOURLY));
    world.go_to("12:00:00");
    assert_eq!(world.made_at(TRIGGER), ["12:00"]);
}

#[test]
fn a_schedule_is_logged_when_it_changes_and_only_then() {
    let mut world = World::new("09:30:00", &project(HOURLY));
    let changes = |world: &World| {
        let events = world.events();
        events.iter().filter(|event| matches!(event.kind, EventKind::SchedulesSet(_))).count()
    };
    assert_eq!(changes(&world), 1);
    world.apply(&project(&format!("{HOURLY}, cursor_warn_bytes: 5")));
    world.kill();
    world.start();
    assert_eq!(changes(&world), 1);
    world.switch(TRIGGER, true);
    assert_eq!(changes(&world), 1);
    world.switch(TRIGGER, false);
    assert_eq!(changes(&world), 2);
}
