//! Ticks that were due while the process was down, the machine slept, or the disk was full.

use super::{TRIGGER, at, disk::Fault, project, world::World};

const HOURLY: &str = "cron_expression: '0 * * * *'";

fn hourly(catch_up: &str) -> String {
    project(&format!("{HOURLY}, catch_up: {catch_up}"))
}

#[test]
fn a_tick_is_made_at_its_minute_and_not_before() {
    let mut world = World::new("09:58:30", &project(HOURLY));
    world.go_to("09:59:59.999999");
    assert_eq!(world.made_at(TRIGGER), [""; 0]);
    world.go_to("10:00:00");
    world.go_to("10:00:01");
    assert_eq!(world.made_at(TRIGGER), ["10:00"]);
    world.pass_minutes(125);
    assert_eq!(world.made_at(TRIGGER), ["10:00", "11:00", "12:00"]);
}

#[test]
fn nothing_is_made_up_for_from_before_the_first_start() {
    let mut world = World::new("10:00:00", &hourly("all"));
    assert!(world.turn());
    assert_eq!(world.made_at(TRIGGER), [""; 0]);
    world.go_to("11:00:00");
    assert_eq!(world.made_at(TRIGGER), ["11:00"]);
}

#[test]
fn what_was_missed_is_made_up_for_as_the_trigger_says_and_the_rest_is_seen_with_its_reason() {
    let missed = |policy: &str| {
        let mut world = World::new("09:30:00", &hourly(policy));
        world.go_to("10:00:00");
        world.kill();
        world.set_clock(at("14:30:00"));
        world.start();
        assert!(world.turn());
        world.go_to("15:00:00");
        (world.made_at(TRIGGER), world.skipped(TRIGGER))
    };
    let (made, skipped) = missed("none");
    assert_eq!(made, ["10:00", "15:00"]);
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].0, "14:00");
    let expected = "the ticks from 2026-05-21T11:00:00.000000Z to 2026-05-21T14:00:00.000000Z: missed, and catch_up is none";
    assert_eq!(skipped[0].1, expected);
    let (made, skipped) = missed("latest");
    assert_eq!(made, ["10:00", "14:00", "15:00"]);
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].0, "13:00");
    let (made, skipped) = missed("all");
    assert_eq!(made, ["10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]);
    assert_eq!(skipped, []);
}

#[test]
fn a_process_that_comes_back_within_the_minute_missed_nothing() {
    let mut world = World::new("09:30:00", &hourly("none"));
    world.kill();
    world.set_clock(at("10:00:40"));
    world.start();
    assert!(world.turn());
    assert_eq!(world.made_at(TRIGGER), ["10:00"]);
    assert_eq!(world.skipped(TRIGGER), []);
}

#[test]
fn a_machine_that_slept_has_missed_what_was_due() {
    let mut world = World::new("09:30:00", &hourly("latest"));
    world.go_to("10:00:00");
    world.go_to("17:20:00");
    assert_eq!(world.made_at(TRIGGER), ["10:00", "17:00"]);
}

#[test]
fn a_crash_on_either_side_of_the_append_neither_doubles_nor_loses_a_tick() {
    for fault in [Fault::Before, Fault::After] {
        for policy in ["latest", "all"] {
            let mut world = World::new("09:30:00", &hourly(policy));
            world.disk.fail(fault);
            world.set_clock(at("10:00:00"));
            assert!(!world.turn(), "it dies of the append");
            world.set_clock(at("10:20:00"));
            world.start();
            assert!(world.turn());
            world.go_to("11:00:00");
            assert_eq!(world.made_at(TRIGGER), ["10:00", "11:00"], "{fault:?}, {policy}");
            assert_eq!(world.skipped(TRIGGER), [], "{fault:?}, {policy}");
        }
    }
}

#[test]
fn a_crash_after_ticks_were_passed_over_does_not_pass_over_them_again() {
    let mut world = World::new("09:30:00", &hourly("none"));
    world.kill();
    world.set_clock(at("12:30:00"));
    world.start();
    world.disk.fail(Fault::After);
    assert!(!world.turn());
    world.start();
    assert!(world.turn());
    assert_eq!(world.skipped(TRIGGER).len(), 1);
    assert_eq!(world.made_at(TRIGGER), [""; 0]);
}

#[test]
fn a_tick_that_found_no_room_on_the_disk_is_made_when_there_is_some() {
    let mut world = World::new("09:59:00", &hourly("none"));
    world.disk.fail(Fault::Full);
    world.go_to("10:00:00");
    assert_eq!(world.made_at(TRIGGER), [""; 0]);
    world.go_to("10:00:30");
    world.go_to("10:00:31");
    assert_eq!(world.made_at(TRIGGER), ["10:00"]);
}

#[test]
fn a_clock_that_is_set_back_or_forward_neither_doubles_nor_loses_a_tick() {
    let mut world = World::new("09:30:00", &hourly("all"));
    world.go_to("10:00:00");
    // Back over a tick that was made, in the running process and over a restart.
    world.go_to("09:10:00");
    world.pass_minutes(60);
    assert_eq!(world.made_at(TRIGGER), ["10:00"]);
    world.set_clock(at("08:00:00"));
    world.kill();
    world.start();
    world.pass_minutes(4 * 60 + 1);
    assert_eq!(world.made_at(TRIGGER), ["10:00", "11:00", "12:00"]);
    world.go_to("15:00:00");
    assert_eq!(world.made_at(TRIGGER), ["10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]);
}

#[test]
fn a_machine_that_wakes_up_in_1970_goes_on_when_its_clock_is_right() {
    let mut world = World::new("09:30:00", &hourly("all"));
    world.go_to("10:00:00");
    world.kill();
    world.set_clock(at("1970-01-01T00:00:10Z"));
    world.start();
    world.pass_minutes(180);
    assert_eq!(world.made_at(TRIGGER), ["10:00"]);
    world.go_to("11:30:00");
    assert_eq!(world.made_at(TRIGGER), ["10:00", "11:00"]);
}

#[test]
fn a_clock_that_was_set_to_2106_and_back_lets_ticks_follow_it_once_it_has_stayed_so() {
    let mut world = World::new("09:30:00", &hourly("latest"));
    world.go_to("10:00:00");
    world.go_to("2106-02-07T06:28:16Z");
    assert_eq!(world.made_at(TRIGGER), ["10:00", "06:00"], "the log has it");
    world.go_to("10:20:00");
    world.pass_minutes(9);
    assert!(world.clocks_set().is_empty(), "it may be this clock that is wrong");
    world.pass_minutes(1);
    assert_eq!(world.clocks_set(), [at("10:30:00")]);
    world.pass_minutes(91);
    assert_eq!(world.made_at(TRIGGER), ["10:00", "06:00", "11:00", "12:00"]);
    // Nothing of it is forgotten in a restart, and a change counts from the time that the clock shows.
    world.kill();
    world.set_clock(at("13:30:00"));
    world.start();
    assert!(world.turn());
    world.apply(&project("cron_expression: '5 * * * *'"));
    world.pass_minutes(60);
    assert_eq!(world.made_at(TRIGGER)[4..], ["13:00", "14:05"]);
    let at: Vec<_> = world.events().iter().map(|event| event.at).collect();
    assert!(at.is_sorted(), "the time of the log never goes back");
}

#[test]
fn a_clock_that_is_behind_for_a_while_makes_no_tick_again() {
    let mut world = World::new("09:30:00", &hourly("all"));
    world.go_to("10:00:00");
    for wrong in ["1970-01-01T00:00:10Z", "2026-02-01T00:00:00Z"] {
        world.set_clock(at(wrong));
        world.pass_minutes(9);
        world.kill();
        world.start();
        world.pass_minutes(9);
        world.go_to("10:30:00");
    }
    // A clock that was never set is not believed however long it goes on.
    world.set_clock(at("1970-01-01T00:00:10Z"));
    world.pass_minutes(120);
    world.go_to("11:10:00");
    assert_eq!(world.made_at(TRIGGER), ["10:00", "11:00"]);
    assert!(world.clocks_set().is_empty());
}

#[test]
fn leases_end_while_the_time_of_the_log_is_ahead_of_the_clock() {
    let mut world = World::new("09:59:00", &hourly("all"));
    world.go_to("10:00:00");
    world.go_to("12:00:30");
    let before = world.events().last().unwrap().at;
    world.go_to("10:00:30");
    world.pass_minutes(10);
    world.switch(TRIGGER, true);
    assert_eq!(world.events().last().unwrap().at, before.plus_millis(5 * 60_000), "half as fast");
    world.pass_minutes(300);
    world.switch(TRIGGER, true);
    assert_eq!(world.events().last().unwrap().at, world.time(), "until the clock has caught up");
}

#[test]
fn more_missed_ticks_than_are_made_up_for_are_cut_and_said_to_be() {
    let mut world =
        World::new("2026-05-01T00:00:30Z", &project("cron_expression: '* * * * *', catch_up: all"));
    world.kill();
    world.set_clock(at("2026-05-03T00:00:00Z"));
    world.start();
    assert!(world.turn());
    let made = world.made(TRIGGER);
    assert_eq!(made.len(), keyway_storage::limits::CATCH_UP_TICKS_MAX);
    assert_eq!(made.last(), Some(&at("2026-05-03T00:00:00Z")));
    assert!(made.windows(2).all(|pair| pair[1] == pair[0].plus_millis(60_000)));
    let skipped = world.skipped(TRIGGER);
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].1.ends_with("catch_up makes up for 1000 ticks at most"), "{}", skipped[0].1);
}
