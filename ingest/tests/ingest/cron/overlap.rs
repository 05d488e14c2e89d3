//! A tick that comes while the run of an earlier one has not ended.

use keyway_engine::command::{Answer, Claim, Command, Permits, RunReport};
use keyway_storage::{
    event::{EventKind, FinalState, RunFinished, RunState},
    place::{RunKey, Timestamp},
};

use super::{TRIGGER, at, project, project_with, world::World};

fn every_minute(overlap: &str) -> String {
    project(&format!("cron_expression: '* * * * *', overlap: {overlap}"))
}

fn claim(world: &mut World) -> Vec<(RunKey, u8)> {
    let permits = Permits { project: u32::MAX, workflows: Vec::new() };
    match world.ask(Command::Claim(Claim { worker: 9, demand: 10, permits })) {
        Answer::Claimed(claims) => claims.iter().map(|claim| (claim.run, claim.attempt)).collect(),
        other => panic!("{other:?}"),
    }
}

fn end(world: &mut World, (run, attempt): (RunKey, u8), state: RunState) {
    let end = RunFinished {
        run,
        attempt,
        state,
        error: None,
        final_state: FinalState::None,
        response: Default::default(),
        finished: Timestamp(0),
    };
    let events = vec![EventKind::RunFinished(end)];
    world.ask(Command::Report(RunReport { run, attempt, cursor: None, events }));
}

#[test]
fn ticks_run_side_by_side_where_they_may() {
    let mut world = World::new("10:00:30", &every_minute("allow"));
    world.pass_minutes(3);
    assert_eq!(claim(&mut world).len(), 3);
}

#[test]
fn a_tick_is_passed_over_while_an_earlier_one_waits_or_runs_and_is_seen_with_its_reason() {
    let mut world = World::new("10:00:30", &every_minute("skip"));
    world.pass_minutes(2);
    let first = claim(&mut world);
    assert_eq!(first.len(), 1);
    world.pass_minutes(1);
    assert_eq!(world.made_at(TRIGGER), ["10:01"]);
    let reason = "an earlier one has not ended yet".to_owned();
    assert_eq!(world.skipped(TRIGGER), [("10:02".to_owned(), reason.clone()), ("10:03".to_owned(), reason)]);
    end(&mut world, first[0], RunState::Failed);
    world.pass_minutes(1);
    assert_eq!(world.made_at(TRIGGER), ["10:01", "10:04"]);
}

#[test]
fn a_restart_neither_makes_a_tick_that_was_passed_over_nor_forgets_the_run_that_goes_on() {
    let mut world = World::new("10:00:30", &every_minute("skip"));
    world.pass_minutes(1);
    claim(&mut world);
    world.pass_minutes(1);
    world.kill();
    world.start();
    world.pass_minutes(1);
    assert_eq!(world.made_at(TRIGGER), ["10:01"]);
    assert_eq!(world.skipped(TRIGGER).len(), 2);
}

#[test]
fn ticks_wait_for_the_earlier_one_where_they_must() {
    let mut world = World::new("10:00:30", &every_minute("queue"));
    world.pass_minutes(3);
    assert_eq!(world.made_at(TRIGGER).len(), 3);
    let first = claim(&mut world);
    assert_eq!(first.len(), 1);
    assert_eq!(claim(&mut world), []);
    end(&mut world, first[0], RunState::Success);
    let second = claim(&mut world);
    assert_eq!(second.len(), 1);
    assert!(second[0].0.work_order > first[0].0.work_order);
}

#[test]
fn a_limit_of_the_workflow_holds_beside_the_overlap() {
    let settings = "cron_expression: '* * * * *', overlap: skip";
    let mut world =
        World::new("10:00:30", &project_with(settings, "fn(state => state)", "    concurrency: 1\n"));
    world.pass_minutes(2);
    assert_eq!(claim(&mut world).len(), 1);
    assert_eq!(world.made(TRIGGER), [at("10:01:00")]);
}
