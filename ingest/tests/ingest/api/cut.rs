//! Cutting: what ended long enough ago leaves rows and log whole, and everything that is open stays.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::Method;
use keyway_engine::{
    command::{Answer, Claim, Command, Input, Permits},
    refold::difference,
};
use keyway_storage::{
    event::{Position, Reason, RunState, TriggerId},
    limits::{EXPORT_HOLD_MS, EXPORT_HOLDS_MS_MAX},
    place::Offset,
};
use serde_json::{Value, json};

use super::world::{CRON, DAY, KAFKA, OTHER, PROJECT, SECOND, WEBHOOK, World, ids};

const BODY: &str = "{\"secret\":\"tell nobody\"}";

/// A world that keeps history for 7 days; workflow `other` keeps it for 30 days.
fn world() -> World {
    let world = World::bare(1);
    world.apply(
        &PROJECT
            .replace("name: clinic", "name: clinic\nhistory_retention_period: 7")
            .replace("  other:\n", "  other:\n    history_retention_period: 30\n"),
    );
    world
}

fn retention(world: &World, name: &str) -> u64 {
    world.read("/api/status")["data"]["retention"][name].as_u64().unwrap()
}

/// Turns until so many work orders and dead letters are gone, and their events with them.
fn until_cut(world: &World, orders: u64, letters: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let cut = || (retention(world, "cut_work_orders"), retention(world, "cut_dead_letters"));
    let before = |world: &World| world.api.readers[0].log.dense();
    let (was, wanted) = (before(world), (orders, letters));
    let changes = cut() != wanted;
    while cut() != wanted || changes && before(world) == was {
        assert!(Instant::now() < deadline, "{:?} of {wanted:?}, from {was:?}", cut());
        world.turn(0);
    }
    // The blocks go in the turns behind that.
    (0..50).for_each(|_| world.turn(0));
    same(world);
}

/// The rows are those that the base and what is left of the log give.
fn same(world: &World) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let differs = || difference(&world.api.readers[0].settled()).unwrap();
    // The shard goes on by itself: what it commits while it is looked at is a difference that is soon none.
    while let Some(difference) = differs() {
        assert!(Instant::now() < deadline, "{difference}");
    }
}

fn events(world: &World) -> String {
    world.call(Method::GET, "/api/events?shard=0&page_size=1000", "").text
}

fn status_of(world: &World, target: &str) -> u16 {
    world.call(Method::GET, target, "").status
}

#[test]
fn a_work_order_is_gone_from_everywhere_when_its_time_is_over() {
    let world = world();
    let order = world.at(0).receive(0, WEBHOOK, BODY);
    let later = world.receive(0, OTHER, "{\"stays\":1}");
    world.run(0, &["{\"a\":1}", "{\"b\":2}"]);
    world.run(0, &["{\"c\":3}"]);
    let run = ids(&world.read(&format!("/api/runs?trigger_id={WEBHOOK}")))[0].clone();
    let kept = world.read(&format!("/api/work_orders/{later}?include=input"));
    world.at(7 * DAY + SECOND);
    until_cut(&world, 1, 0);
    assert_eq!(status_of(&world, &format!("/api/work_orders/{order}")), 404);
    assert_eq!(status_of(&world, &format!("/api/runs/{run}")), 404);
    assert_eq!(ids(&world.read("/api/work_orders")), [later.as_str()]);
    assert_eq!(ids(&world.read("/api/runs")).len(), 1);
    assert_eq!(ids(&world.read(&format!("/api/work_orders?trigger_id={WEBHOOK}"))).len(), 0);
    assert_eq!(ids(&world.read("/api/work_orders?state=success")), [later.as_str()]);
    let told = world.call(Method::POST, &format!("/api/work_orders/{order}/reruns"), "{}");
    assert_eq!(told.status, 404, "a rerun of what is gone says so: {}", told.body);
    let counts = &world.read("/api/status")["data"];
    assert_eq!((&counts["work_orders"]["success"], &counts["runs"]["success"]), (&json!(1), &json!(1)));
    assert!(!events(&world).contains("tell nobody"));
    // The other workflow's history is younger than its own period.
    assert_eq!(world.read(&format!("/api/work_orders/{later}?include=input")), kept);
    assert_eq!(world.call(Method::POST, &format!("/api/work_orders/{later}/reruns"), "{}").status, 201);
    world.run(0, &["{\"c\":4}"]);
    world.at(37 * DAY + SECOND);
    world.turn(0);
    assert_eq!(status_of(&world, &format!("/api/work_orders/{later}")), 200, "a rerun counts anew");
    world.at(37 * DAY + 120 * SECOND);
    until_cut(&world, 2, 0);
    assert_eq!(ids(&world.read("/api/work_orders")).len(), 0);
    assert!(!events(&world).contains("stays"));
    assert!(retention(&world, "cut_events") >= 20);
    assert!(retention(&world, "cut_bytes") > 0);
}

