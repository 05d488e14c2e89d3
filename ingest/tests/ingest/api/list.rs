//! Lists: pages over all shards, cursors, filters, and what is refused.

use hyper::Method;
use keyway_storage::event::RunState;

use super::world::{OTHER, WEBHOOK, World};

/// Twenty work orders on two shards, one a second; returns their ids, newest first.
fn twenty(world: &World) -> Vec<String> {
    let make = |n: u64| {
        let trigger = if n.is_multiple_of(5) { OTHER } else { WEBHOOK };
        world.at(n * 1_000_000).receive((n % 3 % 2) as u8, trigger, "{}")
    };
    let mut ids: Vec<_> = (0..20).map(make).collect();
    ids.reverse();
    ids
}

#[test]
fn pages_follow_each_other_over_all_shards_without_a_gap_or_a_repeat() {
    let world = World::new(2);
    let ids = twenty(&world);
    for size in [1, 3, 7, 19, 20, 50] {
        let pages = world.pages(&format!("/api/work_orders?page_size={size}"));
        assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == size));
        assert_eq!(pages.concat(), ids, "page_size {size}");
        assert_eq!(pages.len(), 20_usize.div_ceil(size));
    }
}

#[test]
fn work_orders_of_one_moment_are_listed_once_each() {
    let world = World::new(2);
    let mut ids: Vec<_> = (0..9).map(|n| world.receive(n % 2, WEBHOOK, "{}")).collect();
    let mut listed = world.pages("/api/work_orders?page_size=2").concat();
    ids.sort();
    listed.sort();
    assert_eq!(listed, ids);
}

#[test]
fn new_work_orders_do_not_move_the_pages_behind_a_cursor() {
    let world = World::new(2);
    let ids = twenty(&world);
    let first = world.read("/api/work_orders?page_size=5");
    world.at(60_000_000).receive(0, WEBHOOK, "{}");
    let next = first["links"]["next"].as_str().unwrap();
    assert!(next.contains(&format!("after={}", ids[4])), "{next}");
    assert_eq!(super::world::ids(&world.read(next)), ids[5..10]);
}

#[test]
fn the_pages_of_lightning_work_too() {
    let world = World::new(2);
    let ids = twenty(&world);
    let third = world.read("/api/work_orders?page=3&page_size=6");
    assert_eq!(super::world::ids(&third), ids[12..18]);
    assert_eq!(third["meta"], serde_json::json!({"page_size": 6, "page_number": 3}));
    assert_eq!(super::world::ids(&world.read("/api/work_orders?page=9&page_size=6")), [""; 0]);
}

#[test]
fn filters_combine_into_what_fits_all_of_them() {
    let world = World::new(2);
    let ids = twenty(&world);
    let list = |query: &str| world.pages(&format!("/api/work_orders?page_size=3&{query}")).concat();
    let every_fifth: Vec<_> = ids.iter().rev().step_by(5).rev().cloned().collect();
    assert_eq!(list(&format!("trigger_id={OTHER}")), every_fifth);
    assert_eq!(list("workflow=other"), every_fifth);
    assert_eq!(list("workflow=nobody"), [""; 0]);
    assert_eq!(list("inserted_after=2026-05-21T10:00:15Z"), ids[..5]);
    assert_eq!(list("inserted_before=2026-05-21T10:00:05Z"), ids[15..]);
    assert_eq!(
        list("inserted_after=2026-05-21T12:00:05%2B02:00&inserted_before=2026-05-21T10:00:06Z"),
        ids[14..15]
    );
    assert_eq!(list("workflow=other&inserted_before=2026-05-21T10:00:06Z"), every_fifth[2..]);
    assert_eq!(list(&format!("workflow=intake&trigger_id={OTHER}")), [""; 0]);
    assert_eq!(list("state=pending"), ids);
    assert_eq!(list("state=success"), [""; 0]);
    assert_eq!(list("state=rejected"), [""; 0]);
}

#[test]
fn work_orders_are_listed_by_the_state_that_they_are_in_now() {
    let world = World::new(1);
    let ids: Vec<_> = (0..6).map(|n| world.at(n * 1_000_000).receive(0, WEBHOOK, "{}")).collect();
    let list =
        |what: &str, state: &str| world.pages(&format!("/api/{what}?page_size=2&state={state}")).concat();
    world.run(0, &["{}"]);
    let failing = world.claim(0);
    world.begin(0, failing);
    world.end(0, failing, &[], RunState::Failed);
    let started = world.claim(0);
    world.begin(0, started);
    world.claim(0);
    assert_eq!(list("work_orders", "success"), ids[..1]);
    assert_eq!(list("work_orders", "failed"), ids[1..2]);
    assert_eq!(list("work_orders", "running"), ids[2..3]);
    let newest_first: Vec<_> = ids[3..].iter().rev().cloned().collect();
    assert_eq!(list("work_orders", "pending"), newest_first);
    for (state, count) in
        [("success", 1), ("failed", 1), ("started", 1), ("claimed", 1), ("available", 2), ("lost", 0)]
    {
        assert_eq!(list("runs", state).len(), count, "{state}");
    }
    let rerun = world.call(Method::POST, &format!("/api/work_orders/{}/reruns", ids[1]), "");
    assert_eq!(rerun.status, 201, "{}", rerun.body);
    assert_eq!(list("work_orders", "failed"), [""; 0]);
    assert_eq!(list("work_orders", "pending").len(), 4);
    assert_eq!(list("runs", "failed").len(), 1);
    assert_eq!(list("runs", "available").len(), 3);
}

