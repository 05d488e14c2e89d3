//! Work orders, runs and log lines, one by one.

use hyper::Method;
use keyway_storage::event::RunState;
use serde_json::{Value, json};

use super::world::{CRON, WEBHOOK, World};

#[test]
fn a_work_order_is_shown_as_soon_as_it_is_durable() {
    let world = World::new(2);
    let id = world.at(1_000_000).receive(1, WEBHOOK, "{\"n\":1}");
    let shown = world.read(&format!("/api/work_orders/{id}"));
    let run = shown["data"]["attributes"]["runs"][0].clone();
    let expected = json!({"data": {"type": "work_orders", "id": id, "attributes": {
        "state": "pending",
        "workflow": "intake",
        "trigger_id": WEBHOOK,
        "trigger_type": "webhook",
        "inserted_at": "2026-05-21T10:00:01.000000Z",
        "last_activity": "2026-05-21T10:00:01.000000Z",
        "runs": [run],
        "replays": null,
    }}});
    assert_eq!(shown, expected);
    assert_eq!(world.read("/api/work_orders")["data"][0], shown["data"]);
}

#[test]
fn an_input_is_shown_byte_for_byte() {
    let world = World::new(1);
    let body = "{\"z\": 1.0, \"a\":12345678901234567890123, \"a\": [1e400]}";
    let id = world.receive(0, WEBHOOK, body);
    let shown = world.call(Method::GET, &format!("/api/work_orders/{id}?include=input"), "");
    let input = format!("\"input\":{{\"data\":{body},\"request\":{{\"method\":\"POST\"}}}}");
    assert!(shown.text.contains(&input), "{}", shown.text);
}

#[test]
fn a_run_goes_through_its_states() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{\"n\":1}");
    let state_of = |path: String| world.read(&path)["data"]["attributes"]["state"].clone();
    let run = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"][0].clone();
    let run = run.as_str().unwrap();
    let states = || (state_of(format!("/api/work_orders/{order}")), state_of(format!("/api/runs/{run}")));
    assert_eq!(states(), (json!("pending"), json!("available")));
    let claimed = world.at(1).claim(0);
    assert_eq!(states(), (json!("pending"), json!("claimed")));
    world.at(2).begin(0, claimed);
    assert_eq!(states(), (json!("running"), json!("started")));
    world.at(3).end(0, claimed, &["{\"data\":{\"n\":2}}"], RunState::Success);
    assert_eq!(states(), (json!("success"), json!("success")));
}

#[test]
fn an_ended_run_is_shown_with_its_steps_and_states() {
    let world = World::new(1);
    let order = world.at(0).receive(0, WEBHOOK, "{\"n\":1}");
    let claimed = world.at(1_000).claim(0);
    world.at(2_000).begin(0, claimed);
    world.at(3_000).end(0, claimed, &["{\"data\": 2}", "{\"data\": 3}"], RunState::Success);
    let run = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"][0].clone();
    let run = run.as_str().unwrap();
    let shown = world.read(&format!("/api/runs/{run}?include=final_state,states"));
    let steps = &shown["data"]["attributes"]["steps"];
    let step = |index: usize, job: &str, input: Value, output: Value| {
        json!({
            "id": steps[index]["id"], "job": job, "exit_reason": "success", "error_type": null, "error_message": null,
            "started_at": "2026-05-21T10:00:00.003000Z", "finished_at": "2026-05-21T10:00:00.003000Z",
            "input": input, "output": output,
        })
    };
    let initial = json!({"data": {"n": 1}, "request": {"method": "POST"}});
    let expected = json!({"data": {"type": "runs", "id": run, "attributes": {
        "state": "success",
        "work_order_id": order,
        "attempt": 1,
        "priority": "normal",
        "starting_job": "validate",
        "error_type": null,
        "error_message": null,
        "inserted_at": "2026-05-21T10:00:00.000000Z",
        "claimed_at": "2026-05-21T10:00:00.001000Z",
        "started_at": "2026-05-21T10:00:00.002000Z",
        "finished_at": "2026-05-21T10:00:00.003000Z",
        "cursor": null,
        "steps": [
            step(0, "validate", initial, json!({"data": 2})),
            step(1, "send", json!({"data": 2}), json!({"data": 3})),
        ],
        "final_state": {"data": 3},
    }}});
    assert_eq!(shown, expected);
    assert_ne!(steps[0]["id"], steps[1]["id"]);
    let plain = world.read(&format!("/api/runs/{run}"));
    assert_eq!(plain["data"]["attributes"].get("final_state"), None);
    assert_eq!(plain["data"]["attributes"]["steps"][0].get("input"), None);
}

