//! People are warned once in an embargo of each workflow, trigger and kind.

use keyway_engine::command::{Command, Warn};
use keyway_storage::{
    event::{Concern, EventKind, RunState, TriggerId, Warned},
    place::Timestamp,
};

use super::world::{BLOCKS, GOES_ON, NOW, World};

const MINUTE: u64 = 60_000_000;

fn is_warned(world: &mut World, minute: u64, trigger: TriggerId, concern: Concern) -> bool {
    is_warned_after(world, minute * MINUTE, trigger, concern)
}

fn is_warned_after(world: &mut World, micros: u64, trigger: TriggerId, concern: Concern) -> bool {
    world.now = Timestamp(NOW + micros);
    let (_, events) = world.ask(Command::Warn(Warn { trigger, concern, message: "It happened.".into() }));
    let expected = |event: &EventKind| matches!(event, EventKind::Warned(it) if (it.trigger, it.concern) == (Some(trigger), concern));
    assert!(events.iter().all(expected), "{events:?}");
    !events.is_empty()
}

#[test]
fn an_embargo_ends_after_an_hour_and_is_of_one_trigger_and_kind() {
    let mut world = World::new();
    assert!(is_warned(&mut world, 0, GOES_ON, Concern::TriggerFailing));
    assert!(!is_warned(&mut world, 0, GOES_ON, Concern::TriggerFailing));
    assert!(is_warned(&mut world, 1, BLOCKS, Concern::TriggerFailing), "another trigger");
    assert!(is_warned(&mut world, 2, GOES_ON, Concern::Gap), "another kind");
    world.commit();
    assert!(!is_warned(&mut world, 59, GOES_ON, Concern::TriggerFailing));
    assert!(is_warned(&mut world, 60, GOES_ON, Concern::TriggerFailing));
    assert!(!is_warned(&mut world, 60, BLOCKS, Concern::TriggerFailing), "its own hour is not over");
    // What was kept quiet does not make an embargo longer.
    assert!(is_warned(&mut world, 61, BLOCKS, Concern::TriggerFailing));
    assert!(is_warned(&mut world, 62, GOES_ON, Concern::Gap));
    assert!(!is_warned(&mut world, 119, GOES_ON, Concern::TriggerFailing));
}

#[test]
fn an_embargo_lasts_as_long_as_the_file_says_and_with_0_there_is_none() {
    let mut world = World::with_embargo(60);
    for (micros, warned) in [(0, true), (MINUTE - 1, false), (MINUTE, true), (2 * MINUTE - 1, false)] {
        assert_eq!(is_warned_after(&mut world, micros, GOES_ON, Concern::Gap), warned, "{micros}");
        world.commit();
    }
    let mut world = World::with_embargo(0);
    for _ in 0..3 {
        assert!(is_warned(&mut world, 0, GOES_ON, Concern::Gap));
        world.commit();
    }
}

#[test]
fn a_lost_run_is_warned_of_by_its_trigger() {
    let mut world = World::new();
    for (key, trigger) in [(1, GOES_ON), (2, BLOCKS), (3, GOES_ON)] {
        world.receive(trigger, key);
    }
    world.commit();
    assert_eq!(world.claim().len(), 3);
    world.now = Timestamp(NOW + 10 * MINUTE);
    let (_, events) = world.ask(Command::Advance);
    let lost = events
        .iter()
        .filter(|event| matches!(event, EventKind::RunFinished(end) if end.state == RunState::Lost));
    assert_eq!(lost.count(), 3);
    let warned: Vec<&Warned> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::Warned(warned) => Some(warned),
            _ => None,
        })
        .collect();
    let mut triggers: Vec<_> = warned.iter().map(|warned| warned.trigger).collect();
    triggers.sort_unstable();
    assert_eq!(triggers, [Some(GOES_ON), Some(BLOCKS)], "the third one is the first one's again");
    assert!(
        warned.iter().any(|it| it.message.contains("workflow `intake`, trigger `BlockKey`,")),
        "{warned:?}"
    );
}
