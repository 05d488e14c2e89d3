//! Events as the log has them.

use hyper::Method;
use keyway_storage::event::{Reason, RunState};
use serde_json::{Value, json};

use super::world::{WEBHOOK, World};

#[test]
fn every_event_is_shown_with_its_place_and_its_own_fields() {
    let world = World::new(1);
    let order = world.at(5).receive(0, WEBHOOK, "{\"n\":1}");
    let run = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"][0].clone();
    let events = world.read("/api/events?shard=0");
    let kinds: Vec<_> =
        events["data"].as_array().unwrap().iter().map(|it| it["attributes"]["kind"].clone()).collect();
    assert_eq!(kinds, ["Opened", "ProjectApplied", "SchedulesSet", "Received"]);
    assert_eq!(events["data"][0]["attributes"]["boot"], 1);
    let received = &events["data"][3];
    assert_eq!(received["type"], "events");
    assert_eq!(received["id"], "0-3");
    let attributes = &received["attributes"];
    assert_eq!(attributes["shard"], 0);
    assert_eq!(attributes["offset"], 3);
    assert_eq!(attributes["at"], "2026-05-21T10:00:00.000005Z");
    assert_eq!(attributes["work_order_id"], json!(order));
    assert_eq!(attributes["run_id"], run);
    assert_eq!(attributes["trigger_id"], WEBHOOK);
    assert_eq!(attributes["workflow"], "intake");
    assert_eq!(attributes["body"], json!({"n": 1}));
    assert_eq!(attributes["request"], json!({"method": "POST"}));
    assert_eq!(world.read("/api/events/0-3")["data"], *received);
    for id in ["0-4", "1-0", "0", "x-1", "0-99999999999999999999"] {
        assert_eq!(world.call(Method::GET, &format!("/api/events/{id}"), "").status, 404, "{id}");
    }
}

#[test]
fn a_log_is_read_page_by_page_from_any_offset() {
    let world = World::new(2);
    for n in 0..10 {
        world.at(n).receive(1, WEBHOOK, "{}");
    }
    let tail = world.tail(1).0;
    let all = world.pages("/api/events?shard=1&limit=5").concat();
    let expected: Vec<_> = (0..tail).map(|offset| format!("1-{offset}")).collect();
    assert_eq!(all, expected);
    let from = world.read("/api/events?shard=1&from=7&page_size=2");
    assert_eq!(super::world::ids(&from), ["1-7", "1-8"]);
    assert_eq!(from["meta"], json!({"shard": 1, "next": 9, "tail": tail}));
    assert_eq!(from["links"]["next"], "/api/events?shard=1&page_size=2&from=9");
    let beyond = world.read(&format!("/api/events?shard=1&from={tail}"));
    assert_eq!(beyond["data"], json!([]));
    assert_eq!(beyond["links"]["next"], Value::Null);
}

#[test]
fn without_a_shard_the_logs_of_all_shards_follow_each_other() {
    let world = World::new(3);
    for n in 0..7 {
        world.at(n).receive((n % 3) as u8, WEBHOOK, "{}");
    }
    let of_shard = |shard: u8| (0..world.tail(shard).0).map(move |offset| format!("{shard}-{offset}"));
    let expected: Vec<_> = (0..3).flat_map(of_shard).collect();
    for limit in [1, 2, 5, 6, 100] {
        let pages = world.pages(&format!("/api/events?limit={limit}"));
        assert_eq!(pages.concat(), expected, "limit {limit}");
        assert_eq!(pages.len(), expected.len().div_ceil(limit));
    }
    assert_eq!(world.pages("/api/events?from=5&limit=1").concat(), ["0-5"]);
    assert_eq!(world.call(Method::GET, "/api/events?after=7", "").status, 404);
}

#[test]
fn the_events_of_a_life_name_the_run_and_what_it_left() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    let claimed = world.claim(0);
    world.begin(0, claimed);
    world.end(0, claimed, &["{\"data\": 1.50}"], RunState::Failed);
    world.call(Method::POST, &format!("/api/work_orders/{order}/reruns"), "{\"job\":\"validate\"}");
    let told = world.call(Method::GET, "/api/events?from=4", "");
    let events = told.body["data"].as_array().unwrap().clone();
    let kinds: Vec<_> = events.iter().map(|it| it["attributes"]["kind"].as_str().unwrap()).collect();
    let expected = [
        "RunsClaimed",
        "RunStarted",
        "StepStarted",
        "LogWritten",
        "StepFinished",
        "RunFinished",
        "RunRequested",
    ];
    assert_eq!(kinds, expected);
    let run = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"][0].clone();
    assert_eq!(events[0]["attributes"]["runs"][0]["run_id"], run);
    for event in &events[1..6] {
        assert_eq!(event["attributes"]["run_id"], run);
    }
    assert_eq!(events[3]["attributes"]["lines"][1]["message"], "oh no");
    assert!(told.text.contains("\"output\":{\"data\": 1.50}"), "{}", told.text);
    assert_eq!(events[5]["attributes"]["state"], "failed");
    assert_eq!(events[5]["attributes"]["final_state"], json!({"step": 0}));
    assert_eq!(
        events[5]["attributes"]["error"],
        json!({"type": "TypeError", "message": "x is not a function"})
    );
    assert_eq!(events[6]["attributes"]["input"], json!({"input_of": 0}));
}

#[test]
fn a_body_that_is_not_json_is_shown_as_base64() {
    let world = World::new(1);
    world.receive(0, WEBHOOK, "not json");
    world.dead_letter(0, Some(b"\xff"), Reason::InvalidText);
    let events = world.read("/api/events?from=3");
    assert_eq!(events["data"][0]["attributes"]["body"], json!({"base64": "bm90IGpzb24="}));
    assert_eq!(events["data"][1]["attributes"]["body_base64"], "/w==");
    assert_eq!(events["data"][1]["attributes"]["reason"], "invalid_text");
}
