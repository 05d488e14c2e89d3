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
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use fjall::{AbstractTree, Keyspace};

/// Pause between two looks: rows stay in memory for longer before they are written out, or are few.
const LOOK_MS: u64 = 200;

/// The thread. It ends with the log.
pub struct Freeing {
    running: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Freeing {
    /// Frees for these keyspaces from now on.
    pub fn start(keyspaces: Vec<Keyspace>) -> Self {
        let (end, ended) = sync_channel(0);
        match thread::Builder::new().name("freeing".to_owned()).spawn(move || run(&keyspaces, &ended)) {
            Ok(thread) => Self { running: Some((end, thread)) },
            Err(error) => {
                tracing::warn!(%error, "no thread can be started to free memory: the store does it, and waits");
                Self { running: None }
            }
        }
    }
}

impl Drop for Freeing {
    fn drop(&mut self) {
        let Some((end, thread)) = self.running.take() else { return };
        drop(end);
        // The database is open for as long as the thread has it.
        let _ = thread.join();
    }
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
