//! Bodies of which a workflow may have some bytes: a start counts what is there anew, and wipes no more and no less.

use std::fs;

use super::{
    cut::{retention, send},
    furnish::{PROJECT, offline},
};
use crate::common::keyway::{Keyway, eventually};

const LIMIT_BYTES: u64 = 2_000_000;
/// Runs end in the order in which their inputs came, so that it is known which ended first.
const ONE_AFTER_THE_OTHER: &[&str] = &["--shards", "1", "--executors", "1"];

#[test]
fn a_start_counts_what_is_there_and_wipes_no_more_and_no_less() {
    let home = tempfile::tempdir().unwrap();
    let limit = format!("  intake:\n    dataclip_retention_bytes: {LIMIT_BYTES}\n");
    fs::write(home.path().join("project.yaml"), PROJECT.replace("  intake:\n", &limit)).unwrap();
    let mut server = Keyway::start(home.path(), ONE_AFTER_THE_OTHER);
    let mut orders = Vec::new();
    let mut seed = 0;
    for count in [30, 10, 5, 40] {
        for _ in 0..count {
            orders.push(send(&server, seed)["work_order_id"].as_str().unwrap().to_owned());
            seed += 1;
        }
        // Sometimes before it was weighed, sometimes after something of it went.
        if count != 10 {
            let was = retention(&server, "wiped_dataclips");
            eventually("something is wiped", || retention(&server, "wiped_dataclips") > was);
        }
        server.kill();
        server = Keyway::start(home.path(), ONE_AFTER_THE_OTHER);
    }
    let has_body = |order: &String| {
        let shown = server.get(&format!("/api/work_orders/{order}?include=input")).1;
        !shown["data"]["attributes"]["input"].is_null()
    };
    let last = orders.last().unwrap().clone();
    let fit = LIMIT_BYTES as usize / 100_100;
    eventually("no more than the limit is left", || {
        orders.iter().filter(|order| has_body(order)).count() <= fit && has_body(&last)
    });
    let body = |order: &String| u64::from(has_body(order));
    let kept: u64 = orders.iter().map(body).sum();
    assert!(kept + 1 >= fit as u64, "{kept} of {fit}");
    assert!(orders[orders.len() - kept as usize..].iter().all(has_body), "those that ended last");
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(offline(home.path(), &["verify"]).0, 0);
    // With all that is left weighed anew, nothing is too much.
    let server = Keyway::start(home.path(), ONE_AFTER_THE_OTHER);
    let last = send(&server, seed)["work_order_id"].as_str().unwrap().to_owned();
    let has_body = |order: &String| {
        let shown = server.get(&format!("/api/work_orders/{order}?include=input")).1;
        !shown["data"]["attributes"]["input"].is_null()
    };
    let (oldest, others) = orders[orders.len() - kept as usize..].split_first().unwrap();
    eventually("one more goes for one that came", || !has_body(oldest));
    assert!(others.iter().chain([&last]).all(has_body), "and no other");
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(offline(home.path(), &["verify"]).0, 0);
}
