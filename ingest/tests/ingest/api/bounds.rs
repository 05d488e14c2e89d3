//! Bounds of what people may ask for.

use hyper::Method;
use keyway_storage::{event::RunState, limits::RUNS_PER_WORK_ORDER_MAX};
use serde_json::{Value, json};

use super::world::{PROJECT, SECOND, WEBHOOK, World};

fn runs(world: &World, order: &str) -> usize {
    let order: Value = world.read(&format!("/api/work_orders/{order}"));
    order["data"]["attributes"]["runs"].as_array().unwrap().len()
}

#[test]
fn a_work_order_has_two_hundred_runs_and_no_more() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    let target = format!("/api/work_orders/{order}/reruns");
    world.run(0, &["{}"]);
    for _ in 1..RUNS_PER_WORK_ORDER_MAX {
        assert_eq!(world.call(Method::POST, &target, "").status, 201);
        world.run(0, &["{}"]);
    }
    let told = world.call(Method::POST, &target, "");
    let message = json!("The work order has as many runs as it may have.");
    assert_eq!((told.status, &told.body["message"]), (409, &message));
    assert_eq!(runs(&world, &order), usize::from(RUNS_PER_WORK_ORDER_MAX));
    let ids = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"].clone();
    let last = ids.as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
    assert_eq!(world.read(&format!("/api/runs/{last}"))["data"]["attributes"]["state"], "success");
}

#[test]
fn a_work_order_that_goes_on_failing_is_given_up_at_the_same_number() {
    let world = World::bare(1);
    let retry = "    retry: {attempts_max: 200, backoff_initial_ms: 1, backoff_max_ms: 1}\n";
    world.apply(&PROJECT.replace("    name: Intake\n", &format!("    name: Intake\n{retry}")));
    let order = world.receive(0, WEBHOOK, "{}");
    for _ in 0..RUNS_PER_WORK_ORDER_MAX {
        world.pass(SECOND);
        world.turn(0);
        let claimed = world.claim(0);
        world.begin(0, claimed);
        world.end(0, claimed, &["{}"], RunState::Failed);
    }
    world.pass(SECOND);
    world.turn(0);
    assert_eq!(world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["state"], "failed");
    assert_eq!(runs(&world, &order), usize::from(RUNS_PER_WORK_ORDER_MAX));
}
