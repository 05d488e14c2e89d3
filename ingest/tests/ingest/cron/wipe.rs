//! A cron trigger of a workflow that keeps nothing: its next run starts with what the last one left all the same.

use keyway_engine::{
    refold::difference,
    view::begin::{current, state_at},
};
use keyway_storage::event::{CursorState, EventKind, wiped_at};

use super::{TRIGGER, project_with, world::World};

const COUNT: &str = "fn(state => ({ n: (state.n || 0) + 1 }))";

fn next(world: &World) -> String {
    let reader = world.reader();
    let set = current(&reader, TRIGGER).unwrap().unwrap();
    String::from_utf8(state_at(&reader, set).unwrap().unwrap().to_vec()).unwrap()
}

/// The states that are still in the log.
fn states(world: &World) -> Vec<String> {
    let state = |kind| match kind {
        EventKind::StepFinished(step) => Some(step.output),
        EventKind::CursorSet(set) => match set.state {
            CursorState::Own(state) => Some(state),
            CursorState::At(_) | CursorState::None => None,
        },
        _ => None,
    };
    let states = world.events().into_iter().filter_map(|event| state(event.kind));
    let kept = states.filter(|state| wiped_at(state).is_none());
    kept.map(|state| String::from_utf8(state.to_vec()).unwrap()).collect()
}

fn ends(world: &World) -> usize {
    world.events().iter().filter(|event| matches!(event.kind, EventKind::RunFinished(_))).count()
}

#[test]
fn only_what_the_next_run_starts_with_stays() {
    let settings = "cron_expression: '* * * * *', catch_up: all";
    let project = project_with(settings, COUNT, "    zero_persistence: true\n");
    let mut world = World::with_executor("10:00:30", &project);
    for n in 1..=5 {
        world.pass_minutes(1);
        world.until("the run ends", |world| ends(world) == n);
        assert_eq!(next(&world), format!("{{\"n\":{n}}}"));
    }
    // The sixth run begins, and the states of all before it are over.
    world.pass_minutes(1);
    world.until("the run ends", |world| ends(world) == 6);
    assert_eq!(next(&world), "{\"n\":6}");
    world.kill();
    world.start();
    world.set_clock(world.time().plus_millis(20_000));
    world.until("it is wiped", |world| states(world) == ["{\"n\":6}"]);
    assert_eq!(difference(&world.reader().settled()).unwrap(), None);
    world.pass_minutes(1);
    world.until("the run ends", |world| ends(world) == 7);
    assert_eq!(next(&world), "{\"n\":7}");
}
