//! Status, project, health, metrics, and the description of it all.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use hyper::{Method, StatusCode};
use keyway_engine::stats::Health;
use keyway_ingest::api::routes;
use keyway_storage::event::{Reason, RunState};
use serde_json::{Value, json};

use super::world::{PROJECT, WEBHOOK, World};

#[test]
fn the_status_counts_exactly() {
    let world = World::new(2);
    for shard in [0, 0, 1] {
        world.receive(shard, WEBHOOK, "{}");
    }
    world.run(0, &["{}"]);
    let claimed = world.claim(0);
    world.begin(0, claimed);
    world.dead_letter(1, None, Reason::InvalidJson);
    let status = world.read("/api/status")["data"].clone();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["uptime_seconds"].is_u64());
    let tails = [world.tail(0).0, world.tail(1).0];
    let shard = |shard: usize| {
        let tail = tails[shard];
        json!({"shard": shard, "first": 0, "tail": tail, "watermark": tail, "takes_inputs": true})
    };
    assert_eq!(status["shards"], json!([shard(0), shard(1)]));
    assert_eq!(status["events"], tails[0] + tails[1]);
    let orders = json!({
        "rejected": 0, "pending": 1, "running": 1, "success": 1, "failed": 0, "crashed": 0, "cancelled": 0,
        "killed": 0, "exception": 0, "lost": 0,
    });
    assert_eq!(status["work_orders"], orders);
    let runs = json!({
        "available": 1, "claimed": 0, "started": 1, "success": 1, "failed": 0, "crashed": 0, "cancelled": 0,
        "killed": 0, "exception": 0, "lost": 0,
    });
    assert_eq!(status["runs"], runs);
    assert_eq!(status["dead_letters"], 1);
    assert_eq!(status["triggers"], 4);
}

#[test]
fn a_project_is_put_into_force_on_every_shard() {
    let world = World::bare(2);
    assert_eq!(world.call(Method::GET, "/api/project", "").status, 404);
    assert_eq!(world.read("/api/triggers")["data"], json!([]));
    let told = world.call(Method::PUT, "/api/project", PROJECT);
    assert_eq!(told.status, 200, "{}", told.body);
    let project = &told.body["data"];
    assert_eq!(project["type"], "projects");
    assert_eq!(project["id"], "3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11");
    assert_eq!(project["attributes"]["name"], "clinic");
    let intake = json!({
        "key": "intake", "name": "Intake", "concurrency": null, "jobs": ["validate", "send"], "triggers": [WEBHOOK],
    });
    assert_eq!(project["attributes"]["workflows"][0], intake);
    let shown = world.read("/api/project");
    assert_eq!(shown["data"]["attributes"]["file"], PROJECT);
    for shard in 0..2 {
        world.receive(shard, WEBHOOK, "{}");
    }
}

#[test]
fn a_project_may_be_json() {
    let world = World::bare(1);
    let project = json!({"name": "small", "workflows": {"w": {
        "jobs": {"j": {"name": "J", "adaptor": "@openfn/language-common@latest", "body": "fn(state => state)"}},
        "triggers": {"t": {"type": "webhook", "enabled": true}},
        "edges": {"t->j": {"source_trigger": "t", "target_job": "j", "condition_type": "always", "enabled": true}},
    }}});
    let told = world.call(Method::PUT, "/api/project", &project.to_string());
    assert_eq!(told.status, 200, "{}", told.body);
    let ids = world.pages("/api/triggers").concat();
    world.apply(&project.to_string());
    assert_eq!(world.pages("/api/triggers").concat(), ids, "an id that was made is kept");
}

