//! A log that may not grow: its oldest history goes, whatever kills there are, and what is left is sound.

use std::fs;

use serde_json::{Value, json};

use super::furnish::{PROJECT, TRIGGER, offline};
use crate::common::{
    keyway::{Keyway, eventually},
    noise::noise,
};

pub const LIMIT_BYTES: u64 = 8_000_000;
const BODY_BYTES: usize = 100_000;
/// More than the store keeps in memory before it writes it to files.
pub const INPUTS: u64 = 300;

pub fn send(server: &Keyway, seed: u64) -> Value {
    let (status, answer) =
        server.post(TRIGGER, &json!({ "n": 1, "noise": noise(seed, BODY_BYTES) }).to_string());
    assert_eq!(status, 200, "{answer}");
    answer
}

pub fn retention(server: &Keyway, name: &str) -> u64 {
    server.get("/api/status").1["data"]["retention"][name].as_u64().unwrap()
}

#[test]
fn a_log_that_may_not_grow_is_sound_whatever_kills_there_are() {
    let home = tempfile::tempdir().unwrap();
    let project =
        PROJECT.replace("name: clinic", &format!("name: clinic\nhistory_retention_bytes: {LIMIT_BYTES}"));
    fs::write(home.path().join("project.yaml"), project).unwrap();
    let mut server = Keyway::start(home.path(), &["--shards", "1"]);
    let first = send(&server, 0)["work_order_id"].as_str().unwrap().to_owned();
    (1..INPUTS).for_each(|seed| drop(send(&server, seed)));
    eventually("something is cut", || retention(&server, "cut_work_orders") > 0);
    for round in 1..4 {
        server.kill();
        server = Keyway::start(home.path(), &[]);
        (0..50).for_each(|seed| drop(send(&server, round * 1_000 + seed)));
    }
    eventually("the disk gets its bytes back", || {
        retention(&server, "cut_events") > 0 && retention(&server, "log_disk_bytes") < 2 * LIMIT_BYTES
    });
    assert_eq!(server.get(&format!("/api/work_orders/{first}")).0, 404);
    let listed = server.get("/api/work_orders?page_size=1000").1["data"].take();
    // Format 3 says that it may be cut; 4, of which blocks may be packed too, says so in its eleventh byte.
    let manifest = fs::read(home.path().join("data/manifest")).unwrap();
    let is_noted = manifest[4] == 3 || manifest[4] == 4 && manifest[10] & 2 != 0;
    assert!(is_noted, "older versions refuse it by name: {:?}", &manifest[4..=10]);
    let newest = send(&server, 9_999)["work_order_id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&format!("/api/work_orders/{newest}")).0, 200);
    server.kill();
    for line in
        [&["verify"][..], &["rebuild", "all"], &["verify"], &["reshard", "--shards", "2"], &["verify"]]
    {
        let (code, text, errors) = offline(home.path(), line);
        assert_eq!(code, 0, "{line:?}: {text}{errors}");
    }
    assert_eq!(offline(home.path(), &["events", "export", "--kind", "Received"]).0, 0);
    let server = Keyway::start(home.path(), &[]);
    for order in listed.as_array().unwrap() {
        let (status, shown) = server.get(&format!("/api/work_orders/{}", order["id"].as_str().unwrap()));
        assert!(status == 200 || status == 404, "{shown}");
    }
    assert_eq!(server.stop().code(), Some(0));
}
