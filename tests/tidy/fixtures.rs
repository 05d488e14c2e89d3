//! For each rule a text that it refuses, and the nearest text that it accepts.
//!
//! Invariant: a rule without a fixture fails the test, so that no rule is there only in name.

/// What a rule must refuse, and what it must not.
pub struct Fixture {
    pub rule: &'static str,
    pub path: &'static str,
    pub refused: fn() -> String,
    /// Where the accepted text stands, if the place is what makes the difference.
    pub accepted_path: Option<&'static str>,
    pub accepted: fn() -> String,
}

macro_rules! fixture {
    ($rule:literal, $path:literal, $refused:expr, $accepted:expr) => {
        Fixture {
            rule: $rule,
            path: $path,
            refused: || $refused.to_string(),
            accepted_path: None,
            accepted: || $accepted.to_string(),
        }
    };
    ($rule:literal, $path:literal, $text:expr => $accepted_path:literal) => {
        Fixture {
            rule: $rule,
            path: $path,
            refused: || $text.to_string(),
            accepted_path: Some($accepted_path),
            accepted: || $text.to_string(),
        }
    };
}

/// A function of so many lines.
fn function(lines: usize) -> String {
    format!("fn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
}

pub const FIXTURES: &[Fixture] = &[
    fixture!("top", "notes/plan.md", "A plan." => "benches/plan.md"),
    fixture!("top", "src/main.rs", "fn main() {}" => "tools/keyway/main.rs"),
    fixture!("file-size", "benches/raw.csv", "x".repeat(1_000_001), "x".repeat(1_000_000)),
    fixture!("file-length", "engine/src/a.rs", "//\n".repeat(501), "//\n".repeat(500)),
    fixture!("function-length", "engine/src/a.rs", function(71), function(70)),
    fixture!("function-length", "engine/src/a.rs", format!("impl A {{ {} }}", function(71)), "impl A {}"),
    fixture!("arrow", "storage/src/a.rs", "use keyway_engine::run::Run;" => "engine/src/a.rs"),
    fixture!("arrow", "engine/src/a.rs", "fn a() { keyway_ingest::door::open() }" => "tools/keyway/a.rs"),
    fixture!(
        "arrow",
        "engine/Cargo.toml",
        "keyway-ingest.workspace = true",
        "keyway-storage.workspace = true"
    ),
    fixture!("glob", "engine/src/a.rs", "use crate::queue::*;", "use crate::queue::Queue;"),
    fixture!("glob", "engine/src/a.rs", "use std::{fmt, io::{self, *}};", "use std::{fmt, io};"),
    fixture!("prelude", "engine/src/a.rs", "mod prelude;", "mod queue;"),
    fixture!("prelude", "engine/src/utils.rs", "//" => "engine/src/queue.rs"),
    fixture!("re-export", "ingest/src/a.rs", "pub use keyway_storage::place::Place;" => "ingest/src/lib.rs"),
    fixture!("runtime", "ingest/src/door.rs", "use tokio::net::TcpListener;" => "ingest/src/runtime/epoll.rs"),
    fixture!(
        "runtime",
        "ingest/src/door.rs",
        "fn a() { glommio::yield_now() }",
        "fn a() { runtime::pause() }"
    ),
    fixture!("clock", "engine/src/catalog.rs", "fn a() { Instant::now(); }" => "engine/src/shard.rs"),
    fixture!(
        "clock",
        "engine/src/catalog.rs",
        "fn a() { assert!(SystemTime::now() > b); }",
        "fn a(now: Timestamp) {}"
    ),
    fixture!(
        "clock",
        "engine/src/a.rs",
        "fn a() { Instant::now(); }",
        "#[cfg(test)] mod tests { fn a() { Instant::now(); } }"
    ),
    fixture!("disk", "engine/src/a.rs", "use std::{fs, io};" => "storage/src/directory.rs"),
    fixture!("disk", "ingest/src/a.rs", "fn a() { File::open(path); }", "fn a() { profile::open(path); }"),
    fixture!("network", "engine/src/a.rs", "use std::net::TcpStream;", "use std::net::IpAddr;"),
    fixture!("random", "engine/src/a.rs", "fn a() { Uuid::new_v4(); }", "fn a() { Uuid::from_u128(id); }"),
    fixture!("sleep", "engine/tests/a.rs", "fn a() { std::thread::sleep(second); }" => "tests/common/server.rs"),
    fixture!("pure", "engine/src/decide/claim.rs", "fn a() { std::env::var(b); }" => "engine/src/executor.rs"),
    fixture!("pure", "engine/src/queue.rs", "use std::sync::Mutex;", "use std::sync::Arc;"),
    fixture!(
        "pure",
        "engine/src/projection/input.rs",
        "fn a() { SystemTime::now(); }",
        "fn a(now: Timestamp) {}"
    ),
    fixture!(
        "pure",
        "engine/src/project/secret.rs",
        "fn a() { fs::read(b); }",
        "fn a() { secrets.resolve(b); }"
    ),
    fixture!(
        "unwrap",
        "engine/src/a.rs",
        "fn a() { b.unwrap(); }",
        "fn a() { b.expect(\"b was just set\"); }"
    ),
    fixture!("unwrap", "engine/src/a.rs", "fn a() { b.expect(\"\"); }" => "engine/tests/a.rs"),
    fixture!("unwrap", "engine/src/a.rs", "fn a() { b.unwrap(); }", "#[test] fn a_b_c() { b.unwrap(); }"),
    fixture!("unfinished", "tools/keyway/a.rs", "fn a() { todo!() }", "fn a() { done() }"),
    fixture!("unfinished", "engine/src/a.rs", "fn a() { dbg!(b); }", "fn a() { let dbg = b; }"),
    fixture!("unfinished", "engine/src/a.rs", "// FIXME: later.\n", "// Why it is so.\n"),
    fixture!("print", "engine/src/a.rs", "fn a() { println!(\"b\"); }" => "tools/keyway/a.rs"),
    fixture!(
        "split-assert",
        "engine/src/a.rs",
        "fn a() { assert!(b && c); }",
        "fn a() { assert!(b); assert!(c); }"
    ),
    fixture!(
        "split-assert",
        "engine/src/a.rs",
        "fn a() { assert!(b == 1 && c(2), \"d\"); }",
        "fn a() { assert!(!b || c && d); }"
    ),
    fixture!(
        "safety",
        "ingest/src/trigger/kafka/ffi.rs",
        "fn a() { unsafe { b() } }",
        "// SAFETY: b has no demands.\nunsafe fn a() {}"
    ),
    fixture!("safety", "storage/src/a.rs", "// SAFETY: b has no demands.\nunsafe fn a() {}", "fn a() {}"),
    fixture!("names", "engine/src/a.rs", "struct RunManager;", "struct Runs;"),
    fixture!("names", "engine/src/a.rs", "fn get_runs_helper() {}", "fn runs() {}"),
    fixture!(
        "test-sentence",
        "tests/a.rs",
        "#[test] fn test_queue_2() {}",
        "#[test] fn a_queue_is_fair() {}"
    ),
    fixture!(
        "numbers",
        "storage/src/key.rs",
        "enum Tag { Block = 1, Run = 1 }",
        "enum Tag { Block = 1, Run = 2 }"
    ),
    fixture!(
        "numbers",
        "storage/src/event.rs",
        "kinds! { Opened = 7, Held = 7, }",
        "kinds! { Opened = 7, Held = 8, }"
    ),
    fixture!(
        "limits",
        "storage/src/limits.rs",
        "pub const A_MAX: usize = 1;\n",
        "const _: () = assert!(B > 0);\n"
    ),
    fixture!("header", "engine/src/a.rs", "use std::fmt;", "//! The queue.\nuse std::fmt;"),
    fixture!("header", "engine/src/a.rs", "//! the queue\n", "//! The queue: runs\n//! that wait.\n"),
    fixture!("doc-sentence", "engine/src/a.rs", "pub fn a() {}", "fn a() {}"),
    fixture!("doc-sentence", "engine/src/a.rs", "/// Does b\npub fn a() {}", "/// Does b.\npub fn a() {}"),
    fixture!(
        "doc-sentence",
        "engine/src/a.rs",
        "/// A.\npub struct A { pub b: u8 }",
        "/// A.\npub struct A { b: u8 }"
    ),
    fixture!("doc-sentence", "engine/src/a.rs", "/// A.\npub enum A { B }", "enum A { B }"),
    fixture!(
        "doc-sentence",
        "engine/src/a.rs",
        "impl A { pub fn b() {} }",
        "struct A; impl A { pub fn b() {} }"
    ),
    fixture!(
        "comment-sentence",
        "engine/src/a.rs",
        "// increment the counter\n",
        "// Sync first: Kafka\n// never asks again.\n"
    ),
    fixture!(
        "dependency",
        "Cargo.toml",
        "[workspace.dependencies]\nserde = \"1\"",
        "[workspace.dependencies]\nserde = \"1\" # Shapes of JSON."
    ),
    fixture!(
        "dependency",
        "engine/Cargo.toml",
        "[dependencies]\nserde = \"1\"",
        "[dependencies]\nserde.workspace = true"
    ),
];
