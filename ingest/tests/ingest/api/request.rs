//! Reruns, cancels, switches.

use hyper::Method;
use keyway_engine::command::{Command, Skip};
use keyway_storage::{
    event::{RunState, TriggerId},
    place::Timestamp,
};
use serde_json::{Value, json};

use super::world::{CRON, KAFKA, OTHER, PROJECT, WEBHOOK, World};

fn post(world: &World, target: &str, body: Value) -> super::world::Told {
    world.call(Method::POST, target, &body.to_string())
}

fn run_ids(world: &World, order: &str) -> Vec<String> {
    let order = world.read(&format!("/api/work_orders/{order}"));
    let runs = order["data"]["attributes"]["runs"].as_array().unwrap();
    runs.iter().map(|run| run.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_waiting_run_is_cancelled_at_once() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    let run = &run_ids(&world, &order)[0];
    let told = world.at(5).call(Method::POST, &format!("/api/runs/{run}/cancel"), "");
    assert_eq!(told.status, 200, "{}", told.body);
    let attributes = &told.body["data"]["attributes"];
    assert_eq!(attributes["state"], "cancelled");
    assert_eq!(attributes["started_at"], Value::Null);
    assert_eq!(attributes["finished_at"], "2026-05-21T10:00:00.000005Z");
    assert_eq!(attributes["steps"], json!([]));
    assert_eq!(world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["state"], "cancelled");
    let again = world.call(Method::POST, &format!("/api/runs/{run}/cancel"), "");
    assert_eq!(again.status, 409);
    assert_eq!(again.body, json!({"error": "conflict", "message": "The run has ended already."}));
}

#[test]
fn a_running_run_is_told_to_stop_and_ends_as_cancelled() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    let run = &run_ids(&world, &order)[0];
    let claimed = world.claim(0);
    world.begin(0, claimed);
    let told = world.call(Method::POST, &format!("/api/runs/{run}/cancel"), "");
    assert_eq!((told.status, &told.body["data"]["attributes"]["state"]), (200, &json!("started")));
    world.end(0, claimed, &[], RunState::Killed);
    assert_eq!(world.read(&format!("/api/runs/{run}"))["data"]["attributes"]["state"], "cancelled");
}

#[test]
fn a_rerun_is_a_new_run_of_the_same_work_order() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    let open = post(&world, &format!("/api/work_orders/{order}/reruns"), json!({}));
    assert_eq!((open.status, open.body["error"].as_str()), (409, Some("conflict")));
    world.run(0, &["{}", "{}"]);
    let told = world.at(7).call(Method::POST, &format!("/api/work_orders/{order}/reruns"), "");
    assert_eq!(told.status, 201);
    let attributes = &told.body["data"]["attributes"];
    assert_eq!(attributes["state"], "available");
    assert_eq!(attributes["priority"], "immediate");
    assert_eq!(attributes["starting_job"], "validate");
    assert_eq!(attributes["inserted_at"], "2026-05-21T10:00:00.000007Z");
    assert_eq!(attributes["work_order_id"], json!(order));
    assert_eq!(run_ids(&world, &order)[1..], [told.body["data"]["id"].as_str().unwrap().to_owned()]);
    assert_eq!(world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["state"], "pending");
}

#[test]
fn a_rerun_from_a_job_starts_there_with_the_input_that_it_had() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    world.run(0, &["{\"data\":\"validated\"}", "{\"data\":\"sent\"}"]);
    let told = post(&world, &format!("/api/work_orders/{order}/reruns"), json!({"job": "send"}));
    assert_eq!(told.status, 201, "{}", told.body);
    assert_eq!(told.body["data"]["attributes"]["starting_job"], "send");
    world.run(0, &["{\"data\":\"again\"}"]);
    let run = told.body["data"]["id"].as_str().unwrap();
    let shown = world.read(&format!("/api/runs/{run}?include=states"));
    assert_eq!(shown["data"]["attributes"]["steps"][0]["input"], json!({"data": "validated"}));
}

#[test]
fn a_rerun_that_cannot_be_is_refused_with_the_reason() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    world.run(0, &["{}"]);
    let target = format!("/api/work_orders/{order}/reruns");
    let rows = [
        (json!({"job": "nobody"}), 422, "`job`: the workflow has no job `nobody`."),
        (json!({"job": "send"}), 422, "`job`: no run of this work order came to the job `send`."),
        (json!({"job": 7}), 422, "`job` must be the key of a job."),
        (json!({"jobs": "send"}), 422, "The body has an unknown key `jobs`."),
        (json!([]), 400, "The body must be a JSON object."),
    ];
    for (body, status, message) in rows {
        let told = post(&world, &target, body.clone());
        assert_eq!((told.status, told.body["message"].as_str()), (status, Some(message)), "{body}");
    }
    let told = world.call(Method::POST, &target, "{");
    assert_eq!((told.status, told.body["error"].as_str()), (400, Some("bad_request")));
    let without = PROJECT.replace("  intake:\n", "  renamed:\n");
    world.apply(&without);
    let told = post(&world, &target, json!({}));
    assert_eq!(told.status, 409);
    assert_eq!(told.body["message"], "The project no longer has the workflow of this work order.");
    assert_eq!(run_ids(&world, &order).len(), 1);
}

