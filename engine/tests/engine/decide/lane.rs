//! Keys belong to their trigger: what one trigger says of failures, and what it blocks, is nothing to another one.

use bytes::Bytes;
use keyway_engine::queue::lane::{KEYED, OWN};
use keyway_storage::{
    event::{EventKind, LaneId, Position, Received, RunState, TriggerId},
    limits::ORDERING_PARTITIONS,
    place::Offset,
};

use super::world::{BLOCKS, GOES_ON, WORKFLOW, World};

const KEY: u64 = 0x1234_5678_9abc_def0;
/// Another one, in the same lane as it where lanes do not know triggers.
const BESIDE: u64 = KEY + ORDERING_PARTITIONS as u64;

fn holds(events: &[EventKind]) -> usize {
    events.iter().filter(|event| matches!(event, EventKind::Held(_))).count()
}

/// An input as it was received before lanes knew triggers.
fn received_before(world: &mut World, trigger: TriggerId, key: u64) -> Offset {
    let number = KEYED + (key % u64::from(ORDERING_PARTITIONS)) as u16;
    world.apply(EventKind::Received(Received {
        trigger,
        workflow: WORKFLOW,
        project: Offset(0),
        position: Position::None,
        lane: LaneId { owner: WORKFLOW.0, number, key: 0 },
        key: Some(key),
        request: Bytes::new(),
        body: Bytes::from_static(b"{}"),
        replays: None,
    }))
}

#[test]
fn a_key_that_one_trigger_blocks_goes_on_for_another() {
    let mut world = World::new();
    let (failing, _) = world.receive(BLOCKS, KEY);
    assert_eq!(world.claimed(), [failing]);
    assert_eq!(holds(&world.end(failing, RunState::Failed)), 1);
    let (behind, _) = world.receive(BLOCKS, KEY);
    let (beside, _) = world.receive(BLOCKS, BESIDE);
    let (other, _) = world.receive(GOES_ON, KEY);
    let mut claimed = world.claimed();
    claimed.sort_unstable();
    assert_eq!(claimed, [beside, other], "{behind:?} is behind a failure");
}

#[test]
fn equal_keys_of_two_triggers_run_beside_each_other() {
    let mut world = World::new();
    let (first, _) = world.receive(BLOCKS, KEY);
    let (second, _) = world.receive(GOES_ON, KEY);
    let (third, _) = world.receive(GOES_ON, KEY);
    let mut claimed = world.claimed();
    claimed.sort_unstable();
    assert_eq!(claimed, [first, second], "{third:?} is behind one of its own");
}

#[test]
fn a_failure_means_what_its_own_trigger_says_whether_or_not_the_log_has_its_input() {
    let mut world = World::new();
    for is_committed in [false, true] {
        for (trigger, blocked) in [(GOES_ON, 0), (BLOCKS, 1)] {
            let (failing, _) = world.receive(trigger, KEY + u64::from(is_committed));
            if is_committed {
                world.commit();
            }
            assert_eq!(world.claimed(), [failing]);
            assert_eq!(holds(&world.end(failing, RunState::Failed)), blocked, "{trigger:?} {is_committed}");
        }
    }
}

#[test]
fn nothing_overtakes_what_waits_from_before_lanes_knew_triggers() {
    let mut world = World::new();
    let first = received_before(&mut world, BLOCKS, KEY);
    world.commit();
    let (second, lane) = world.receive(BLOCKS, KEY);
    assert!((KEYED..OWN).contains(&lane.number), "it waits behind the first one");
    assert_eq!(world.claimed(), [first]);
    // Blocked before, blocked now.
    assert_eq!(holds(&world.end(first, RunState::Failed)), 1);
    assert!(world.claimed().is_empty());
    let (third, lane) = world.receive(BLOCKS, KEY);
    assert!((KEYED..OWN).contains(&lane.number), "it waits behind the blocked one");
    // Another trigger's key waits with them only as long as its lane is not empty.
    let (other, lane) = world.receive(GOES_ON, BESIDE);
    assert!((KEYED..OWN).contains(&lane.number), "{second:?} and {third:?} are in its lane");
    assert_eq!(world.claimed(), [other]);
    world.end(other, RunState::Success);
    let (other, lane) = world.receive(GOES_ON, BESIDE);
    assert!(lane.number >= OWN, "nothing of before is in the way");
    assert_eq!(world.claimed(), [other]);
    world.end(other, RunState::Success);
    let (_, lane) = world.receive(BLOCKS, KEY);
    assert!((KEYED..OWN).contains(&lane.number), "its key is still blocked");
}