fn input(trigger: &str, position: Position, key: Option<u64>) -> Input {
    Input {
        trigger: TriggerId(*uuid::Uuid::try_parse(trigger).unwrap().as_bytes()),
        position,
        key,
        stream: 0,
        request: Bytes::from_static(b"{\"method\":\"POST\"}"),
        body: Ok(Bytes::from_static(b"{\"n\":1}")),
        follow: None,
        replays: None,
    }
}

#[test]
fn positions_and_idempotency_windows_outlive_the_cut() {
    let world = world();
    world.at(0);
    let next = |number| Position::Next { stream: "orders/3".into(), number };
    let once = || Position::Once { key: 7, body: 8, window_seconds: 30 * 86_400 };
    let ask = |trigger, position| world.ask(0, Command::Receive(input(trigger, position, None)));
    let first = match (ask(KAFKA, next(41)), ask(WEBHOOK, once())) {
        (Answer::Accepted(_), Answer::Accepted(place)) => place,
        other => panic!("{other:?}"),
    };
    world.run(0, &["{}"]);
    world.run(0, &["{}", "{}"]);
    world.at(7 * DAY + SECOND);
    until_cut(&world, 2, 0);
    assert!(matches!(ask(KAFKA, next(41)), Answer::Repeated(..)), "a message is taken once");
    match ask(WEBHOOK, once()) {
        Answer::Repeated(place, _) => assert_eq!(place, first),
        other => panic!("a key is remembered for its window: {other:?}"),
    }
    assert!(matches!(ask(KAFKA, next(42)), Answer::Accepted(_)));
    same(&world);
}

#[test]
fn what_is_open_outlives_the_cut() {
    let world = World::bare(1);
    let project = PROJECT
        .replace("name: clinic", "name: clinic\nhistory_retention_period: 7")
        .replace("    name: Intake\n", "    name: Intake\n    concurrency: 1\n")
        .replace("custom_path: clinic}", "custom_path: clinic, on_failure: block_key}");
    world.apply(&project);
    let ended = world.at(0).receive(0, OTHER, BODY);
    let claimed = world.claim(0);
    world.begin(0, claimed);
    world.end(0, claimed, &["{\"a\":1}"], RunState::Success);
    let running = world.receive(0, OTHER, "{\"open\":1}");
    let claimed = world.claim(0);
    world.begin(0, claimed);
    let blocking = world.receive(0, WEBHOOK, "{\"blocks\":1}");
    let failed = world.claim(0);
    world.begin(0, failed);
    world.end(0, failed, &["{\"a\":1}"], RunState::Failed);
    let waiting = world.receive(0, WEBHOOK, "{\"waits\":1}");
    let letters = [b"one", b"two"].map(|raw| world.dead_letter(0, Some(raw), Reason::InvalidJson));
    let path = format!("/api/dead_letters/{}/discard", letters[0]);
    assert_eq!(world.call(Method::POST, &path, "{\"reason\":\"a test\"}").status, 200);
    let set = world.call(Method::PUT, &format!("/api/triggers/{CRON}/cursor"), "{\"n\":1}");
    assert_eq!(set.status, 200, "{}", set.body);
    world.at(8 * DAY);
    until_cut(&world, 1, 1);
    assert_eq!(status_of(&world, &format!("/api/work_orders/{ended}")), 404);
    assert_eq!(status_of(&world, &format!("/api/dead_letters/{}", letters[0])), 404);
    for (order, name) in [(&running, "open"), (&blocking, "blocks"), (&waiting, "waits")] {
        let shown = world.read(&format!("/api/work_orders/{order}?include=input"));
        assert_eq!(shown["data"]["attributes"]["input"]["data"][name], json!(1), "{shown}");
    }
    let letter = world.read(&format!("/api/dead_letters/{}", letters[1]));
    assert_eq!(letter["data"]["attributes"]["body_base64"], json!("dHdv"));
    let cursor = world.read(&format!("/api/triggers/{CRON}/cursor"));
    assert_eq!(cursor["data"]["attributes"]["state"], json!({"n": 1}));
    let blocked = world.read(&format!("/api/triggers/{WEBHOOK}"));
    assert!(blocked.to_string().contains(&blocking), "{blocked}");
    // What was open goes on as if nothing had been cut.
    let retried = world.call(Method::POST, &format!("/api/triggers/{WEBHOOK}/blocked_keys/-/retry"), "");
    assert_eq!(retried.status, 200, "{}", retried.body);
    // The run whose worker was not heard of for so long is offered again.
    (0..3).for_each(|_| world.run(0, &["{\"a\":2}"]));
    assert_eq!(world.read("/api/status")["data"]["work_orders"]["success"], json!(3));
    world.at(16 * DAY);
    until_cut(&world, 4, 1);
    assert_eq!(ids(&world.read("/api/work_orders")).len(), 0);
}

