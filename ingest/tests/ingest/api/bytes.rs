//! Limits in bytes: what a workflow, or all of them, has too much of goes, that which ended first before all else.

use std::time::{Duration, Instant};

use hyper::Method;
use keyway_engine::refold::difference;
use keyway_storage::{
    event::{EventKind, Level, LogLine, LogSource, LogWritten, Reason, RunState},
    place::{RunKey, Timestamp},
};
use serde_json::{Value, json};

use super::world::{CRON, DAY, KAFKA, OTHER, PROJECT, SECOND, WEBHOOK, World, ids};

const BODY_BYTES: usize = 50_000;
const LIMIT_BYTES: usize = 2_000_000;
/// Most orders with such a body that fit into the limit.
const FIT: usize = LIMIT_BYTES / BODY_BYTES;

/// A world whose workflow `intake` has this limit.
fn limited(limit: &str) -> World {
    let world = World::bare(1);
    world.apply(&PROJECT.replace("  intake:\n", &format!("  intake:\n    {limit}: {LIMIT_BYTES}\n")));
    world.at(0);
    world
}

fn body() -> String {
    format!("\"{}\"", "x".repeat(BODY_BYTES))
}

/// So many work orders whose runs have ended.
fn ended(world: &World, trigger: &str, count: usize) -> Vec<String> {
    ended_with(world, trigger, count, &body())
}

fn ended_with(world: &World, trigger: &str, count: usize, body: &str) -> Vec<String> {
    let one = |_| {
        let order = world.receive(0, trigger, body);
        world.run(0, &["{}"]);
        world.pass(SECOND / 10);
        order
    };
    (0..count).map(one).collect()
}

fn retention(world: &World, name: &str) -> u64 {
    world.read("/api/status")["data"]["retention"][name].as_u64().unwrap()
}

/// Turns until a number of the status is there, and does not change any more.
fn settled(world: &World, name: &str) -> u64 {
    world.pass(10 * SECOND);
    let deadline = Instant::now() + Duration::from_secs(20);
    let (mut last, mut same) = (0, 0);
    while same < 100 {
        world.turn(0);
        world.pass(SECOND / 20);
        let number = retention(world, name);
        same = if number == last && number > 0 { same + 1 } else { 0 };
        last = number;
        assert!(Instant::now() < deadline, "{name}: {number}");
    }
    // The shard goes on by itself: what it commits while it is looked at is a difference that is soon none.
    while let Some(difference) = difference(&world.api.readers[0].settled()).unwrap() {
        assert!(Instant::now() < deadline, "{difference}");
    }
    last
}

fn is_there(world: &World, order: &String) -> bool {
    world.call(Method::GET, &format!("/api/work_orders/{order}"), "").status == 200
}

fn has_body(world: &World, order: &String) -> bool {
    world.read(&format!("/api/work_orders/{order}?include=input"))["data"]["attributes"]["input"]
        != Value::Null
}

/// How many of the last ones are as asked; none of those before is.
fn last_ones(orders: &[String], is_so: impl Fn(&String) -> bool) -> usize {
    let first = orders.iter().position(&is_so).unwrap_or(orders.len());
    assert!(orders[first..].iter().all(is_so), "something newer went");
    orders.len() - first
}

/// All events that are in the log.
fn events(world: &World) -> String {
    let (mut text, mut from) = (String::new(), json!(0));
    loop {
        let told = world.call(Method::GET, &format!("/api/events?shard=0&page_size=1000&from={from}"), "");
        text += &told.text;
        if told.body["meta"]["next"] == told.body["meta"]["tail"] {
            return text;
        }
        from = told.body["meta"]["next"].clone();
    }
}

#[test]
fn a_workflow_with_too_much_history_loses_what_ended_first_and_another_keeps_everything() {
    let world = limited("history_retention_bytes");
    let (mut orders, mut others) = (Vec::new(), Vec::new());
    for _ in 0..25 {
        orders.extend(ended(&world, WEBHOOK, 3));
        others.extend(ended(&world, OTHER, 2));
    }
    let gone = settled(&world, "cut_work_orders") as usize;
    let kept = last_ones(&orders, |order| is_there(&world, order));
    assert_eq!(gone + kept, orders.len());
    assert!((FIT - 2..FIT).contains(&kept), "{kept}");
    assert!(others.iter().all(|order| is_there(&world, order)));
    assert_eq!(
        ids(&world.read(&format!("/api/work_orders?trigger_id={WEBHOOK}&page_size=1000"))).len(),
        kept
    );
    assert!(retention(&world, "cut_events") > 0);
    assert!(retention(&world, "cut_bytes") as usize > gone * BODY_BYTES, "the log has its bytes back");
    let told = events(&world);
    assert!(told.contains("\"bounded_by\":\"workflow_bytes\",\"workflow\":\"intake\""), "{}", told.len());
    // What comes next takes the place of the oldest.
    orders.extend(ended(&world, WEBHOOK, 5));
    assert_eq!(settled(&world, "cut_work_orders") as usize, gone + 5);
    assert_eq!(last_ones(&orders, |order| is_there(&world, order)), kept);
}

