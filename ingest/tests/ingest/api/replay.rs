//! Replays: dead letters and past events go through again.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Method;
use keyway_storage::event::{Reason, RunState};
use serde_json::{Value, json};

use super::world::{KAFKA, OTHER, PROJECT, Told, WEBHOOK, World, ids};

fn post(world: &World, target: &str, body: &Value) -> Told {
    world.call(Method::POST, target, &body.to_string())
}

/// Begins a replay; gives its id and what it matched.
fn begin(world: &World, body: &Value) -> (String, u64) {
    let told = post(world, "/api/replays", body);
    assert_eq!(told.status, 202, "{}", told.body);
    assert_eq!(told.body["data"]["type"], "replays");
    let matched = told.body["data"]["attributes"]["matched"].as_u64().unwrap();
    (told.body["data"]["id"].as_str().unwrap().to_owned(), matched)
}

fn show(world: &World, id: &str) -> Value {
    world.read(&format!("/api/replays/{id}"))["data"]["attributes"].clone()
}

/// Waits until a replay has this state; gives its attributes.
fn until(world: &World, id: &str, state: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let attributes = show(world, id);
        if attributes["state"] == state {
            return attributes;
        }
        assert!(Instant::now() < deadline, "{attributes}");
        // A busy shard takes no more of a replay before some time has passed.
        world.pass(1_000);
        std::thread::yield_now();
    }
}

fn replay(world: &World, body: &Value) -> Value {
    let (id, _) = begin(world, body);
    until(world, &id, "done")
}

/// The bodies of the work orders that replay something, in the order of each log.
fn replayed(world: &World, shard: u8) -> Vec<Value> {
    let mut bodies = Vec::new();
    let mut next = Some(format!("/api/events?shard={shard}&page_size=1000"));
    while let Some(target) = next {
        let page = world.read(&target);
        let events = page["data"].as_array().unwrap().iter().map(|event| &event["attributes"]);
        bodies.extend(
            events
                .filter(|event| event["kind"] == "Received" && !event["replays"].is_null())
                .map(|event| event["body"].clone()),
        );
        next = page["links"]["next"].as_str().map(str::to_owned);
    }
    bodies
}

fn letters(world: &World, query: &str) -> Vec<String> {
    world.pages(&format!("/api/dead_letters?page_size=100&{query}")).concat()
}

#[test]
fn a_dead_letter_goes_through_as_it_is_once_its_trigger_takes_it() {
    let world = World::new(2);
    let id = world.dead_letter(1, Some(b"{\"n\": 1.50}"), Reason::NoRunCreated);
    let told = world.at(5_000_000).call(Method::POST, &format!("/api/dead_letters/{id}/replay"), "");
    assert_eq!(told.status, 200, "{}", told.body);
    let resolved = &told.body["data"]["attributes"]["resolved"];
    assert_eq!(
        (&resolved["how"], &resolved["at"]),
        (&json!("replayed"), &json!("2026-05-21T10:00:05.000000Z"))
    );
    let order = world.call(
        Method::GET,
        &format!("/api/work_orders/{}?include=input", resolved["work_order_id"].as_str().unwrap()),
        "",
    );
    assert_eq!(order.body["data"]["attributes"]["state"], "pending");
    assert_eq!(order.body["data"]["attributes"]["trigger_id"], KAFKA);
    assert_eq!(order.body["data"]["attributes"]["replays"], json!({"type": "dead_letters", "id": id}));
    assert!(order.text.contains("\"data\":{\"n\": 1.50}"), "{}", order.text);
    assert!(order.text.contains("\"offset\":42"), "{}", order.text);
    let events = world.read("/api/events?shard=1&page_size=100")["data"].clone();
    let last: Vec<_> = events.as_array().unwrap().iter().rev().take(2).map(|it| &it["attributes"]).collect();
    assert_eq!((&last[1]["kind"], &last[1]["replays"]), (&json!("Received"), &json!("1-3")));
    assert_eq!(last[0]["kind"], "DeadLetterClosed");
    let again = world.call(Method::POST, &format!("/api/dead_letters/{id}/replay"), "");
    assert_eq!((again.status, again.body["error"].as_str()), (409, Some("conflict")));
    assert_eq!(world.read("/api/status")["data"]["dead_letters"], 0);
}