#[test]
fn a_rerun_on_the_original_version_finds_it_however_often_the_project_changed() {
    let world = world();
    let order = world.at(0).receive(0, OTHER, BODY);
    world.run(0, &["{\"c\":3}"]);
    let text = PROJECT.replace("name: clinic", "name: clinic\nhistory_retention_period: 7");
    let text = text.replace("  other:\n", "  other:\n    history_retention_period: 30\n");
    for version in 1..20 {
        world.pass(DAY / 2);
        world.apply(&format!("{text}# {version}\n"));
        world.receive(0, WEBHOOK, BODY);
        world.run(0, &["{\"a\":1}"]);
    }
    world.at(18 * DAY);
    until_cut(&world, 19, 0);
    let told =
        world.call(Method::POST, &format!("/api/work_orders/{order}/reruns"), "{\"version\":\"original\"}");
    assert_eq!(told.status, 201, "{}", told.body);
    world.run(0, &["{\"c\":4}"]);
    let applied = || events(&world).matches("\"ProjectApplied\"").count();
    assert_eq!(applied(), 20, "the oldest is needed, and what came behind it is not looked for");
    world.at(60 * DAY);
    until_cut(&world, 20, 0);
    // Whoever looks anew finds what is not needed.
    world.apply(&text);
    (0..200).for_each(|_| world.turn(0));
    assert!(applied() <= 2, "{}", applied());
    same(&world);
}

#[test]
fn a_log_that_is_too_large_loses_its_oldest_history_however_young_it_is() {
    let world = World::bare(1);
    world.apply(&PROJECT.replace("name: clinic", "name: clinic\nhistory_retention_bytes: 2000000"));
    let open = world.at(0).dead_letter(0, Some(b"two"), Reason::InvalidJson);
    // It does not get smaller by packing it.
    let mut chance = Chance(1);
    let letters = std::iter::repeat_with(|| char::from(b'a' + chance.below(26) as u8));
    let body = format!("\"{}\"", letters.take(50_000).collect::<String>());
    let mut orders = Vec::new();
    for _ in 0..200 {
        world.pass(10 * SECOND);
        orders.push(world.receive(0, OTHER, &body));
        world.run(0, &["{}"]);
        world.turn(0);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while retention(&world, "log_disk_bytes") > 2_500_000 {
        assert!(Instant::now() < deadline, "{}", world.read("/api/status"));
        world.pass(600 * SECOND);
        world.turn(0);
    }
    assert_eq!(status_of(&world, &format!("/api/work_orders/{}", orders[0])), 404);
    assert_eq!(status_of(&world, &format!("/api/work_orders/{}", orders[199])), 200, "the newest stays");
    let shown = world.read(&format!("/api/dead_letters/{open}"));
    assert_eq!(shown["data"]["attributes"]["body_base64"], json!("dHdv"));
    same(&world);
}

#[test]
fn views_are_derived_anew_while_serving_from_what_stands_for_the_cut() {
    let world = world();
    world.at(0);
    for n in 0..40 {
        world.receive(0, if n % 3 == 0 { OTHER } else { WEBHOOK }, BODY);
        world.run(0, &["{\"a\":1}"]);
    }
    world.at(8 * DAY);
    until_cut(&world, 26, 0);
    let listed = ids(&world.read("/api/work_orders"));
    assert_eq!(listed.len(), 14);
    assert!(matches!(world.ask(0, Command::Rebuild), Answer::Done));
    let deadline = Instant::now() + Duration::from_secs(20);
    while ids(&world.read("/api/work_orders")) != listed {
        assert!(Instant::now() < deadline);
        world.turn(0);
    }
    same(&world);
}

/// Numbers that look as if they came by chance, the same ones each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn whatever_happens_the_rows_are_those_of_the_base_and_what_is_left_of_the_log() {
    let mut cuts = 0;
    for seed in 0..6 {
        let (world, mut chance) = (world(), Chance(seed));
        world.at(0);
        let (mut orders, mut letters, mut gone) = (Vec::new(), Vec::new(), BTreeSet::new());
        for step in 0..150 {
            something(&world, &mut chance, &mut orders, &mut letters);
            (0..chance.below(12)).for_each(|_| world.turn(0));
            if step % 25 == 24 {
                same(&world);
                for order in &orders {
                    let status = status_of(&world, &format!("/api/work_orders/{order}"));
                    assert!(status == 200 || status == 404, "{status}");
                    assert!(status == 404 || !gone.contains(order), "what is gone comes back");
                    if status == 404 {
                        gone.insert(order.clone());
                    }
                }
            }
        }
        cuts += u64::from(world.api.readers[0].log.dense() > Offset(0) && !gone.is_empty());
        let counted: u64 = world.read("/api/status")["data"]["work_orders"]
            .as_object()
            .map(|states| states.values().filter_map(Value::as_u64).sum())
            .unwrap();
        let listed: usize = world.pages("/api/work_orders?page_size=20").iter().map(Vec::len).sum();
        assert_eq!(listed as u64, counted);
    }
    assert!(cuts >= 3, "only {cuts} of 6 cut something");
}

