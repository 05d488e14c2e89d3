//! A thread beside a log: it is asked through a channel, and ends with whoever asks.
//!
//! Invariant: the database stays open for as long as the thread has it, so whoever drops the worker waits for it.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// The thread, and the channel on which it is asked.
pub struct Worker {
    // Both until it is dropped.
    running: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Worker {
    /// Starts a thread that does `work` until what it receives from has ended. So many askings may wait.
    pub fn start(
        name: &str,
        waiting: usize,
        work: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> io::Result<Self> {
        let (ask, asked) = sync_channel(waiting);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&asked))?;
        Ok(Self { running: Some((ask, thread)) })
    }

    /// Asks once more; false when an asking waits already.
    pub fn ask(&self) -> bool {
        self.running.as_ref().is_some_and(|(ask, _)| ask.try_send(()).is_ok())
    }

    /// Lets the thread end when it does, and does not wait for it.
    pub fn leave(mut self) {
        self.running = None;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some((ask, thread)) = self.running.take() else { return };
        drop(ask);
        let _ = thread.join();
    }
}