#[test]
fn a_corrected_payload_is_checked_like_a_new_one() {
    let world = World::new(1);
    let id = world.dead_letter(0, Some(b"{oops"), Reason::InvalidJson);
    let target = format!("/api/dead_letters/{id}/replay");
    let with = |raw: &[u8]| json!({ "body_base64": STANDARD.encode(raw) });
    let rows = [
        (json!({}), 422, "invalid_json"),
        (with(b"{oops"), 422, "invalid_json"),
        (with(b"\xff"), 422, "invalid_json"),
        (with(b"[1]"), 422, "not_an_object"),
        (with(b"null"), 422, "not_an_object"),
        (json!({"body_base64": "a"}), 422, "invalid_parameter"),
        (json!({"body_base64": 7}), 422, "invalid_parameter"),
        (json!({"body": "{}"}), 422, "invalid_parameter"),
        (json!([]), 400, "bad_request"),
    ];
    let tail = world.tail(0);
    for (body, status, error) in rows {
        let told = post(&world, &target, &body);
        assert_eq!((told.status, told.body["error"].as_str()), (status, Some(error)), "{body}");
    }
    assert_eq!(world.tail(0), tail, "what is refused leaves no trace");
    let told = post(&world, &target, &with(b"{\"ok\":true}"));
    assert_eq!((told.status, &told.body["data"]["attributes"]["resolved"]["how"]), (200, &json!("replayed")));
    assert_eq!(
        told.body["data"]["attributes"]["body_base64"],
        STANDARD.encode(b"{oops"),
        "it is kept as it came"
    );
    assert_eq!(replayed(&world, 0), [json!({"ok": true})]);
    let unknown = "0190aaaa-0000-7000-8000-000000000001";
    assert_eq!(post(&world, &format!("/api/dead_letters/{unknown}/replay"), &json!({})).status, 404);
}

#[test]
fn a_dead_letter_whose_trigger_is_gone_stays_open() {
    let world = World::new(1);
    let id = world.dead_letter(0, Some(b"{}"), Reason::NoRunCreated);
    let without = PROJECT.split("  orders:\n").next().unwrap();
    assert_eq!(world.call(Method::PUT, "/api/project", without).status, 200);
    let told = world.call(Method::POST, &format!("/api/dead_letters/{id}/replay"), "");
    let message = "The project no longer has the trigger that it came through.";
    assert_eq!((told.status, told.body["message"].as_str()), (409, Some(message)));
    let done = replay(&world, &json!({"from": "dead_letters"}));
    assert_eq!((&done["matched"], &done["replayed"], &done["failed"]), (&json!(1), &json!(0), &json!(1)));
    let events = world.read("/api/events?page_size=100");
    let failed = events["data"].as_array().unwrap().iter().map(|it| &it["attributes"]);
    let failed = failed.filter(|it| it["kind"] == "ReplayItemFailed").collect::<Vec<_>>();
    assert_eq!((failed.len(), &failed[0]["reason"], &failed[0]["item"]), (1, &json!(message), &json!("0-3")));
    assert_eq!(letters(&world, "state=open"), [id]);
}

