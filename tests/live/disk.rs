//! A disk that is full, and one that cannot be written: refused with words, nothing lost, and no restart needed.
//!
//! Each test brings its own small disk.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::common::{
    code,
    disk::Disk,
    keyway::{Keyway, eventually},
    noise::noise,
    stderr, stdout, tool,
};

const TRIGGER: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const PROJECT: &str = "
name: disk
workflows:
  intake:
    jobs: {job: {name: Job, body: 'fn(s => s)'}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
";
const FLAGS: &[&str] = &["--shards", "1", "--executors", "1"];
/// The whole answer to a request, as it came.
fn exchange(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn post(keyway: &Keyway) -> String {
    // Large, so that what the log was promised before the disk filled is soon used up.
    post_note(keyway, &"x".repeat(200_000))
}

fn post_note(keyway: &Keyway, note: &str) -> String {
    let head = format!("POST {TRIGGER} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let body = format!("{{\"note\":\"{note}\"}}");
    let length = body.len();
    exchange(
        &keyway.url,
        &format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"),
    )
}

fn is(answer: &str, status: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
}

#[test]
fn a_full_disk_refuses_inputs_until_there_is_room_and_loses_nothing() {
    let Some(disk) = Disk::mount(PROJECT) else { return };
    let keyway = Keyway::start(disk.path(), FLAGS);
    let mut accepted = 0;
    disk.fill();
    let mut refusal = String::new();
    eventually("inputs are refused", || {
        refusal = post(&keyway);
        accepted += u32::from(is(&refusal, 200));
        is(&refusal, 503)
    });
    assert!(refusal.contains("\r\nretry-after: "), "{refusal}");
    let (status, reason) = keyway.get("/health/ready");
    assert_eq!(status, 503);
    assert!(reason.to_string().contains("disk is full"), "{reason}");
    assert_eq!(keyway.get("/api/work_orders").0, 200, "reads go on");
    disk.make_room();
    eventually("inputs are accepted again", || {
        let answer = post(&keyway);
        accepted += u32::from(is(&answer, 200));
        is(&answer, 200)
    });
    eventually("every accepted work order has ended well", || {
        let (_, orders) = keyway.get("/api/work_orders?state=success&page_size=100");
        orders["data"].as_array().is_some_and(|orders| orders.len() as u32 == accepted.min(100))
    });
    assert_eq!(keyway.get("/health/ready").0, 200);
    assert_eq!(keyway.stop().code(), Some(0));
}

#[test]
fn a_replay_on_a_disk_that_fills_waits_for_room_and_takes_every_item_once() {
    let Some(disk) = Disk::mount(PROJECT) else { return };
    let keyway = Keyway::start(disk.path(), FLAGS);
    let mut accepted = 0;
    while accepted < 60 {
        accepted += u32::from(is(&post(&keyway), 200));
    }
    let succeeded = |count: u32| {
        eventually("every run has ended", || keyway.get("/api/status").1["data"]["runs"]["success"] == count);
    };
    succeeded(accepted);
    let body = "{\"from\":\"events\",\"rate_per_second\":10}";
    let head = "POST /api/replays HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n";
    let answer = exchange(&keyway.api, &format!("{head}content-length: {}\r\n\r\n{body}", body.len()));
    assert!(is(&answer, 202), "{answer}");
    let replay = || keyway.get("/api/replays").1["data"][0]["attributes"].clone();
    disk.fill();
    eventually("the disk is full", || keyway.get("/health/ready").0 == 503);
    assert_eq!(replay()["state"], "running");
    assert_ne!(replay()["replayed"], accepted);
    disk.make_room();
    eventually("it is done", || replay()["state"] == "done");
    assert_eq!((replay()["replayed"].as_u64(), replay()["failed"].as_u64()), (Some(60), Some(0)));
    succeeded(2 * accepted);
    assert_eq!(keyway.stop().code(), Some(0));
}

#[test]
fn a_disk_that_fills_during_a_cut_stops_it_and_with_room_it_goes_on() {
    let project = PROJECT.replace("name: disk", "name: disk\nhistory_retention_bytes: 6000000");
    // The journals fit, too.
    let Some(disk) = Disk::mount_of(768, &project) else { return };
    let mut keyway = Keyway::start(disk.path(), FLAGS);
    let retained = |keyway: &Keyway, name: &str| {
        keyway.get("/api/status").1["data"]["retention"][name].as_u64().unwrap()
    };
    let mut seeds = 0..;
    for killed in [false, true] {
        let before = retained(&keyway, "cut_work_orders");
        eventually("something is being cut", || {
            assert!(is(&post_note(&keyway, &noise(seeds.next().unwrap(), 100_000)), 200));
            retained(&keyway, "cut_work_orders") > before
        });
        disk.fill();
        eventually("the disk is full", || {
            is(&post_note(&keyway, &noise(seeds.next().unwrap(), 100_000)), 503)
        });
        assert_eq!(keyway.get("/api/work_orders").0, 200, "reads go on");
        keyway = match killed {
            false => keyway,
            true => {
                keyway.kill();
                Keyway::start(disk.path(), FLAGS)
            }
        };
        disk.make_room();
        let events = retained(&keyway, "cut_events");
        eventually("it goes on", || {
            let answer = post_note(&keyway, &noise(seeds.next().unwrap(), 100_000));
            is(&answer, 200) && retained(&keyway, "cut_events") > events
        });
    }
    let (_, orders) = keyway.get("/api/work_orders?page_size=1000");
    for order in orders["data"].as_array().unwrap() {
        let (status, shown) =
            keyway.get(&format!("/api/work_orders/{}?include=input", order["id"].as_str().unwrap()));
        assert!(status == 404 || shown["data"]["attributes"]["input"].is_object(), "{shown}");
    }
    assert_eq!(keyway.stop().code(), Some(0));
    let output = tool().args(["verify", "--data-dir"]).arg(disk.path().join("data")).output().unwrap();
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn a_disk_that_cannot_be_written_is_named_and_nothing_is_started() {
    let Some(disk) = Disk::mount(PROJECT) else { return };
    let keyway = Keyway::start(disk.path(), FLAGS);
    assert!(is(&post(&keyway), 200));
    assert_eq!(keyway.stop().code(), Some(0));
    disk.make_read_only();
    // The trace has to go elsewhere.
    let output = tool()
        .args(["serve", "--project"])
        .arg(disk.path().join("project.yaml"))
        .arg("--data-dir")
        .arg(disk.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 1);
    let said = stderr(&output);
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.contains("data"), "{said}");
}