#[test]
fn a_project_with_mistakes_is_refused_with_all_of_them_and_changes_nothing() {
    let world = World::new(1);
    let tail = world.tail(0);
    let wrong = PROJECT
        .replace("target_job: only", "target_job: nobody")
        .replace("enabled: true, custom", "enable: true, custom");
    let told = world.call(Method::PUT, "/api/project", &wrong);
    assert_eq!((told.status, told.body["error"].as_str()), (422, Some("invalid_project")));
    let mistakes = told.body["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert_eq!(told.body["message"], "The project file has 2 mistakes.");
    let keys: Vec<_> = mistakes[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["path", "line", "column", "message", "hint"]);
    assert_eq!(mistakes[0]["line"], 11);
    assert_eq!(world.tail(0), tail);
}

#[test]
fn a_server_that_was_started_with_a_file_warns_that_the_file_wins() {
    let mut world = World::new(1);
    world.api.has_project_file = true;
    let told = world.call(Method::PUT, "/api/project", PROJECT);
    let warning = told.body["meta"]["warnings"].as_array().unwrap().last().unwrap().as_str().unwrap();
    assert!(warning.contains("--project"), "{warning}");
}

#[test]
fn readiness_names_the_shard_and_its_trouble() {
    let world = World::new(2);
    assert_eq!(world.call(Method::GET, "/health/live", "").status, 200);
    assert_eq!(world.call(Method::GET, "/health/ready", "").status, 200);
    for health in [Health::Recovering, Health::Full, Health::Poisoned, Health::Stopped] {
        world.api.readers[1].stats.set_health(health);
        let told = world.call(Method::GET, "/health/ready", "");
        assert_eq!((told.status, told.body["error"].as_str()), (503, Some("not_ready")));
        assert!(told.body["message"].as_str().unwrap().starts_with("Shard 1 "), "{}", told.body);
    }
    world.api.readers[1].stats.set_health(Health::Ready);
    world.api.draining.store(true, Ordering::Release);
    let told = world.call(Method::GET, "/health/ready", "");
    assert_eq!((told.status, told.body["message"].as_str()), (503, Some("The server is stopping.")));
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let mut world = World::new(2);
    world.api.gauges.answers = vec![Arc::default(), Arc::default()];
    for (door, status) in [(0, 200), (0, 404), (1, 200)] {
        world.api.gauges.answers[door].note(StatusCode::from_u16(status).unwrap());
    }
    world.receive(0, WEBHOOK, "{}");
    world.run(0, &["{}"]);
    world.receive(1, WEBHOOK, "{}");
    let text = world.call(Method::GET, "/metrics", "").text;
    for line in [
        "keyway_webhook_answers_total{status=\"200\"} 2",
        "keyway_webhook_answers_total{status=\"404\"} 1",
        "keyway_mailbox_inputs{shard=\"1\"} 0.0",
        "keyway_finished_runs_total{state=\"success\"} 1",
        "keyway_waiting_runs 1.0",
        "keyway_open_runs 0.0",
        "keyway_dead_letters 0.0",
        "keyway_shard_ready{shard=\"0\"} 1.0",
        "keyway_views_lag_events{shard=\"0\"} 0.0",
        "# TYPE keyway_append_duration_seconds histogram",
        "# TYPE keyway_log_events counter",
        "# EOF",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
    let events = format!("keyway_log_events_total{{shard=\"0\"}} {}", world.tail(0).0);
    assert!(text.contains(&events), "{text}");
    assert!(text.contains("keyway_append_duration_seconds_bucket{le=\"+Inf\",shard=\"0\"}"), "{text}");
    assert!(text.contains("keyway_process_memory_bytes "), "{text}");
}

#[test]
fn the_description_covers_every_route_and_nothing_else() {
    let world = World::bare(1);
    let described = world.read("/api/openapi.json");
    assert_eq!(described["openapi"], "3.1.0");
    let methods = |path: &Value| {
        path.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect::<Vec<_>>()
    };
    let paths = described["paths"].as_object().unwrap();
    let found: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, it)| methods(it).into_iter().map(move |method| (method, path.clone())))
        .collect();
    let mut known: BTreeSet<_> =
        routes().map(|(method, path)| (method.to_owned(), path.to_owned())).collect();
    known.extend(
        ["/health/live", "/health/ready", "/metrics"].map(|path| ("GET".to_owned(), path.to_owned())),
    );
    assert_eq!(found, known);
}

#[test]
fn every_route_answers_and_refuses_other_methods() {
    let world = World::new(1);
    for (_, path) in routes() {
        let told = world.call(Method::PATCH, &path.replace("{id}", "7"), "");
        assert_eq!((told.status, told.body["error"].as_str()), (405, Some("method_not_allowed")), "{path}");
        let allowed: Vec<_> =
            routes().filter(|(_, other)| *other == path).map(|(method, _)| method).collect();
        assert_eq!(told.headers, [("allow".to_owned(), allowed.join(", "))]);
    }
    for (method, path) in routes() {
        let method: Method = method.parse().unwrap();
        let told = world.call(method, &path.replace("{id}", "7"), "");
        let status = if path.contains("{id}") { 404 } else { told.status };
        assert_eq!(told.status, status, "{path}");
        assert_ne!(told.status, 405);
        assert!(told.status < 500, "{path}: {}", told.body);
    }
    for path in ["/api", "/api/nothing", "/api/runs/7/steps", "/api//runs", "/", "/i/7", "/api/replay"] {
        let told = world.call(Method::GET, path, "");
        assert_eq!((told.status, told.body["error"].as_str()), (404, Some("not_found")), "{path}");
    }
    assert_eq!(world.call(Method::GET, "/api/runs/", "").status, 200);
    assert_eq!(world.call(Method::HEAD, "/api/runs", "").status, 200);
    assert_eq!(world.call(Method::POST, "/metrics", "").status, 405);
}

#[test]
fn what_ended_is_found_again_by_whoever_was_told() {
    let world = World::new(2);
    for n in 0..200 {
        let order = world.at(n).receive((n % 2) as u8, WEBHOOK, "{}");
        let claimed = world.claim((n % 2) as u8);
        world.begin((n % 2) as u8, claimed);
        world.end((n % 2) as u8, claimed, &["{}"], RunState::Success);
        assert_eq!(
            world.read(&format!("/api/work_orders/{order}"))["data"]["attributes"]["state"],
            "success"
        );
        assert_eq!(world.read("/api/status")["data"]["runs"]["success"], n + 1);
    }
}
