//! Retention: what runs had and said leaves the log when its time is over, and the history stays.

use std::time::{Duration, Instant};

use hyper::Method;
use keyway_engine::refold::difference;
use keyway_storage::event::{Reason, RunState};
use serde_json::{Value, json};

use super::world::{CRON, DAY, OTHER, PROJECT, SECOND, WEBHOOK, World};

const BODY: &str = "{\"secret\":\"tell nobody\"}";

/// A world whose project keeps bodies for 7 days and log lines for 3; workflow `other` keeps bodies for 30 days.
fn world() -> World {
    let periods = "name: clinic\ndataclip_retention_period: 7\nlog_retention_period: 3";
    let world = World::bare(1);
    world.apply(
        &PROJECT
            .replace("name: clinic", periods)
            .replace("  other:\n", "  other:\n    dataclip_retention_period: 30\n"),
    );
    world
}

/// Turns until what is read is as wanted.
fn until(world: &World, target: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        world.turn(0);
        let shown = world.read(target);
        if wanted(&shown["data"]) {
            return shown["data"].clone();
        }
        assert!(Instant::now() < deadline, "{target}: {shown}");
        // A replay takes its turns by the clock.
        world.pass(1_000);
    }
}

fn wiped(world: &World) -> (u64, u64) {
    let status = world.read("/api/status");
    let of = |name: &str| status["data"]["retention"][name].as_u64().unwrap();
    (of("wiped_dataclips"), of("wiped_log_lines"))
}

/// Waits until so many events lost content.
fn until_wiped(world: &World, dataclips: u64, log_lines: u64) {
    until(world, "/api/status", |_| wiped(world) == (dataclips, log_lines));
    assert_eq!(
        difference(&world.api.readers[0].settled()).unwrap(),
        None,
        "the rows are the fold of what is left"
    );
}

fn run_of(world: &World, order: &str) -> String {
    let order = world.read(&format!("/api/work_orders/{order}"));
    order["data"]["attributes"]["runs"][0].as_str().unwrap().to_owned()
}

fn messages(world: &World, run: &str) -> usize {
    world.read(&format!("/api/log_lines?run_id={run}"))["data"].as_array().unwrap().len()
}