#[test]
fn nothing_is_cut_while_someone_takes_the_log_along() {
    let world = world();
    world.at(0).receive(0, WEBHOOK, BODY);
    world.run(0, &["{\"a\":1}", "{\"b\":2}"]);
    world.at(7 * DAY + SECOND);
    let begun = world.read("/api/export")["meta"].take();
    assert_eq!(begun["cuts"], json!([{ "dense": 0, "state": 0, "views": 0 }]));
    (0..100).for_each(|_| world.turn(0));
    assert_eq!(retention(&world, "cut_work_orders"), 1, "its rows are gone");
    assert!(world.api.readers[0].log.event(Offset(2)).unwrap().is_some());
    assert_eq!(world.read("/api/export")["meta"]["cuts"], begun["cuts"]);
    (0..100).for_each(|_| world.turn(0));
    // Who asked again in the first minute has another one.
    world.pass(EXPORT_HOLD_MS * 1_000);
    (0..100).for_each(|_| world.turn(0));
    assert_eq!(world.api.readers[0].log.dense(), Offset(0));
    world.pass(EXPORT_HOLD_MS * 1_000);
    until_cut(&world, 1, 0);
    let dense = world.api.readers[0].log.dense();
    let cut = world.read("/api/export")["meta"]["cuts"][0].take();
    assert!(dense > Offset(2), "{cut}");
    assert_eq!(cut["dense"], dense.0);
    let rows = world.read("/api/export?shard=0&base=state");
    assert_eq!(rows["meta"], json!({ "after": null, "cut": cut }));
    assert!(rows["data"].as_array().unwrap().iter().all(|row| row["base"] == "state"), "{rows}");
    for wrong in ["base=rows", "base=state&after=x", "base=views&after=0"] {
        assert_eq!(status_of(&world, &format!("/api/export?shard=0&{wrong}")), 422, "{wrong}");
    }
}

#[test]
fn exports_without_end_do_not_keep_history_for_ever() {
    let world = world();
    world.at(0).receive(0, WEBHOOK, BODY);
    world.run(0, &["{\"a\":1}", "{\"b\":2}"]);
    world.at(7 * DAY + SECOND);
    let mut asked = 0;
    while world.api.readers[0].log.dense() == Offset(0) {
        assert!(asked <= 2 * EXPORT_HOLDS_MS_MAX / EXPORT_HOLD_MS, "it is never cut");
        world.read("/api/export");
        (0..20).for_each(|_| world.turn(0));
        world.pass(EXPORT_HOLD_MS * 1_000);
        asked += 1;
    }
    assert!(asked >= EXPORT_HOLDS_MS_MAX / EXPORT_HOLD_MS, "after {asked} minutes");
    until_cut(&world, 1, 0);
}

fn something(world: &World, chance: &mut Chance, orders: &mut Vec<String>, letters: &mut Vec<String>) {
    match chance.below(12) {
        0..=2 => orders.push(world.receive(0, WEBHOOK, BODY)),
        3 => orders.push(world.receive(0, OTHER, BODY)),
        4..=6 => {
            let permits = Permits { project: u32::MAX, workflows: Vec::new() };
            let claim = Command::Claim(Claim { worker: 9, demand: 1, permits });
            let Answer::Claimed(claims) = world.ask(0, claim) else { panic!("it was no claim") };
            let Some(claim) = claims.first() else { return };
            world.begin(0, (claim.run, claim.attempt));
            if chance.below(4) > 0 {
                let state = if chance.below(3) == 0 { RunState::Failed } else { RunState::Success };
                world.end(0, (claim.run, claim.attempt), &["{\"a\":1}"], state);
            }
        }
        7 => letters.push(world.dead_letter(0, Some(b"one"), Reason::InvalidJson)),
        8 if !letters.is_empty() => {
            let letter = letters.swap_remove(chance.below(letters.len() as u64) as usize);
            world.call(Method::POST, &format!("/api/dead_letters/{letter}/discard"), "{\"reason\":\"x\"}");
        }
        9 if !orders.is_empty() => {
            let order = &orders[chance.below(orders.len() as u64) as usize];
            world.call(Method::POST, &format!("/api/work_orders/{order}/reruns"), "{}");
        }
        10 => {
            world.call(Method::PUT, &format!("/api/triggers/{CRON}/cursor"), "{\"n\":1}");
        }
        _ => world.pass(chance.below(96) * DAY / 24),
    }
}