#[test]
fn however_small_they_are_no_more_go_than_are_too_much() {
    let world = limited("history_retention_bytes");
    let small = format!("\"{}\"", "x".repeat(BODY_BYTES / 10));
    let (mut orders, mut others) = (Vec::new(), Vec::new());
    for _ in 0..120 {
        orders.extend(ended_with(&world, WEBHOOK, 4, &small));
        others.extend(ended_with(&world, OTHER, 1, &small));
    }
    let gone = settled(&world, "cut_work_orders") as usize;
    let kept = last_ones(&orders, |order| is_there(&world, order));
    assert_eq!(gone + kept, orders.len());
    assert!((8 * FIT..10 * FIT).contains(&kept), "{kept}");
    assert!(others.iter().all(|order| is_there(&world, order)));
    // One after the other: those that are counted together do not go together.
    for more in 1..4 {
        orders.extend(ended_with(&world, WEBHOOK, 1, &small));
        assert_eq!(settled(&world, "cut_work_orders") as usize, gone + more);
        assert_eq!(last_ones(&orders, |order| is_there(&world, order)), kept);
    }
}

#[test]
fn a_workflow_with_too_many_bodies_keeps_its_history() {
    let world = limited("dataclip_retention_bytes");
    let (orders, others) = (ended(&world, WEBHOOK, 60), ended(&world, OTHER, 60));
    // The input and the output of the only step.
    let wiped = settled(&world, "wiped_dataclips") as usize / 2;
    let kept = last_ones(&orders, |order| has_body(&world, order));
    assert_eq!(wiped + kept, orders.len());
    assert!((FIT - 1..=FIT).contains(&kept), "{kept}");
    assert!(orders.iter().all(|order| is_there(&world, order)));
    assert!(others.iter().all(|order| has_body(&world, order)));
    assert_eq!(retention(&world, "cut_work_orders"), 0);
    let oldest = world.read(&format!("/api/work_orders/{}?include=input", orders[0]));
    assert!(oldest.to_string().contains("wiped_at"), "{oldest}");
    let told = events(&world);
    assert!(told.contains("\"kept_seconds\":null,\"bounded_by\":\"workflow_bytes\""), "{}", told.len());
}

#[test]
fn a_limit_of_the_project_is_of_all_workflows_together() {
    let world = World::bare(1);
    let limit = format!("name: clinic\ndataclip_retention_bytes: {LIMIT_BYTES}");
    world.apply(&PROJECT.replace("name: clinic", &limit));
    world.at(0);
    let mut orders = Vec::new();
    (0..15).for_each(|n| orders.extend(ended(&world, if n % 2 == 0 { WEBHOOK } else { OTHER }, 4)));
    settled(&world, "wiped_dataclips");
    let kept = last_ones(&orders, |order| has_body(&world, order));
    assert!((FIT - 1..=FIT).contains(&kept), "{kept}");
    assert!(events(&world).contains("\"bounded_by\":\"project_bytes\""));
}

#[test]
fn log_lines_go_by_their_bytes() {
    let world = limited("log_retention_bytes");
    let mut runs = Vec::new();
    for _ in 0..50 {
        world.receive(0, WEBHOOK, "{}");
        let claimed = world.claim(0);
        world.begin(0, claimed);
        world.report(0, claimed, vec![said(claimed.0, claimed.1)]);
        world.end(0, claimed, &["{}"], RunState::Success);
        world.pass(SECOND);
        runs.push(ids(&world.read("/api/runs"))[0].clone());
    }
    settled(&world, "wiped_log_lines");
    let lines = |run: &String| {
        let lines = world.read(&format!("/api/log_lines?run_id={run}"));
        !lines["data"].as_array().unwrap().is_empty()
    };
    let kept = last_ones(&runs, lines);
    assert!((FIT - 1..=FIT).contains(&kept), "{kept}");
    assert_eq!(retention(&world, "wiped_dataclips"), 0);
}

fn said(run: RunKey, attempt: u8) -> EventKind {
    let line = LogLine {
        step: None,
        level: Level::Info,
        source: LogSource::Job,
        at: Timestamp(0),
        message: "x".repeat(BODY_BYTES).into(),
    };
    LogWritten { run, attempt, lines: vec![line] }.into()
}

