//! Memory of runs, in a process of its own.

#![allow(clippy::unwrap_used)]

#[path = "engine/executor/rehearsal.rs"]
#[allow(dead_code)]
mod rehearsal;

use std::fs;

use keyway_storage::event::RunState;
use serde_json::json;

use rehearsal::run;

fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn what_a_run_took_of_memory_is_given_back() {
    let hungry = "fn(s => { const a = []; for (let n = 0; n < 200; n++) a.push(new Array(10000).fill(n), 'x'.repeat(90000) + n); return {}; })";
    run(hungry, json!({}));
    let before = resident_bytes();
    for _ in 0..30 {
        assert_eq!(run(hungry, json!({})).end().state, RunState::Success);
    }
    let more = resident_bytes().saturating_sub(before);
    assert!(more < 64 << 20, "{more} bytes more than after the first run");
}