#[test]
fn dead_letters_go_through_in_the_order_in_which_they_came_and_those_that_fail_again_stay_open() {
    let world = World::new(2);
    for n in 0..200_u64 {
        let raw = if n % 10 == 0 { "oops".to_owned() } else { format!("{{\"n\":{n}}}") };
        world.at(n * 1_000).dead_letter((n % 2) as u8, Some(raw.as_bytes()), Reason::InvalidJson);
    }
    let done =
        replay(&world, &json!({"from": "dead_letters", "trigger_id": KAFKA, "reason": "invalid_json"}));
    assert_eq!(
        (&done["matched"], &done["replayed"], &done["failed"]),
        (&json!(200), &json!(180), &json!(20))
    );
    assert!(done["finished_at"].is_string());
    for shard in 0..2_u8 {
        let expected: Vec<_> = (0..200_u64)
            .filter(|n| n % 2 == u64::from(shard) && n % 10 != 0)
            .map(|n| json!({ "n": n }))
            .collect();
        assert_eq!(replayed(&world, shard), expected);
    }
    assert_eq!(letters(&world, "state=open").len(), 20);
    assert_eq!(letters(&world, "").len(), 200, "what fails again is no second dead letter");
    let again = replay(&world, &json!({"from": "dead_letters"}));
    assert_eq!(
        (&again["matched"], &again["failed"]),
        (&json!(20), &json!(20)),
        "resolved ones are left alone"
    );
    assert_eq!(world.read("/api/status")["data"]["dead_letters"], 20);
    assert_eq!(ids(&world.read("/api/replays")).len(), 2);
}

#[test]
fn past_events_go_through_by_trigger_time_workflow_and_state() {
    let world = World::new(2);
    let order = |n: u64| {
        let (shard, trigger) = ((n % 2) as u8, if n % 4 < 2 { WEBHOOK } else { OTHER });
        world.at(n * 1_000_000).receive(shard, trigger, &format!("{{\"n\":{n}}}"));
        if n < 6 {
            let claimed = world.claim(shard);
            world.begin(shard, claimed);
            world.end(shard, claimed, &[], if n < 3 { RunState::Failed } else { RunState::Success });
        }
    };
    (0..12).for_each(order);
    world.at(60_000_000);
    let matched = |filters: Value| {
        let mut body = json!({"from": "events", "dry_run": true});
        body.as_object_mut().unwrap().extend(filters.as_object().unwrap().clone());
        let told = post(&world, "/api/replays", &body);
        assert_eq!(told.status, 202, "{}", told.body);
        let sample = told.body["data"]["attributes"]["sample"].as_array().unwrap().clone();
        (told.body["data"]["attributes"]["matched"].as_u64().unwrap(), sample.len())
    };
    let tails = (world.tail(0), world.tail(1));
    assert_eq!(matched(json!({})), (12, 10));
    assert_eq!(matched(json!({"trigger_id": OTHER})), (6, 6));
    assert_eq!(matched(json!({"workflow": "intake"})), (6, 6));
    assert_eq!(matched(json!({"workflow": "nowhere"})), (0, 0));
    assert_eq!(matched(json!({"state": "failed"})), (3, 3));
    assert_eq!(matched(json!({"state": "pending"})), (6, 6));
    assert_eq!(matched(json!({"state": "failed", "trigger_id": OTHER})), (1, 1));
    assert_eq!(matched(json!({"inserted_after": "2026-05-21T10:00:04Z"})), (8, 8));
    let between =
        json!({"inserted_after": "2026-05-21T10:00:04Z", "inserted_before": "2026-05-21T10:00:05Z"});
    assert_eq!(matched(between), (1, 1));
    assert_eq!(matched(json!({"kafka": {"topic": "orders"}})), (0, 0));
    assert_eq!((world.tail(0), world.tail(1)), tails, "a dry run changes nothing");
    let done = replay(&world, &json!({"from": "events", "workflow": "intake"}));
    assert_eq!((&done["matched"], &done["replayed"], &done["failed"]), (&json!(6), &json!(6), &json!(0)));
    assert_eq!(done["filters"], json!({"workflow": "intake"}));
    assert_eq!(replayed(&world, 0), [0, 4, 8].map(|n| json!({ "n": n })));
    assert_eq!(replayed(&world, 1), [1, 5, 9].map(|n| json!({ "n": n })));
    // A replay of everything takes in what an earlier one made, and nothing of its own.
    let done = replay(&world, &json!({"from": "events"}));
    assert_eq!((&done["matched"], &done["replayed"]), (&json!(18), &json!(18)));
}

