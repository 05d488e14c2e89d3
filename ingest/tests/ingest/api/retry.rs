//! When a failed run is tried again: the pause doubles up to its longest, to the microsecond.

use keyway_engine::command::{Answer, Claim, Command, Permits};
use keyway_storage::{event::RunState, place::RunKey};
use serde_json::json;

use super::world::{PROJECT, SECOND, WEBHOOK, World};

const RETRY: &str = "    retry: {attempts_max: 5, backoff_initial_ms: 1000, backoff_max_ms: 3000}\n";
/// The pauses between five runs, in seconds.
const PAUSES: [u64; 4] = [1, 2, 3, 3];

fn world(more: &str) -> World {
    let world = World::bare(1);
    world.apply(&PROJECT.replace("    name: Intake\n", &format!("    name: Intake\n{RETRY}{more}")));
    world
}

/// A run that may be claimed now, if there is one.
fn claimed(world: &World) -> Option<(RunKey, u8)> {
    let permits = Permits { project: u32::MAX, workflows: Vec::new() };
    match world.ask(0, Command::Claim(Claim { worker: 9, demand: 1, permits })) {
        Answer::Claimed(claims) => claims.first().map(|claim| (claim.run, claim.attempt)),
        other => panic!("{other:?}"),
    }
}

/// Begins a claimed run and lets it fail.
fn fail(world: &World, claimed: (RunKey, u8)) {
    world.begin(0, claimed);
    world.end(0, claimed, &["{}"], RunState::Failed);
}

#[test]
fn a_failed_run_is_tried_again_after_one_two_three_and_three_seconds_and_not_before() {
    for more in ["", "    concurrency: 1\n"] {
        let world = world(more);
        let order = world.receive(0, WEBHOOK, "{}");
        let mut now = 0;
        for (n, pause) in (1..).zip(PAUSES) {
            let run = claimed(&world).expect("it is due");
            assert_eq!((run.0.n, run.1), (n, 1), "a new run, at its first attempt");
            fail(&world, run);
            world.at(now + pause * SECOND - 1);
            assert_eq!(claimed(&world), None, "{pause} s are not over");
            let shown = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"].clone();
            assert_eq!(
                (&shown["state"], shown["runs"].as_array().unwrap().len()),
                (&json!("pending"), usize::from(n) + 1)
            );
            now += pause * SECOND;
            world.at(now);
        }
        fail(&world, claimed(&world).expect("the fifth is due"));
        world.pass(3_600 * SECOND);
        assert_eq!(claimed(&world), None, "five runs are all");
        let shown = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"].clone();
        assert_eq!((&shown["state"], shown["runs"].as_array().unwrap().len()), (&json!("failed"), 5));
    }
}

#[test]
fn the_pause_begins_with_the_end_of_the_run_and_holds_nobody_else_up() {
    let world = world("");
    world.receive(0, WEBHOOK, "{}");
    let first = claimed(&world).unwrap();
    world.begin(0, first);
    world.pass(30 * SECOND);
    world.end(0, first, &["{}"], RunState::Failed);
    let other = world.receive(0, WEBHOOK, "{}");
    world.begin(0, claimed(&world).expect("it need not wait"));
    assert_eq!(world.read(&format!("/api/work_orders/{other}"))["data"]["attributes"]["state"], "running");
    world.pass(SECOND - 1);
    assert_eq!(claimed(&world), None);
    world.pass(1);
    assert_eq!(claimed(&world).map(|(run, _)| run.n), Some(2));
}

#[test]
fn a_success_a_cancelled_run_and_a_lost_one_are_not_tried_again() {
    for state in [RunState::Success, RunState::Cancelled, RunState::Lost] {
        let world = world("");
        world.receive(0, WEBHOOK, "{}");
        let run = claimed(&world).unwrap();
        world.begin(0, run);
        world.end(0, run, &["{}"], state);
        world.pass(3_600 * SECOND);
        assert_eq!(claimed(&world), None, "{state:?}");
    }
}
