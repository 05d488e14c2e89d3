//! Reruns of many work orders at once.

use hyper::Method;
use serde_json::{Value, json};

use super::world::{OTHER, Told, WEBHOOK, World};

fn rerun(world: &World, body: &Value) -> Told {
    world.call(Method::POST, "/api/reruns", &body.to_string())
}

/// Twelve work orders on two shards that all ended well, and one that waits.
fn dozen(world: &World) -> Vec<String> {
    let make = |n: u64| {
        let (shard, trigger) = ((n % 2) as u8, if n % 4 < 2 { WEBHOOK } else { OTHER });
        let order = world.at(n * 1_000_000).receive(shard, trigger, "{}");
        world.run(shard, &[]);
        order
    };
    let orders = (0..12).map(make).collect();
    world.at(60_000_000).receive(0, WEBHOOK, "{}");
    orders
}

fn runs_of(world: &World, order: &str) -> usize {
    world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"].as_array().unwrap().len()
}

/// Waits until so many runs were asked for.
fn await_runs(world: &World, count: u64) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let runs = world.read("/api/status")["data"]["runs"].clone();
        let sum: u64 = runs.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert!(sum <= count, "more runs than were asked for");
        if sum == count {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{sum} of {count} runs");
        std::thread::yield_now();
    }
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let world = World::new(2);
    dozen(&world);
    let tails = (world.tail(0), world.tail(1));
    let told = rerun(&world, &json!({"filters": {"workflow": "other"}, "dry_run": true}));
    assert_eq!(told.status, 202);
    assert_eq!(told.body, json!({"data": {"matched": 6, "dry_run": true}}));
    let told = rerun(&world, &json!({"dry_run": true}));
    assert_eq!(told.body["data"]["matched"], 12);
    assert_eq!((world.tail(0), world.tail(1)), tails);
}

#[test]
fn all_that_fit_are_run_again_in_the_order_in_which_they_came() {
    let world = World::new(2);
    let orders = dozen(&world);
    let filters =
        json!({"workflow": "intake", "inserted_before": "2026-05-21T10:00:09Z", "state": "success"});
    let told = rerun(&world, &json!({ "filters": filters }));
    assert_eq!((told.status, &told.body["data"]["matched"]), (202, &json!(5)), "{}", told.body);
    await_runs(&world, 13 + 5);
    let chosen = [0, 1, 4, 5, 8];
    for (index, order) in orders.iter().enumerate() {
        assert_eq!(runs_of(&world, order), if chosen.contains(&index) { 2 } else { 1 }, "{index}");
    }
    let requested = |shard: u8| -> Vec<u64> {
        let events = world.read(&format!("/api/events?shard={shard}&page_size=1000"));
        let events = events["data"].as_array().unwrap().clone();
        let asked = events.iter().filter(|event| event["attributes"]["kind"] == "RunRequested");
        let ids = asked.map(|event| event["attributes"]["work_order_id"].as_str().unwrap().to_owned());
        ids.map(|id| orders.iter().position(|order| *order == id).unwrap() as u64).collect()
    };
    assert_eq!(requested(0), [0, 4, 8]);
    assert_eq!(requested(1), [1, 5]);
}

#[test]
fn a_bulk_rerun_with_a_mistake_in_it_changes_nothing() {
    let world = World::new(1);
    for body in [
        json!({"filter": {}}),
        json!({"filters": {"workflows": "intake"}}),
        json!({"filters": {"state": "happy"}}),
        json!({"filters": {"state": 7}}),
        json!({"filters": []}),
        json!({"dry_run": "yes"}),
        json!({"filters": {"inserted_after": "soon"}}),
    ] {
        let told = rerun(&world, &body);
        assert_eq!((told.status, told.body["error"].as_str()), (422, Some("invalid_parameter")), "{body}");
    }
}

#[test]
fn all_runs_that_fit_are_cancelled_whether_they_wait_or_go_on() {
    let world = World::new(2);
    dozen(&world);
    let receive = |n: u64| {
        world.at(61_000_000 + n).receive((n % 2) as u8, if n < 3 { WEBHOOK } else { OTHER }, "{}");
    };
    (0..2).for_each(receive);
    let claimed = world.claim(1);
    world.begin(1, claimed);
    (2..6).for_each(receive);
    let cancel = |body: &Value| world.call(Method::POST, "/api/cancels", &body.to_string());
    let told = cancel(&json!({"dry_run": true}));
    assert_eq!((told.status, &told.body), (202, &json!({"data": {"matched": 7, "dry_run": true}})));
    assert_eq!(
        cancel(&json!({"filters": {"workflow": "other"}, "dry_run": true})).body["data"]["matched"],
        3
    );
    assert_eq!(cancel(&json!({"filters": {"state": "started"}, "dry_run": true})).body["data"]["matched"], 1);
    assert_eq!(cancel(&json!({"filters": {"state": "success"}})).status, 422);
    assert_eq!(cancel(&json!({"filters": {"workflow": "intake"}})).body["data"]["matched"], 4);
    let runs = || world.read("/api/status")["data"]["runs"].clone();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let asked =
        || world.call(Method::GET, "/api/events?shard=1&page_size=1000", "").text.contains("CancelRequested");
    while runs()["available"] != 3 || !asked() {
        assert!(std::time::Instant::now() < deadline, "{}", runs());
        std::thread::yield_now();
    }
    // The one that goes on ends when its worker hears of it.
    world.end(1, claimed, &[], keyway_storage::event::RunState::Killed);
    assert_eq!((&runs()["cancelled"], &runs()["success"]), (&json!(4), &json!(12)));
}

#[test]
fn many_run_again_on_the_version_that_they_had() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    world.run(0, &[]);
    let changed = super::world::PROJECT.replace("validate", "renamed");
    world.apply(&changed);
    assert_eq!(rerun(&world, &json!({"version": "old"})).status, 422);
    let told = rerun(&world, &json!({"filters": {"workflow": "intake"}, "version": "original"}));
    assert_eq!(told.body["data"]["matched"], 1);
    await_runs(&world, 2);
    world.run(0, &[]);
    assert_eq!(rerun(&world, &json!({})).body["data"]["matched"], 1);
    await_runs(&world, 3);
    let runs = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"].clone();
    let job = |n: usize| {
        let run = world.read(&format!("/api/runs/{}", runs[n].as_str().unwrap()));
        run["data"]["attributes"]["starting_job"].clone()
    };
    assert_eq!([job(0), job(1), job(2)], [json!("validate"), json!("validate"), json!("renamed")]);
}
