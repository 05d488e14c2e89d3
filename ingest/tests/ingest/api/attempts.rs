//! What becomes of a run whose worker is not heard of again: it is offered again, a few times, and then it is lost.

use keyway_engine::command::Answer;
use keyway_storage::{
    event::{JobId, RunState, StepInput, StepStarted},
    limits::{LEASE_GRACE_MS, RUN_ATTEMPTS_MAX},
    place::RunKey,
};
use serde_json::{Value, json};

use super::world::{PROJECT, SECOND, WEBHOOK, World};

/// How long the lease of a run lasts that may take a minute, in microseconds.
const LEASE: u64 = 60 * SECOND + 1_000 * LEASE_GRACE_MS;

/// A world of one shard, with these lines about the workflow.
fn world(more: &str) -> World {
    let world = World::bare(1);
    world.apply(&PROJECT.replace("    name: Intake\n", &format!("    name: Intake\n{more}")));
    world
}

/// The last run of a work order.
fn run(world: &World, order: &str) -> Value {
    let order = world.read(&format!("/api/work_orders/{order}"));
    let run = order["data"]["attributes"]["runs"].as_array().unwrap().last().unwrap().clone();
    world.read(&format!("/api/runs/{}", run.as_str().unwrap()))["data"]["attributes"].clone()
}

fn order_state(world: &World, order: &str) -> Value {
    world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["state"].clone()
}

/// Lets all leases run out.
fn fall_silent(world: &World) {
    world.pass(LEASE);
    world.turn(0);
}

fn begin_step(world: &World, claimed: (RunKey, u8)) {
    let (run, attempt) = claimed;
    let (job, input, started) = (JobId(0), StepInput::Run, keyway_storage::place::Timestamp(1));
    let step = StepStarted { run, attempt, step: 0, job, input, started };
    assert!(matches!(world.report(0, claimed, vec![step.into()]), Answer::Done));
}