#[test]
fn bodies_states_and_log_lines_go_when_their_time_is_over_and_the_history_stays() {
    let world = world();
    let order = world.at(0).receive(0, WEBHOOK, BODY);
    let later = world.receive(0, OTHER, BODY);
    world.run(0, &["{\"a\":1}", "{\"b\":2}"]);
    world.run(0, &["{\"c\":3}"]);
    let (run, other) = (run_of(&world, &order), run_of(&world, &later));
    let history = world.read(&format!("/api/runs/{run}"));
    world.at(3 * DAY + SECOND);
    until_wiped(&world, 0, 3);
    assert_eq!((messages(&world, &run), messages(&world, &other)), (0, 0));
    let states = format!("/api/runs/{run}?include=input,final_state,states");
    assert_eq!(world.read(&states)["data"]["attributes"]["final_state"], json!({"b": 2}));
    world.at(7 * DAY + SECOND);
    // The input and the outputs of two steps.
    until_wiped(&world, 3, 3);
    let shown = world.read(&states)["data"]["attributes"].clone();
    assert_eq!((&shown["input"], &shown["final_state"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["wiped_at"].as_str().unwrap()[..10], *"2026-05-28");
    assert_eq!(shown["steps"][1]["output"], Value::Null);
    assert_eq!(world.read(&format!("/api/runs/{run}")), history, "the history stays");
    let input = world.read(&format!("/api/work_orders/{later}?include=input"));
    assert_eq!(input["data"]["attributes"]["input"]["data"], json!({"secret": "tell nobody"}));
    world.at(30 * DAY + SECOND);
    until_wiped(&world, 5, 3);
    let events = world.call(Method::GET, "/api/events?shard=0&page_size=1000", "").text;
    assert!(!events.contains("tell nobody"), "{events}");
    assert!(events.contains("\"Wiped\""), "{events}");
}

#[test]
fn a_rerun_of_a_wiped_input_says_so() {
    let world = world();
    let order = world.at(0).receive(0, WEBHOOK, BODY);
    world.run(0, &["{\"a\":1}", "{\"b\":2}"]);
    world.at(7 * DAY + SECOND);
    until_wiped(&world, 3, 2);
    let rerun = |body: &Value| {
        let told = world.call(Method::POST, &format!("/api/work_orders/{order}/reruns"), &body.to_string());
        (told.status, told.body["error"].clone())
    };
    assert_eq!(rerun(&json!({})), (409, json!("wiped")));
    assert_eq!(rerun(&json!({"job": "send"})), (409, json!("wiped")));
    let many = world.call(Method::POST, "/api/reruns", "{}");
    assert_eq!(
        (many.status, many.body),
        (202, json!({"data": {"matched": 0, "dry_run": false, "wiped": 1}}))
    );
    let replay = json!({"from": "events", "trigger_id": WEBHOOK}).to_string();
    let replay = world.call(Method::POST, "/api/replays", &replay);
    let id = replay.body["data"]["id"].as_str().unwrap();
    let ended = until(&world, &format!("/api/replays/{id}"), |it| it["attributes"]["state"] == "done");
    assert_eq!((&ended["attributes"]["replayed"], &ended["attributes"]["failed"]), (&json!(0), &json!(1)));
}

#[test]
fn what_is_open_keeps_its_content_until_it_has_ended_for_long_enough() {
    let world = world();
    let waiting = world.at(0).receive(0, WEBHOOK, BODY);
    let again = world.receive(0, OTHER, BODY);
    let first = world.claim(0);
    // It is offered again when its worker is not heard of. The other one ends, and is asked for again.
    world.run(0, &["{\"c\":3}"]);
    // Before any time has passed: a turn may come between a new time and the request.
    let told = world.call(Method::POST, &format!("/api/work_orders/{again}/reruns"), "{}");
    assert_eq!(told.status, 201, "{}", told.body);
    world.at(40 * DAY);
    until_wiped(&world, 0, 0);
    for order in [&waiting, &again] {
        let shown = world.read(&format!("/api/work_orders/{order}?include=input"));
        assert_eq!(shown["data"]["attributes"]["input"]["data"], json!({"secret": "tell nobody"}));
    }
    let claimed = [world.claim(0), world.claim(0)].into_iter().find(|(run, _)| *run == first.0).unwrap();
    assert_eq!(claimed.1, 2);
    world.begin(0, claimed);
    world.end(0, claimed, &["{\"a\":1}"], RunState::Failed);
    world.at(46 * DAY);
    until_wiped(&world, 0, 1);
    world.at(47 * DAY + SECOND);
    until_wiped(&world, 2, 1);
}

#[test]
fn an_open_dead_letter_outlives_every_period_and_a_closed_one_does_not() {
    let world = world();
    let letters = [b"one", b"two"].map(|raw| world.at(0).dead_letter(0, Some(raw), Reason::InvalidJson));
    let path = format!("/api/dead_letters/{}/discard", letters[0]);
    assert_eq!(world.call(Method::POST, &path, "{\"reason\":\"a test\"}").status, 200);
    world.at(7 * DAY + SECOND);
    until_wiped(&world, 1, 0);
    let show = |id: &str| world.read(&format!("/api/dead_letters/{id}"))["data"]["attributes"].clone();
    let (closed, open) = (show(&letters[0]), show(&letters[1]));
    assert_eq!((&closed["body_base64"], &closed["resolved"]["how"]), (&Value::Null, &json!("discarded")));
    assert!(closed["wiped_at"].is_string(), "{closed}");
    assert_eq!((&open["body_base64"], &open["wiped_at"]), (&json!("dHdv"), &Value::Null));
}

#[test]
fn what_next_runs_start_with_outlives_every_period() {
    let world = world();
    let set = |state: &str| {
        let told = world.call(Method::PUT, &format!("/api/triggers/{CRON}/cursor"), state);
        assert_eq!(told.status, 200, "{}", told.body);
    };
    set("{\"n\":1}");
    world.at(20 * DAY);
    world.turn(0);
    set("{\"n\":2}");
    world.at(21 * DAY);
    until_wiped(&world, 1, 0);
    world.at(90 * DAY);
    world.turn(0);
    let cursor = world.read(&format!("/api/triggers/{CRON}/cursor"));
    assert_eq!(cursor["data"]["attributes"]["state"], json!({"n": 2}));
    assert_eq!(wiped(&world), (1, 0));
}

#[test]
fn a_shorter_period_holds_for_what_is_there_already() {
    let world = world();
    world.at(0).receive(0, WEBHOOK, BODY);
    world.run(0, &["{\"a\":1}"]);
    world.at(DAY);
    world.turn(0);
    assert_eq!(wiped(&world), (0, 0));
    world.apply(&PROJECT.replace("  intake:\n", "  intake:\n    zero_persistence: true\n"));
    until_wiped(&world, 2, 0);
    // A project that keeps everything wipes nothing more.
    world.apply(PROJECT);
    world.receive(0, WEBHOOK, BODY);
    world.run(0, &["{\"a\":1}"]);
    world.at(90 * DAY);
    world.turn(0);
    assert_eq!(wiped(&world), (2, 0));
}

#[test]
fn what_blocks_others_keeps_its_content_until_someone_decides() {
    let world = World::bare(1);
    let project = PROJECT
        .replace("name: clinic", "name: clinic\ndataclip_retention_period: 7")
        .replace("    name: Intake\n", "    name: Intake\n    concurrency: 1\n")
        .replace("custom_path: clinic}", "custom_path: clinic, on_failure: block_key}");
    world.apply(&project);
    world.at(0).receive(0, WEBHOOK, BODY);
    let claimed = world.claim(0);
    world.begin(0, claimed);
    world.end(0, claimed, &["{\"a\":1}"], RunState::Failed);
    world.at(8 * DAY);
    (0..20).for_each(|_| world.turn(0));
    assert_eq!(wiped(&world), (0, 0));
    let skipped = world.call(Method::POST, &format!("/api/triggers/{WEBHOOK}/blocked_keys/-/skip"), "");
    assert_eq!(skipped.status, 200, "{}", skipped.body);
    world.at(14 * DAY);
    (0..20).for_each(|_| world.turn(0));
    assert_eq!(wiped(&world), (0, 0), "it counts from the decision on");
    world.at(15 * DAY + SECOND);
    until_wiped(&world, 2, 0);
}

#[test]
fn nothing_goes_for_its_age_by_a_clock_that_was_just_set_nor_by_a_log_that_is_ahead_of_it() {
    let world = world();
    world.at(0).receive(0, WEBHOOK, BODY);
    world.run(0, &["{\"a\":1}"]);
    let looks = |times: u64| {
        for _ in 0..times {
            world.pass(100 * SECOND);
            // What is due begins in one turn and goes on in the next ones.
            (0..4).for_each(|_| world.turn(0));
        }
    };
    world.api.readers[0].stats.doubt_clock(true);
    world.at(300 * DAY);
    looks(3);
    assert_eq!(wiped(&world), (0, 0), "the clock may be wrong");
    // It was: it is set right, and the log stays where it got.
    world.at(2 * DAY);
    world.api.readers[0].stats.doubt_clock(false);
    looks(5);
    assert_eq!(wiped(&world), (0, 0), "only the log is that late");
    world.at(3 * DAY + SECOND);
    looks(2);
    until_wiped(&world, 0, 1);
    world.api.readers[0].stats.doubt_clock(true);
    world.at(7 * DAY + SECOND);
    looks(3);
    assert_eq!(wiped(&world), (0, 1));
    world.api.readers[0].stats.doubt_clock(false);
    looks(1);
    until_wiped(&world, 2, 1);
}
