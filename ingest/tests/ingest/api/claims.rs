//! Which runs a worker gets.

use hyper::Method;

use super::world::{OTHER, PROJECT, WEBHOOK, World};

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

#[test]
fn a_run_that_someone_asked_for_goes_before_those_that_wait_and_those_asked_for_keep_their_order() {
    let world = World::new(1);
    let ended: Vec<String> = (0..2).map(|_| world.receive(0, WEBHOOK, "{}")).collect();
    ended.iter().for_each(|_| world.run(0, &["{}"]));
    let waiting: Vec<String> = (0..2).map(|_| world.receive(0, WEBHOOK, "{}")).collect();
    // Asked for in the other order: the older work order still goes first.
    for order in ended.iter().rev() {
        let told = world.call(Method::POST, &format!("/api/work_orders/{order}/reruns"), "");
        assert_eq!((told.status, &told.body["data"]["attributes"]["priority"]), (201, &"immediate".into()));
    }
    let run = &world.read(&format!("/api/work_orders/{}", waiting[0]))["data"]["attributes"]["runs"][0];
    let run = world.read(&format!("/api/runs/{}", run.as_str().unwrap()));
    assert_eq!(run["data"]["attributes"]["priority"], "normal");
    for order in ended.iter().chain(&waiting) {
        world.begin(0, world.claim(0));
        let begun = world.read(&format!("/api/work_orders/{order}"));
        assert_eq!(begun["data"]["attributes"]["state"], "running", "{order}: {begun}");
    }
}