#[test]
fn a_silent_worker_loses_its_run_to_the_next_one_and_the_fifth_time_it_is_lost() {
    let world = world("");
    let order = world.receive(0, WEBHOOK, "{}");
    for attempt in 1..=RUN_ATTEMPTS_MAX {
        let claimed = world.claim(0);
        assert_eq!(claimed.1, attempt);
        let shown = run(&world, &order);
        assert_eq!((&shown["state"], &shown["attempt"]), (&json!("claimed"), &json!(attempt)));
        world.begin(0, claimed);
        begin_step(&world, claimed);
        assert_eq!(order_state(&world, &order), "running");
        world.pass(LEASE - 1);
        world.turn(0);
        assert_eq!(run(&world, &order)["state"], "started", "its lease is not over");
        world.pass(1);
        world.turn(0);
        if attempt < RUN_ATTEMPTS_MAX {
            assert_eq!(run(&world, &order)["state"], "available");
            assert_eq!(order_state(&world, &order), "pending");
        }
        let late = world.report(0, claimed, vec![]);
        assert!(matches!(late, Answer::Stop(run) if run == claimed.0), "it is no longer its run: {late:?}");
    }
    let lost = run(&world, &order);
    assert_eq!((&lost["state"], &lost["attempt"]), (&json!("lost"), &json!(RUN_ATTEMPTS_MAX)));
    assert_eq!(lost["error_type"], "LostAfterStart");
    assert_eq!(lost["error_message"], "The executor of this run was not heard of again (attempt 5).");
    let steps = lost["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 1, "those of the last attempt");
    assert_eq!((&steps[0]["exit_reason"], &steps[0]["finished_at"]), (&json!("lost"), &Value::Null));
    assert_eq!(order_state(&world, &order), "lost");
}

#[test]
fn a_run_that_is_offered_again_ends_as_if_nothing_had_been() {
    let world = world("");
    let order = world.receive(0, WEBHOOK, "{}");
    let first = world.claim(0);
    world.begin(0, first);
    begin_step(&world, first);
    fall_silent(&world);
    // Those behind it in time are behind it in the queue, too.
    let behind = world.receive(0, WEBHOOK, "{}");
    world.run(0, &["{}", "{}"]);
    assert_eq!(order_state(&world, &behind), "pending");
    let shown = run(&world, &order);
    assert_eq!(
        (&shown["state"], &shown["attempt"], &shown["error_type"]),
        (&json!("success"), &json!(2), &Value::Null)
    );
    let exits: Vec<_> = shown["steps"].as_array().unwrap().iter().map(|step| &step["exit_reason"]).collect();
    assert_eq!(exits, ["success", "success"]);
}

#[test]
fn at_most_once_a_run_that_was_claimed_is_never_offered_again() {
    let world = world("    at_most_once: true\n");
    let claimed_only = world.receive(0, WEBHOOK, "{}");
    world.claim(0);
    let begun = world.receive(0, WEBHOOK, "{}");
    let claimed = world.claim(0);
    world.begin(0, claimed);
    begin_step(&world, claimed);
    fall_silent(&world);
    let runs = [(&claimed_only, "LostAfterClaim", json!([])), (&begun, "LostAfterStart", json!(["lost"]))];
    for (order, error, exits) in runs {
        let shown = run(&world, order);
        assert_eq!(
            (&shown["state"], &shown["attempt"], &shown["error_type"]),
            (&json!("lost"), &json!(1), &json!(error))
        );
        let steps = shown["steps"].as_array().unwrap().iter();
        assert_eq!(steps.map(|step| step["exit_reason"].clone()).collect::<Value>(), exits);
        assert_eq!(order_state(&world, order), "lost");
    }
    assert_eq!(world.read("/api/status")["data"]["runs"]["lost"], 2);
}

/// The project without the workflow that the runs of these tests are of: another one has its trigger.
fn renamed() -> String {
    PROJECT.replace("  intake:\n", "  admission:\n")
}

#[test]
fn a_run_whose_workflow_left_the_project_is_offered_again_as_its_own_version_says() {
    let world = world("");
    let order = world.receive(0, WEBHOOK, "{}");
    let first = world.claim(0);
    world.begin(0, first);
    world.apply(&renamed());
    fall_silent(&world);
    let shown = run(&world, &order);
    assert_eq!((&shown["state"], &shown["attempt"]), (&json!("available"), &json!(1)));
    assert_eq!(world.claim(0), (first.0, 2));
    assert_eq!(run(&world, &order)["attempt"], 2);
}

#[test]
fn at_most_once_is_what_the_version_says_that_a_run_was_made_for() {
    for (before, after, state) in [
        ("    at_most_once: true\n", PROJECT.to_owned(), "lost"),
        ("    at_most_once: true\n", renamed(), "lost"),
        ("", PROJECT.replace("    name: Intake\n", "    at_most_once: true\n"), "available"),
    ] {
        let world = world(before);
        let order = world.receive(0, WEBHOOK, "{}");
        world.claim(0);
        world.apply(&after);
        fall_silent(&world);
        assert_eq!(run(&world, &order)["state"], state, "{before:?}");
    }
}

#[test]
fn a_run_that_was_asked_for_again_goes_by_the_version_that_it_was_asked_for() {
    let world = world("");
    let order = world.receive(0, WEBHOOK, "{}");
    world.run(0, &["{}", "{}"]);
    world.apply(&PROJECT.replace("    name: Intake\n", "    at_most_once: true\n"));
    let target = format!("/api/work_orders/{order}/reruns");
    assert_eq!(world.call(hyper::Method::POST, &target, "").status, 201);
    assert_eq!(world.claim(0).0.n, 2);
    world.apply(PROJECT);
    fall_silent(&world);
    assert_eq!(run(&world, &order)["state"], "lost");
}

#[test]
fn a_lease_lasts_as_long_as_a_run_of_its_own_version_may_take() {
    let world = world("    run_timeout_ms: 3600000\n");
    let waited = world.receive(0, WEBHOOK, "{}");
    world.apply(PROJECT);
    let made_after = world.receive(0, WEBHOOK, "{}");
    world.claim(0);
    world.pass(1);
    world.claim(0);
    fall_silent(&world);
    assert_eq!(run(&world, &waited)["state"], "claimed", "its version gives it an hour");
    assert_eq!(run(&world, &made_after)["state"], "available");
    world.pass(3_600 * SECOND);
    world.turn(0);
    assert_eq!(run(&world, &waited)["state"], "available");
}

#[test]
fn a_silent_worker_that_was_to_stop_its_run_leaves_it_cancelled() {
    let world = world("    at_most_once: true\n");
    let order = world.receive(0, WEBHOOK, "{}");
    let claimed = world.claim(0);
    world.begin(0, claimed);
    let id = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"][0].clone();
    let target = format!("/api/runs/{}/cancel", id.as_str().unwrap());
    assert_eq!(world.call(hyper::Method::POST, &target, "").status, 200);
    fall_silent(&world);
    let shown = run(&world, &order);
    assert_eq!((&shown["state"], &shown["error_type"]), (&json!("cancelled"), &Value::Null));
}

#[test]
fn a_worker_may_say_that_it_was_its_own_fault() {
    let world = world("");
    let order = world.receive(0, WEBHOOK, "{}");
    let claimed = world.claim(0);
    world.begin(0, claimed);
    world.end(0, claimed, &[], RunState::Exception);
    assert_eq!(run(&world, &order)["state"], "exception");
    assert_eq!(order_state(&world, &order), "exception");
    let status = world.read("/api/status")["data"].clone();
    assert_eq!((&status["runs"]["exception"], &status["work_orders"]["exception"]), (&json!(1), &json!(1)));
    assert_eq!(world.read("/api/runs?state=exception")["data"].as_array().unwrap().len(), 1);
}
