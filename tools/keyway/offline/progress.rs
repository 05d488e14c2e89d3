//! How far a long command is: a bar on stderr, with rate and remaining time, where stderr is a terminal.
//!
//! Invariant: nothing of it reaches stdout, a file or a pipe; ctrl-c ends the work between two slices.

use std::{
    io::IsTerminal,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::Failure;

/// A bar that fills, and the wish that the work end.
pub struct Progress {
    bar: ProgressBar,
    interrupted: Arc<AtomicBool>,
}

impl Progress {
    /// A bar for so many things.
    pub fn new(count: u64, what: &'static str) -> Result<Self, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))
                .map_err(|error| Failure::Failed(format!("signals cannot be caught: {error}")))?;
        }
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(count), target);
        let template = "{msg} {wide_bar} {human_pos}/{human_len}, {per_sec}, {eta} left";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is ours and fits"));
        bar.set_message(what);
        Ok(Self { bar, interrupted })
    }

    /// Begins with something else, for so many things.
    pub fn begin(&self, count: u64, what: &'static str) {
        self.bar.set_length(count);
        self.bar.set_position(0);
        self.bar.reset_eta();
        self.bar.set_message(what);
    }

    /// Says how much is done; false when someone wants the work to end.
    pub fn reach(&self, count: u64) -> bool {
        self.bar.set_position(count);
        !self.is_interrupted()
    }

    /// Whether someone wants the work to end.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
