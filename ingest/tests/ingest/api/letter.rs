//! Dead letters.

use hyper::Method;
use keyway_storage::event::Reason;
use serde_json::{Value, json};

use super::world::{KAFKA, World, ids};

#[test]
fn a_dead_letter_is_kept_whole_with_its_reason_and_source() {
    let world = World::new(2);
    let id = world.at(1_000_000).dead_letter(1, Some(b"{oops"), Reason::InvalidJson);
    let expected = json!({"data": {"type": "dead_letters", "id": id, "attributes": {
        "trigger_id": KAFKA,
        "reason": "invalid_json",
        "detail": "expected value at line 1",
        "inserted_at": "2026-05-21T10:00:01.000000Z",
        "source": {
            "topic": "orders", "partition": 3, "kafka_offset": 42, "timestamp": 1_700_000_000_000_u64,
            "key_base64": "azE=", "headers": [],
        },
        "body_base64": "e29vcHM=",
        "resolved": null,
    }}});
    assert_eq!(world.read(&format!("/api/dead_letters/{id}")), expected);
    let null = world.dead_letter(0, None, Reason::NotAnObject);
    assert_eq!(
        world.read(&format!("/api/dead_letters/{null}"))["data"]["attributes"]["body_base64"],
        Value::Null
    );
    let empty = world.dead_letter(0, Some(b""), Reason::InvalidJson);
    assert_eq!(world.read(&format!("/api/dead_letters/{empty}"))["data"]["attributes"]["body_base64"], "");
}

#[test]
fn dead_letters_are_listed_newest_first_by_reason_and_by_what_became_of_them() {
    let world = World::new(2);
    let reasons = [Reason::InvalidJson, Reason::NotAnObject, Reason::TooLarge];
    let make =
        |n: u64| world.at(n * 1_000_000).dead_letter((n % 2) as u8, Some(b"x"), reasons[n as usize % 3]);
    let mut all: Vec<_> = (0..9).map(make).collect();
    all.reverse();
    let list = |query: &str| world.pages(&format!("/api/dead_letters?page_size=2&{query}")).concat();
    assert_eq!(list(""), all);
    assert_eq!(list("reason=not_an_object"), [all[1].clone(), all[4].clone(), all[7].clone()]);
    assert_eq!(list(&format!("trigger_id={KAFKA}&inserted_after=2026-05-21T10:00:07Z")), all[..2]);
    assert_eq!(list("trigger_id=0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01"), [""; 0]);
    let told =
        world.call(Method::POST, &format!("/api/dead_letters/{}/discard", all[3]), "{\"reason\":\"a test\"}");
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(list("state=resolved"), all[3..4]);
    let mut open = all.clone();
    open.remove(3);
    assert_eq!(list("state=open"), open);
    assert_eq!(ids(&world.read("/api/dead_letters?page=2&page_size=4")), all[4..8]);
    assert_eq!(world.read("/api/status")["data"]["dead_letters"], 8);
}

#[test]
fn a_dead_letter_is_discarded_once() {
    let world = World::new(1);
    let id = world.dead_letter(0, Some(b"x"), Reason::InvalidJson);
    let discard = |body: &str| world.call(Method::POST, &format!("/api/dead_letters/{id}/discard"), body);
    assert_eq!(discard("{\"reason\": 7}").status, 422);
    assert_eq!(discard("{\"because\": \"\"}").status, 422);
    let told =
        world.at(9).call(Method::POST, &format!("/api/dead_letters/{id}/discard"), "{\"reason\":\"spam\"}");
    let resolved = json!({"how": "discarded", "at": "2026-05-21T10:00:00.000009Z", "work_order_id": null, "reason": "spam"});
    assert_eq!((told.status, &told.body["data"]["attributes"]["resolved"]), (200, &resolved));
    assert_eq!(discard("").status, 409);
    let event = world.read("/api/events?page_size=1000");
    let last = event["data"].as_array().unwrap().last().unwrap()["attributes"].clone();
    assert_eq!(last["end"], json!({"how": "discarded", "reason": "spam"}));
    assert_eq!(last["dead_letter_id"], json!(id));
}

#[test]
fn dead_letters_are_given_up_many_at_once_by_their_filters() {
    let world = World::new(2);
    let reasons = [Reason::InvalidJson, Reason::NotAnObject];
    let make = |n: usize| world.at(n as u64).dead_letter((n % 2) as u8, Some(b"x"), reasons[n / 2 % 2]);
    let all: Vec<_> = (0..8).map(make).collect();
    let ask = |body: &str| world.call(Method::POST, "/api/discards", body);
    let dry = ask(r#"{"filters": {"reason": "invalid_json"}, "dry_run": true}"#);
    assert_eq!((dry.status, dry.body), (202, json!({"data": {"matched": 4, "dry_run": true}})));
    for wrong in [r#"{"filters": {"state": "open"}}"#, r#"{"filters": {"kafka": 7}}"#, r#"{"reason": 7}"#] {
        assert_eq!(ask(wrong).status, 422, "{wrong}");
    }
    let kafka =
        |topic: &str| ask(&format!(r#"{{"filters": {{"kafka": {{"topic": "{topic}"}}}}, "dry_run": true}}"#));
    assert_eq!(kafka("nothing").body["data"]["matched"], 0);
    assert_eq!(kafka("orders").body["data"]["matched"], 8);
    assert_eq!(ask(r#"{"filters": {"reason": "invalid_json"}, "reason": "a bad day"}"#).status, 202);
    while world.read("/api/status")["data"]["dead_letters"] != 4 {
        std::thread::yield_now();
    }
    let of =
        |id: &String| world.read(&format!("/api/dead_letters/{id}"))["data"]["attributes"]["resolved"].take();
    let resolved: Vec<Value> = all.iter().map(of).collect();
    for (n, resolved) in resolved.iter().enumerate() {
        match n / 2 % 2 {
            0 => assert_eq!(
                (&resolved["how"], &resolved["reason"]),
                (&json!("discarded"), &json!("a bad day"))
            ),
            _ => assert_eq!(*resolved, Value::Null),
        }
    }
}

#[test]
fn the_metrics_count_the_dead_letters_that_are_open() {
    let world = World::new(2);
    let ids = [0, 1, 1].map(|shard| world.dead_letter(shard, Some(b"x"), Reason::InvalidJson));
    let counted = |line: &str| {
        let text = world.call(Method::GET, "/metrics", "").text;
        assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
    };
    counted("keyway_dead_letters 3.0");
    let target = format!("/api/dead_letters/{}/discard", ids[1]);
    assert_eq!(world.call(Method::POST, &target, "").status, 200);
    counted("keyway_dead_letters 2.0");
}