#[test]
fn what_is_open_or_ended_again_is_not_what_ended_first() {
    let world = limited("history_retention_bytes");
    let open = world.receive(0, WEBHOOK, &body());
    let claimed = world.claim(0);
    world.begin(0, claimed);
    let again = ended(&world, WEBHOOK, 1).remove(0);
    let letter = world.dead_letter(0, Some(b"two"), Reason::InvalidJson);
    let orders = ended(&world, WEBHOOK, FIT - 10);
    let told = world.call(Method::POST, &format!("/api/work_orders/{again}/reruns"), "{}");
    assert_eq!(told.status, 201, "{}", told.body);
    world.run(0, &["{}"]);
    let newer = ended(&world, WEBHOOK, FIT);
    settled(&world, "cut_work_orders");
    assert!(is_there(&world, &open), "it has not ended");
    assert!(!is_there(&world, &again), "it ended before the newer ones");
    assert_eq!(last_ones(&orders, |order| is_there(&world, order)), 0);
    let kept = last_ones(&newer, |order| is_there(&world, order));
    assert!((FIT - 2..FIT).contains(&kept), "{kept}");
    assert_eq!(world.call(Method::GET, &format!("/api/dead_letters/{letter}"), "").status, 200);
    world.end(0, claimed, &["{}"], RunState::Success);
    let later = ended(&world, WEBHOOK, kept - 1);
    settled(&world, "cut_work_orders");
    assert!(is_there(&world, &open), "it ended before the others, but after all that is gone");
    assert!(later.iter().all(|order| is_there(&world, order)));
    assert_eq!(last_ones(&newer, |order| is_there(&world, order)), 0);
}

#[test]
fn what_is_gone_for_another_reason_is_not_counted() {
    let world = World::bare(1);
    let limit = format!("name: clinic\ndataclip_retention_bytes: {LIMIT_BYTES}");
    let project = PROJECT.replace("name: clinic", &limit);
    world.apply(&project.replace("  other:\n", "  other:\n    dataclip_retention_period: 1\n"));
    world.at(0);
    let orders = ended(&world, WEBHOOK, FIT - 10);
    let others = ended(&world, OTHER, 5);
    // They were counted before their time was over.
    world.pass(10 * SECOND);
    (0..50).for_each(|_| {
        world.turn(0);
        world.pass(SECOND / 10);
    });
    world.pass(DAY);
    assert_eq!(settled(&world, "wiped_dataclips"), 10, "the time of the others is over");
    assert!(orders.iter().all(|order| has_body(&world, order)));
    assert!(!others.iter().any(|order| has_body(&world, order)));
    // There is room for as many again as went.
    let more = ended(&world, WEBHOOK, 9);
    assert_eq!(settled(&world, "wiped_dataclips"), 10);
    assert!(orders.iter().chain(&more).all(|order| has_body(&world, order)));
    ended(&world, WEBHOOK, 2);
    assert!(settled(&world, "wiped_dataclips") > 10);
    assert!(!has_body(&world, &orders[0]));
}

#[test]
fn closed_dead_letters_count_and_open_ones_stay() {
    let world = World::bare(1);
    let limit = format!("  orders:\n    history_retention_bytes: {LIMIT_BYTES}\n");
    world.apply(&PROJECT.replace("  orders:\n", &limit));
    world.at(0);
    let raw = vec![b'x'; BODY_BYTES];
    let letters: Vec<_> =
        (0..FIT + 20).map(|_| world.dead_letter(0, Some(&raw), Reason::InvalidJson)).collect();
    let discard = |letter: &String| {
        let path = format!("/api/dead_letters/{letter}/discard");
        assert_eq!(world.call(Method::POST, &path, "{\"reason\":\"a test\"}").status, 200);
        world.pass(SECOND);
    };
    letters[1..].iter().for_each(discard);
    settled(&world, "cut_dead_letters");
    let is_letter =
        |it: &String| world.call(Method::GET, &format!("/api/dead_letters/{it}"), "").status == 200;
    assert!(is_letter(&letters[0]), "it is open");
    let kept = last_ones(&letters[1..], is_letter);
    assert!((FIT - 2..FIT).contains(&kept), "{kept}");
    assert_eq!(ids(&world.read(&format!("/api/work_orders?trigger_id={KAFKA}"))).len(), 0);
}

#[test]
fn what_next_runs_start_with_is_not_too_much() {
    let world = World::bare(1);
    let limit = format!("  nightly:\n    dataclip_retention_bytes: {LIMIT_BYTES}\n");
    let project = PROJECT.replace("  nightly:\n", &limit);
    world.apply(&project.replace("cursor_warn_bytes: 10, cursor_bytes_max: 20", "cursor_bytes_max: 100000"));
    world.at(0);
    let state = |n: usize| json!({ "n": n, "noise": "x".repeat(BODY_BYTES) });
    for n in 0..FIT + 10 {
        let told = world.call(Method::PUT, &format!("/api/triggers/{CRON}/cursor"), &state(n).to_string());
        assert_eq!(told.status, 200, "{}", told.body);
        world.pass(SECOND);
    }
    settled(&world, "wiped_dataclips");
    let cursor = world.read(&format!("/api/triggers/{CRON}/cursor"));
    assert_eq!(cursor["data"]["attributes"]["state"], state(FIT + 9));
    let left = events(&world).matches("\"noise\":\"x").count();
    assert!((FIT - 1..=FIT).contains(&left), "{left}");
}