#[test]
fn a_tick_that_was_passed_over_is_seen_with_its_reason() {
    let world = World::new(1);
    let shown = || world.read(&format!("/api/triggers/{CRON}"))["data"]["attributes"]["last_skipped"].clone();
    assert_eq!(shown(), Value::Null);
    let trigger = TriggerId(*uuid::Uuid::try_parse(CRON).unwrap().as_bytes());
    for (seconds, reason) in [(1_779_357_660, "missed"), (1_779_357_720, "an earlier one has not ended yet")]
    {
        let due = Timestamp(seconds * 1_000_000);
        world.ask(0, Command::Skip(Skip { trigger, due, reason: reason.into() }));
    }
    let events = world.read("/api/events?shard=0&limit=100");
    let all = events["data"].as_array().unwrap().iter().map(|event| &event["attributes"]);
    let skipped: Vec<_> = all.filter(|event| event["kind"] == "TickSkipped").collect();
    assert_eq!(skipped.len(), 2);
    let last = skipped[1];
    assert_eq!((&last["trigger_id"], &last["due"]), (&json!(CRON), &json!("2026-05-21T10:02:00.000000Z")));
    assert_eq!(last["reason"], "an earlier one has not ended yet");
    assert_eq!(shown(), json!({"due": last["due"], "at": last["at"], "reason": last["reason"]}));
}

#[test]
fn triggers_are_shown_with_what_their_type_has() {
    let world = World::new(2);
    let all = world.read("/api/triggers");
    let shown: Vec<_> = all["data"].as_array().unwrap().iter().map(|item| &item["attributes"]).collect();
    let project = "3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11";
    assert_eq!(
        *shown[0],
        json!({
            "name": "webhook", "workflow": "intake", "type": "webhook", "enabled": true,
            "urls": [format!("http://127.0.0.1:4000/i/{WEBHOOK}"), format!("http://127.0.0.1:4000/i/{project}/clinic")],
            "last_event_at": null, "accepted": 0, "repeated": 0, "timeouts": 0, "refused": {}, "last_refusal": null,
            "blocked_keys": [], "blocked_keys_count": 0,
        })
    );
    assert_eq!(shown[1]["urls"], json!([format!("http://127.0.0.1:4000/i/{OTHER}")]));
    let cron = shown[2];
    assert_eq!((&cron["type"], &cron["urls"], &cron["last_at"]), (&json!("cron"), &json!([]), &Value::Null));
    assert_eq!(cron["schedule"], "At 02:00 every day, UTC time.");
    assert_eq!(cron["next_at"], cron["next_times"][0]["at"]);
    assert_eq!(cron["next_times"].as_array().unwrap().len(), 5);
    assert!(cron["next_at"].as_str().unwrap().ends_with("T02:00:00.000000Z"), "{cron}");
    assert_eq!(shown[3]["state"], "off");
    assert!(shown[3]["last_error"].as_str().unwrap().contains("KAFKA_TRIGGERS_ENABLED=yes"));
    assert_eq!(shown[3]["partitions"], json!([]));
    assert_eq!(world.read(&format!("/api/triggers/{CRON}"))["data"], all["data"][2]);
    let pages = world.pages("/api/triggers?page_size=3");
    assert_eq!(pages, [vec![WEBHOOK.to_owned(), OTHER.into(), CRON.into()], vec![KAFKA.into()]]);
}

#[test]
fn a_trigger_is_switched_on_all_shards_until_the_next_project_file() {
    let world = World::new(2);
    let enabled = || world.read(&format!("/api/triggers/{WEBHOOK}"))["data"]["attributes"]["enabled"].clone();
    let told = world.call(Method::POST, &format!("/api/triggers/{WEBHOOK}/disable"), "");
    assert_eq!((told.status, &told.body["data"]["attributes"]["enabled"]), (200, &json!(false)));
    assert_eq!(enabled(), json!(false));
    for shard in 0..2 {
        let events = world.read(&format!("/api/events?shard={shard}"));
        let last = events["data"].as_array().unwrap().last().unwrap()["attributes"].clone();
        assert_eq!((&last["kind"], &last["enabled"]), (&json!("TriggerSwitched"), &json!(false)));
    }
    assert_eq!(world.call(Method::POST, &format!("/api/triggers/{WEBHOOK}/enable"), "").status, 200);
    assert_eq!(enabled(), json!(true));
    world.call(Method::POST, &format!("/api/triggers/{WEBHOOK}/disable"), "");
    world.apply(PROJECT);
    assert_eq!(enabled(), json!(true));
    let nobody = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9fff";
    assert_eq!(world.call(Method::POST, &format!("/api/triggers/{nobody}/enable"), "").status, 404);
    assert_eq!(world.call(Method::GET, &format!("/api/triggers/{nobody}"), "").status, 404);
}

#[test]
fn a_rerun_may_be_of_the_version_that_the_work_order_had() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    world.run(0, &["{\"data\":1}", "{\"data\":2}"]);
    let changed = PROJECT.replace("validate", "check");
    world.apply(&changed);
    let target = format!("/api/work_orders/{order}/reruns");
    let told = post(&world, &target, json!({"job": "validate"}));
    assert_eq!(
        (told.status, told.body["message"].as_str()),
        (422, Some("`job`: the workflow has no job `validate`."))
    );
    assert_eq!(post(&world, &target, json!({"version": 1})).status, 422);
    let told = post(&world, &target, json!({"job": "validate", "version": "original"}));
    assert_eq!((told.status, &told.body["data"]["attributes"]["starting_job"]), (201, &json!("validate")));
    world.run(0, &["{}"]);
    let told = post(&world, &target, json!({"version": "current"}));
    assert_eq!((told.status, &told.body["data"]["attributes"]["starting_job"]), (201, &json!("check")));
}