#[test]
fn a_range_of_kafka_includes_both_its_ends() {
    let world = World::new(1);
    for offset in 10..20 {
        world.message(0, "orders", 3, offset);
    }
    world.message(0, "other", 3, 12);
    let matched = |kafka: Value| {
        let body = json!({"from": "dead_letters", "kafka": kafka, "dry_run": true});
        post(&world, "/api/replays", &body).body["data"]["attributes"]["matched"].as_u64().unwrap()
    };
    assert_eq!(matched(json!({})), 11);
    assert_eq!(matched(json!({"topic": "orders"})), 10);
    assert_eq!(matched(json!({"topic": "orders", "partition": 3, "from_offset": 12, "to_offset": 15})), 4);
    assert_eq!(matched(json!({"from_offset": 12, "to_offset": 12})), 2);
    assert_eq!(matched(json!({"partition": 4})), 0);
    assert_eq!(letters(&world, "topic=orders&partition=3&from_offset=18").len(), 2);
    let body =
        json!({"from": "dead_letters", "kafka": {"topic": "orders", "from_offset": 12, "to_offset": 13}});
    assert_eq!(replay(&world, &body)["replayed"], 2);
    assert_eq!(letters(&world, "topic=orders&state=resolved&from_offset=12&to_offset=13").len(), 2);
    // Those that went through are past events of the same range.
    let body = json!({"from": "events", "kafka": {"topic": "orders", "from_offset": 13}, "dry_run": true});
    assert_eq!(post(&world, "/api/replays", &body).body["data"]["attributes"]["matched"], 1);
}

#[test]
fn a_replay_stops_goes_on_and_takes_every_item_once() {
    for from in ["dead_letters", "events"] {
        stop_and_go(from);
    }
}

fn stop_and_go(from: &str) {
    let world = World::new(2);
    for n in 0..60_u64 {
        let (shard, body) = ((n % 2) as u8, format!("{{\"n\":{n}}}"));
        match from {
            "events" => world.at(n).receive(shard, WEBHOOK, &body),
            _ => world.at(n).dead_letter(shard, Some(body.as_bytes()), Reason::NoRunCreated),
        };
    }
    let (id, _) = begin(&world, &json!({"from": from, "rate_per_second": 100}));
    let post = |verb: &str| world.call(Method::POST, &format!("/api/replays/{id}/{verb}"), "");
    for _ in 0..5 {
        let told = post("pause");
        assert_eq!((told.status, &told.body["data"]["attributes"]["state"]), (200, &json!("paused")));
        let count = told.body["data"]["attributes"]["replayed"].clone();
        assert_ne!(count, json!(60));
        assert_eq!(show(&world, &id)["replayed"], count, "nothing goes through while it is paused");
        assert_eq!(post("pause").status, 200);
        let told = post("resume");
        assert_eq!((told.status, &told.body["data"]["attributes"]["state"]), (200, &json!("running")));
        assert_eq!(post("resume").status, 200);
    }
    let done = until(&world, &id, "done");
    assert_eq!((&done["replayed"], &done["rate_per_second"]), (&json!(60), &json!(100)));
    for shard in 0..2_u64 {
        let expected: Vec<_> = (0..60).filter(|n| n % 2 == shard).map(|n| json!({ "n": n })).collect();
        assert_eq!(replayed(&world, shard as u8), expected);
    }
    for verb in ["pause", "resume", "cancel"] {
        let told = post(verb);
        assert_eq!(
            (told.status, told.body["message"].as_str()),
            (409, Some("The replay has ended already."))
        );
    }
}

