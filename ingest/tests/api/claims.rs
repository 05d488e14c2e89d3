//! Which runs a worker gets.

use crate::world::{OTHER, PROJECT, WEBHOOK, World};

#[test]
fn a_workflow_that_has_reached_its_limit_holds_no_other_one_up() {
    let world = World::bare(1);
    world.apply(&PROJECT.replace("    name: Intake\n", "    name: Intake\n    concurrency: 2\n"));
    for _ in 0..3 {
        world.receive(0, WEBHOOK, "{}");
    }
    let first = (world.claim(0), world.claim(0));
    let other = world.receive(0, OTHER, "{}");
    let claimed = world.claim(0);
    world.begin(0, claimed);
    let work_order = &world.read(&format!("/api/work_orders/{other}"))["data"]["attributes"];
    assert_eq!(work_order["state"], "running", "{work_order}");
    assert_ne!(claimed, first.0);
    assert_ne!(claimed, first.1);
}
