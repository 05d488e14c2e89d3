//! What must miss nothing, while the views lack something: requests are refused, and what is under way waits.

use std::time::{Duration, Instant};

use hyper::Method;
use keyway_storage::event::Reason;
use serde_json::{Value, json};

use super::world::{PROJECT, SECOND, Told, WEBHOOK, World};

/// More than the views take in during one turn, and than a walk looks for at once.
const MANY: u64 = 20_000;

fn post(world: &World, target: &str, body: &Value) -> Told {
    world.call(Method::POST, target, &body.to_string())
}

fn without_intake() -> String {
    let (before, behind) = (PROJECT.find("  intake:\n").unwrap(), PROJECT.find("  other:\n").unwrap());
    format!("{}{}", &PROJECT[..before], &PROJECT[behind..])
}

fn matched(told: &Told) -> Option<u64> {
    let data = &told.body["data"];
    data["matched"].as_u64().or_else(|| data["attributes"]["matched"].as_u64())
}

#[test]
fn a_request_that_must_miss_nothing_is_refused_until_the_views_show_everything() {
    let world = World::new(2);
    // Shard 1 comes first: it rests when its views are dropped, and no turn that still ends says that they are there.
    for shard in [1, 0] {
        world.receive(shard, WEBHOOK, "{}");
        world.run(shard, &[]);
        world.receive(shard, WEBHOOK, "{}");
        world.dead_letter(shard, Some(b"oops"), Reason::InvalidJson);
    }
    let requests = [
        ("/api/replays", json!({"from": "events", "dry_run": true}), 4),
        ("/api/replays", json!({"from": "events", "state": "success", "dry_run": true}), 2),
        ("/api/replays", json!({"from": "dead_letters", "dry_run": true}), 2),
        ("/api/reruns", json!({"dry_run": true}), 2),
        ("/api/cancels", json!({"dry_run": true}), 2),
        ("/api/discards", json!({"dry_run": true}), 2),
        ("/api/replays", json!({"from": "dead_letters"}), 2),
        ("/api/cancels", json!({}), 2),
    ];
    // As in the middle of a rebuild of one shard, which does not turn before someone asks it.
    world.api.readers[1].stats.note_views_dropped();
    let tails = (world.tail(0), world.tail(1));
    for (target, body, _) in &requests {
        let told = post(&world, target, body);
        assert_eq!(
            (told.status, told.body["error"].as_str()),
            (503, Some("service_unavailable")),
            "{target}"
        );
        assert!(told.headers.iter().any(|(name, _)| name == "retry-after"), "{:?}", told.headers);
    }
    assert_eq!((world.tail(0), world.tail(1)), tails);
    world.turn(1);
    for (target, body, count) in &requests {
        let told = post(&world, target, body);
        assert_eq!((told.status, matched(&told)), (202, Some(*count)), "{target} {body}: {}", told.body);
    }
}

#[test]
fn a_rebuild_hides_nothing_from_requests_nor_from_a_replay_that_goes_on() {
    let world = World::new(1);
    (0..MANY).for_each(|_| drop(world.receive(0, WEBHOOK, "{}")));
    // No live input holds up what is replayed.
    world.pass(2 * SECOND);
    let rebuild = || assert_eq!(post(&world, "/api/rebuild", &json!({"what": "views"})).status, 202);
    for (target, body) in [
        ("/api/replays", json!({"from": "events", "dry_run": true})),
        ("/api/cancels", json!({"filters": {"workflow": "intake"}, "dry_run": true})),
        ("/api/replays", json!({"from": "events"})),
    ] {
        rebuild();
        let deadline = Instant::now() + Duration::from_secs(20);
        let told = loop {
            let told = post(&world, target, &body);
            if told.status != 503 {
                break told;
            }
            assert!(Instant::now() < deadline, "{}", told.body);
        };
        assert_eq!((told.status, matched(&told)), (202, Some(MANY)), "{target}: {}", told.body);
    }
    let id = world.read("/api/replays")["data"][0]["id"].as_str().unwrap().to_owned();
    let (mut next, deadline) = (0, Instant::now() + Duration::from_secs(60));
    loop {
        let shown = world.read(&format!("/api/replays/{id}"))["data"]["attributes"].clone();
        let replayed = shown["replayed"].as_u64().unwrap();
        if shown["state"] != "running" {
            assert_eq!((&shown["state"], replayed, &shown["failed"]), (&json!("done"), MANY, &json!(0)));
            break;
        }
        if replayed >= next {
            rebuild();
            next += MANY / 20;
        }
        assert!(Instant::now() < deadline, "{shown}");
        world.pass(1_000);
        std::thread::yield_now();
    }
}

#[test]
fn a_bulk_rerun_counts_what_has_no_workflow_any_more() {
    let world = World::new(1);
    for _ in 0..3 {
        world.receive(0, WEBHOOK, "{}");
        world.run(0, &[]);
    }
    world.apply(&without_intake());
    let told = post(&world, "/api/reruns", &json!({}));
    assert_eq!(
        (told.status, told.body),
        (202, json!({"data": {"matched": 0, "dry_run": false, "without_workflow": 3}}))
    );
}

#[test]
fn a_replay_of_events_whose_workflow_is_gone_names_each_and_changes_nothing() {
    let world = World::new(1);
    for _ in 0..3 {
        world.receive(0, WEBHOOK, "{}");
        world.run(0, &[]);
    }
    world.apply(&without_intake());
    // Long after: no live input holds it up.
    world.pass(2 * SECOND);
    let told = post(&world, "/api/replays", &json!({"from": "events", "trigger_id": WEBHOOK}));
    assert_eq!((told.status, matched(&told)), (202, Some(3)), "{}", told.body);
    let target = format!("/api/replays/{}", told.body["data"]["id"].as_str().unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    let ended = loop {
        let shown = world.read(&target)["data"]["attributes"].clone();
        if shown["state"] != "running" {
            break shown;
        }
        assert!(Instant::now() < deadline, "{shown}");
        world.pass(1_000);
        std::thread::yield_now();
    };
    assert_eq!(
        (&ended["state"], &ended["replayed"], &ended["failed"]),
        (&json!("done"), &json!(0), &json!(3))
    );
    let events = world.read("/api/events?page_size=100")["data"].clone();
    let events = events.as_array().unwrap().iter().map(|event| &event["attributes"]);
    let failed = events.filter(|event| event["kind"] == "ReplayItemFailed").map(|event| &event["reason"]);
    assert_eq!(
        failed.collect::<Vec<_>>(),
        [&json!("The project no longer has the trigger that it came through."); 3]
    );
}
