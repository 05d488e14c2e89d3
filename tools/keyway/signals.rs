//! Signals: ctrl-c ends a command that would go on for ever.
//!
//! Invariant: after `Interrupt::new`, ctrl-c and SIGTERM end the wait, not the process.

use std::{sync::mpsc, thread, time::Duration};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::failure::Failure;

/// Whether someone wants the command to end.
pub struct Interrupt {
    signals: mpsc::Receiver<()>,
}

impl Interrupt {
    /// Begins to listen.
    pub fn new() -> Result<Self, Failure> {
        let mut signals = Signals::new([SIGINT, SIGTERM])
            .map_err(|error| Failure::Failed(format!("signals cannot be caught: {error}")))?;
        let (sender, receiver) = mpsc::sync_channel(1);
        thread::spawn(move || {
            for _ in signals.forever() {
                // The second one finds the place taken; the first is enough.
                let _ = sender.try_send(());
            }
        });
        Ok(Self { signals: receiver })
    }

    /// Waits so long, or less if someone wants the command to end: then it is true.
    pub fn wait(&self, duration: Duration) -> bool {
        self.signals.recv_timeout(duration).is_ok()
    }
}