#[test]
fn a_rerun_is_listed_when_it_was_asked_for_not_with_its_work_order() {
    let world = World::new(2);
    let old = world.at(0).receive(0, WEBHOOK, "{}");
    world.run(0, &["{}"]);
    let newer: Vec<_> = (1..4).map(|n| world.at(n * 1_000_000).receive(1, WEBHOOK, "{}")).collect();
    let rerun = world.at(9_000_000).call(Method::POST, &format!("/api/work_orders/{old}/reruns"), "");
    let rerun = rerun.body["data"]["id"].as_str().unwrap().to_owned();
    let run_of = |order: &String| {
        let order = world.read(&format!("/api/work_orders/{order}"));
        order["data"]["attributes"]["runs"][0].as_str().unwrap().to_owned()
    };
    let mut expected = vec![rerun];
    expected.extend(newer.iter().rev().chain([&old]).map(run_of));
    for size in [1, 2, 50] {
        assert_eq!(world.pages(&format!("/api/runs?page_size={size}")).concat(), expected);
    }
    assert_eq!(world.pages("/api/runs?inserted_after=2026-05-21T10:00:05Z").concat(), expected[..1]);
}

#[test]
fn a_state_that_few_are_in_is_found_among_many_that_are_in_another() {
    let world = World::new(1);
    let waiting = world.receive(0, WEBHOOK, "{}");
    let old = world.claim(0);
    for n in 1..=1_500 {
        world.at(n).receive(0, OTHER, "{}");
        world.run(0, &[]);
    }
    assert_eq!(world.pages("/api/work_orders?state=pending").concat(), std::slice::from_ref(&waiting));
    world.begin(0, old);
    assert_eq!(world.pages("/api/work_orders?state=running").concat(), [waiting]);
    assert_eq!(world.pages("/api/runs?state=started").concat().len(), 1);
    let all = world.pages("/api/work_orders?state=success&page_size=1000");
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 500]);
}

#[test]
fn bad_parameters_are_refused_by_name() {
    let world = World::new(1);
    world.receive(0, WEBHOOK, "{}");
    let refused = [
        ("work_orders?state=happy", "`state`: there is no work order state `happy`."),
        ("work_orders?state=started", "`state`: there is no work order state `started`."),
        ("runs?state=pending", "`state`: there is no run state `pending`."),
        ("work_orders?trigger_id=7", "`trigger_id` must be a UUID."),
        (
            "work_orders?inserted_after=yesterday",
            "`inserted_after` must be a time such as 2026-05-21T10:00:00Z.",
        ),
        ("runs?inserted_before=12", "`inserted_before` must be a time such as 2026-05-21T10:00:00Z."),
        ("work_orders?page_size=1001", "`page_size` must be a whole number from 1 to 1000."),
        ("work_orders?page_size=0", "`page_size` must be a whole number from 1 to 1000."),
        ("runs?page_size=ten", "`page_size` must be a whole number from 1 to 1000."),
        ("work_orders?page=0", "`page` must be a whole number, at least 1."),
        (
            "work_orders?page=999999",
            "`page` reaches 100000 items far; go on with `after`, as `links.next` does, for more.",
        ),
        (
            "work_orders?page=18446744073709551615&page_size=9",
            "`page` reaches 100000 items far; go on with `after`, as `links.next` does, for more.",
        ),
        ("work_orders?include=output", "`include` takes input, not `output`."),
        ("runs?include=output", "`include` takes input and final_state and states, not `output`."),
        ("log_lines", "`run_id` is missing."),
        ("events?limit=1001", "`limit` must be a whole number from 1 to 1000."),
        ("events?shard=1", "`shard` must be a whole number from 0 to 0."),
        ("events?from=-1", "`from` must be a whole number, at least 0."),
        ("dead_letters?state=closed", "`state` must be `open` or `resolved`."),
        ("dead_letters?reason=odd", "`reason`: there is no reason `odd`."),
    ];
    for (target, message) in refused {
        let told = world.call(Method::GET, &format!("/api/{target}"), "");
        assert_eq!(told.status, 422, "{target}");
        assert_eq!(
            told.body,
            serde_json::json!({"error": "invalid_parameter", "message": message}),
            "{target}"
        );
    }
    for target in ["work_orders?after=7", "runs?after=7", "dead_letters?after=7", "triggers?after=7"] {
        assert_eq!(world.call(Method::GET, &format!("/api/{target}"), "").status, 404, "{target}");
    }
}
