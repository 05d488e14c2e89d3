//! A cron trigger's cursor, shown, set and cleared.

use hyper::Method;
use serde_json::{Value, json};

use super::world::{CRON, WEBHOOK, World};

fn path(trigger: &str) -> String {
    format!("/api/triggers/{trigger}/cursor")
}

#[test]
fn a_cursor_is_empty_at_first_and_then_what_someone_set() {
    let world = World::new(3);
    let told = world.read(&path(CRON));
    assert_eq!((&told["data"]["type"], &told["data"]["id"]), (&json!("cursors"), &json!(CRON)));
    let empty = json!({"state": {}, "bytes": 2, "set_at": null, "run_id": null});
    assert_eq!(told["data"]["attributes"], empty);

    let told = world.at(7).call(Method::PUT, &path(CRON), " { \"n\" : 1.50 }");
    assert_eq!(told.status, 200, "{}", told.body);
    assert!(told.text.contains("\"state\":{\"n\":1.50}"), "{}", told.text);
    assert_eq!(told.body["data"]["attributes"]["bytes"], 10);
    assert_eq!(told.body["data"]["attributes"]["set_at"], "2026-05-21T10:00:00.000007Z");
    assert_eq!(world.read(&path(CRON)), told.body);
    let sets = |world: &World| {
        let all = (0..3).flat_map(|shard| {
            let events = world.read(&format!("/api/events?shard={shard}"));
            events["data"].as_array().unwrap().clone()
        });
        all.filter(|event| event["attributes"]["kind"] == "CursorSet").count()
    };
    assert_eq!(sets(&world), 1, "on the shard that owns the trigger");

    let told = world.call(Method::DELETE, &path(CRON), "");
    assert_eq!((told.status, &told.body["data"]["attributes"]), (200, &empty));
    assert_eq!(sets(&world), 2);
}

#[test]
fn what_is_no_state_or_too_large_is_refused_and_changes_nothing() {
    let world = World::new(1);
    for body in ["", "[1]", "7", "null", "{\"n\":", "{} {}"] {
        assert_eq!(world.call(Method::PUT, &path(CRON), body).status, 400, "{body}");
    }
    // The file's cursor_bytes_max is 20.
    let told = world.call(Method::PUT, &path(CRON), "{\"n\":\"123456789 1234\"}");
    assert_eq!(told.status, 422);
    let message = "The state has 22 bytes; the trigger keeps at most 20 (cursor_bytes_max).";
    assert_eq!(told.body["message"], message);
    let fits = world.call(Method::PUT, &path(CRON), "{\"n\":\"123456789 12\"}");
    assert_eq!((fits.status, &fits.body["data"]["attributes"]["bytes"]), (200, &json!(20)));
    assert_eq!(world.call(Method::DELETE, &path(CRON), "{\"a\":1}").status, 422);
}

#[test]
fn only_a_trigger_that_has_a_cursor_shows_one() {
    let world = World::new(1);
    for id in [WEBHOOK, "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9fff", "7"] {
        for (method, body) in [(Method::GET, ""), (Method::PUT, "{}"), (Method::DELETE, "")] {
            let told = world.call(method, &path(id), body);
            assert_eq!((told.status, &told.body["error"]), (404, &json!("not_found")), "{id}");
        }
    }
    assert_ne!(world.read(&path(CRON)), Value::Null);
}
