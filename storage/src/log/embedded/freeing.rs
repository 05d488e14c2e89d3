//! Freeing: rows that were written to files leave the memory where nobody waits for it.
//!
//! The store takes them apart under the lock of its readers and writers (as of lsm-tree 3.1), which for 32 MiB of rows
//! takes 200 ms and more. So a thread keeps what is in memory a little longer than the store does, and takes it apart
//! itself.
//!
//! Invariant: nothing is kept that the store let go of two looks ago.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use fjall::{AbstractTree, Keyspace};

use super::worker::Worker;

/// Pause between two looks: rows stay in memory for longer before they are written out, or are few.
const LOOK_MS: u64 = 200;

/// Frees for these keyspaces from now on, until the worker is dropped.
pub fn start(keyspaces: Vec<Keyspace>) -> Option<Worker> {
    Worker::start("freeing", 0, move |ended| run(&keyspaces, ended))
        .inspect_err(|error| {
            tracing::warn!(%error, "no thread can be started to free memory: the store does it, and waits");
        })
        .ok()
}

fn run(keyspaces: &[Keyspace], ended: &Receiver<()>) {
    let mut kept = Vec::new();
    loop {
        for keyspace in keyspaces {
            let active = keyspace.tree.active_memtable();
            if !kept.iter().any(|memtable| Arc::ptr_eq(memtable, &active)) {
                kept.push(active);
            }
        }
        kept.retain(|memtable| Arc::strong_count(memtable) > 1);
        if ended.recv_timeout(Duration::from_millis(LOOK_MS)) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