#[test]
fn a_failed_run_says_what_went_wrong_on_itself_and_on_its_step() {
    let world = World::new(1);
    world.receive(0, WEBHOOK, "{}");
    let claimed = world.claim(0);
    world.begin(0, claimed);
    world.end(0, claimed, &["{}"], RunState::Failed);
    let shown = world.read("/api/runs")["data"][0]["attributes"].clone();
    let step = &shown["steps"][0];
    assert_eq!(step["exit_reason"], "fail");
    for shown in [&shown, step] {
        assert_eq!(shown["error_type"], "TypeError");
        assert_eq!(shown["error_message"], "x is not a function");
    }
    assert_eq!(world.read("/api/work_orders")["data"][0]["attributes"]["state"], "failed");
}

#[test]
fn a_cron_run_says_whether_its_state_was_kept() {
    let world = World::new(1);
    for (state, cursor) in
        [("{\"n\":1}", "kept"), ("{\"n\":12345678}", "warned"), ("{\"n\":1234567890123456}", "too_large")]
    {
        let order = world.receive(0, CRON, "");
        world.run(0, &[state]);
        let run = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"][0].clone();
        let shown = world.read(&format!("/api/runs/{}", run.as_str().unwrap()));
        assert_eq!(shown["data"]["attributes"]["cursor"], cursor);
    }
}

#[test]
fn log_lines_name_their_step_and_job() {
    let world = World::new(1);
    let order = world.receive(0, WEBHOOK, "{}");
    world.run(0, &["{}", "{}"]);
    let run = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"][0].clone();
    let run = run.as_str().unwrap();
    let lines = world.read(&format!("/api/log_lines?run_id={run}"));
    let step = world.read(&format!("/api/runs/{run}"))["data"]["attributes"]["steps"][1]["id"].clone();
    assert_eq!(lines["data"].as_array().unwrap().len(), 4);
    let expected = json!({
        "run_id": run, "step_id": step, "job": "send", "level": "error", "source": "R/T", "message": "oh no",
        "timestamp": "2026-05-21T10:00:00.000000Z",
    });
    assert_eq!(lines["data"][3]["attributes"], expected);
    let pages = world.pages(&format!("/api/log_lines?run_id={run}&page_size=3"));
    let ids: Vec<_> = super::world::ids(&lines);
    assert_eq!(pages, [ids[..3].to_vec(), ids[3..].to_vec()]);
    assert!(ids.iter().all(|id| uuid::Uuid::try_parse(id).is_ok()));
}

#[test]
fn an_id_that_was_changed_or_never_made_is_not_found() {
    let world = World::new(2);
    let order = world.receive(1, WEBHOOK, "{}");
    let run = world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["runs"][0].clone();
    let run = run.as_str().unwrap();
    let mut wrong = vec![run.to_owned(), "nonsense".to_owned(), WEBHOOK.to_owned(), order.replace('-', "")];
    for at in 0..order.len() {
        let mut changed = order.clone();
        let other = if &order[at..=at] == "7" { "8" } else { "7" };
        changed.replace_range(at..=at, other);
        if order.as_bytes()[at] != b'-' {
            wrong.push(changed);
        }
    }
    for id in wrong {
        let told = world.call(Method::GET, &format!("/api/work_orders/{id}"), "");
        assert_eq!((told.status, told.body["error"].as_str()), (404, Some("not_found")), "{id}");
    }
    let told = world.call(Method::GET, &format!("/api/runs/{order}"), "");
    assert_eq!(told.status, 404);
}
