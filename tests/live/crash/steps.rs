//! A keyway that is killed (-9) at each step between an input's coming and the rows that follow from it.
//!
//! `common/sync.c` stands between keyway and the C library, and kills it as it does one thing: the steps are exact.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::{Acknowledged, HOOK, PROJECT, is_whole, rows_are_the_fold_of_the_log, send};
use crate::common::{keyway::Keyway, kill::SIGKILL, preload};

const SENDERS: usize = 4;
/// The steps of a turn, in their order.
const STEPS: [&str; 6] = ["write", "sync", "synced", "tell", "told", "rows"];
/// How often a step is passed before the kill: in the very first turn with inputs, and in the middle of many.
const PASSED: [u32; 2] = [0, 5];

#[test]
fn killed_at_any_step_between_append_acknowledgement_and_projection_nothing_acknowledged_is_lost() {
    for runtime in ["io_uring", "epoll"] {
        thread::scope(|scope| {
            for step in STEPS {
                scope.spawn(move || PASSED.map(|passed| killed(runtime, step, passed)));
            }
        });
    }
}

/// Kills a keyway at a step, and looks at what another one finds.
fn killed(runtime: &str, step: &str, passed: u32) {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let mut server = start(home.path(), runtime, step, passed);
    let (acknowledged, sent) = (Acknowledged::default(), Arc::new(AtomicU64::new(0)));
    let dead = Arc::new(AtomicBool::new(false));
    fs::write(home.path().join("now"), "").unwrap();
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let url = format!("{}{HOOK}", server.url);
            send(url, Arc::clone(&acknowledged), Arc::clone(&sent), Arc::clone(&dead))
        })
        .collect();
    let status = server.wait();
    assert_eq!(status.signal(), Some(SIGKILL), "{step}: {status}");
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    drop(server);
    let acknowledged: BTreeMap<_, _> = acknowledged.lock().unwrap().clone();
    let found = is_whole(
        Keyway::start(home.path(), &["--runtime", runtime]),
        &acknowledged,
        sent.load(Ordering::SeqCst),
    );
    // Of the first turn it is known what was before: nothing, or all of it.
    match (step, passed) {
        ("write", 0) => assert_eq!((found, acknowledged.len()), (0, 0)),
        ("sync" | "synced", 0) => {
            assert_eq!(acknowledged.len(), 0, "{step}: it was told too early");
            assert!(found > 0, "{step}: it was written");
        }
        // A door that is awake looks by itself before it is woken.
        ("tell" | "told" | "rows", 0) => assert!(found > 0, "{step}: it was durable"),
        _ => assert!(found > 0, "{step}: turns came before"),
    }
    rows_are_the_fold_of_the_log(&home.path().join("data"));
}

fn start(home: &Path, runtime: &str, step: &str, passed: u32) -> Keyway {
    let (library, passed, when) = (preload::library("common/sync.c"), passed.to_string(), home.join("now"));
    let variables = [
        ("LD_PRELOAD", library.as_str()),
        ("KILL_AT", step),
        ("KILL_AFTER", &passed),
        ("KILL_WHEN", when.to_str().unwrap()),
    ];
    Keyway::start_with(home, &["--shards", "1", "--runtime", runtime], &variables)
}