#[test]
fn a_cancelled_replay_leaves_the_rest_alone() {
    let world = World::new(1);
    for _ in 0..10 {
        world.dead_letter(0, Some(b"{}"), Reason::NoRunCreated);
    }
    let (id, matched) = begin(&world, &json!({"from": "dead_letters", "rate_per_second": 1}));
    assert_eq!(matched, 10);
    let told = world.call(Method::POST, &format!("/api/replays/{id}/cancel"), "");
    assert_eq!((told.status, &told.body["data"]["attributes"]["state"]), (200, &json!("cancelled")));
    let count = told.body["data"]["attributes"]["replayed"].as_u64().unwrap();
    assert!(count <= 1, "{count}");
    assert_eq!(letters(&world, "state=open").len() as u64, 10 - count);
    assert_eq!(world.call(Method::POST, &format!("/api/replays/{id}/resume"), "").status, 409);
    // The ones that are left can be replayed by another.
    assert_eq!(replay(&world, &json!({"from": "dead_letters"}))["replayed"], 10 - count);
}

#[test]
fn a_replay_with_a_mistake_in_it_changes_nothing() {
    let world = World::new(1);
    let tail = world.tail(0);
    for body in [
        json!({}),
        json!({"from": "letters"}),
        json!({"from": 1}),
        json!({"from": "events", "reason": "invalid_json"}),
        json!({"from": "dead_letters", "state": "failed"}),
        json!({"from": "dead_letters", "reason": "bad"}),
        json!({"from": "events", "state": "happy"}),
        json!({"from": "events", "state": "rejected"}),
        json!({"from": "events", "trigger_id": "7"}),
        json!({"from": "events", "inserted_after": "soon"}),
        json!({"from": "events", "rate_per_second": 0}),
        json!({"from": "events", "rate_per_second": "10"}),
        json!({"from": "events", "dry_run": 1}),
        json!({"from": "events", "kafka": []}),
        json!({"from": "events", "kafka": {"offset": 1}}),
        json!({"from": "events", "kafka": {"partition": -1}}),
        json!({"from": "events", "kafka": {"from_offset": 9, "to_offset": 8}}),
        json!({"from": "events", "workflows": "intake"}),
    ] {
        let told = post(&world, "/api/replays", &body);
        assert_eq!((told.status, told.body["error"].as_str()), (422, Some("invalid_parameter")), "{body}");
    }
    assert_eq!(world.tail(0), tail);
    let nothing = replay(&world, &json!({"from": "dead_letters"}));
    assert_eq!((&nothing["matched"], &nothing["replayed"]), (&json!(0), &json!(0)));
    for id in ["7", "5b0c2f52-8a43-4a55-9d0e-2f6f3c0b7a01"] {
        assert_eq!(world.call(Method::GET, &format!("/api/replays/{id}"), "").status, 404);
        assert_eq!(world.call(Method::POST, &format!("/api/replays/{id}/pause"), "").status, 404);
    }
}

#[test]
fn only_so_many_replays_go_on_at_a_time() {
    let world = World::new(1);
    for _ in 0..3 {
        world.receive(0, WEBHOOK, "{}");
    }
    let slow = json!({"from": "events", "rate_per_second": 1});
    let running: Vec<_> = (0..4).map(|_| begin(&world, &slow).0).collect();
    let told = post(&world, "/api/replays", &slow);
    assert_eq!((told.status, told.body["error"].as_str()), (503, Some("service_unavailable")));
    assert_eq!(world.call(Method::POST, &format!("/api/replays/{}/pause", running[0]), "").status, 200);
    begin(&world, &slow);
    let told = world.call(Method::POST, &format!("/api/replays/{}/resume", running[0]), "");
    assert_eq!(told.status, 503, "{}", told.body);
    assert_eq!(show(&world, &running[0])["state"], "paused");
    assert_eq!(world.pages("/api/replays?page_size=2").concat().len(), 5);
}

#[test]
fn a_replay_goes_no_faster_than_it_may() {
    let world = World::new(1);
    (0..31).for_each(|_| drop(world.dead_letter(0, Some(b"{}"), Reason::NoRunCreated)));
    let begun = Instant::now();
    let done = replay(&world, &json!({"from": "dead_letters", "rate_per_second": 60}));
    assert_eq!((&done["replayed"], &done["rate_per_second"]), (&json!(31), &json!(60)));
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
}
