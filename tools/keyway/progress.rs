//! Progress of something that takes its time: a bar on a terminal, nothing in a pipe.
//!
//! Invariant: it is drawn on stderr, so that stdout holds the result alone.

use indicatif::{ProgressBar, ProgressStyle};

/// How far something has come.
pub struct Progress(ProgressBar);

impl Progress {
    /// Nothing of so many.
    pub fn new(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let template = "{wide_bar} {human_pos} of {human_len}  {per_sec}  {eta} left  {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        Self(bar)
    }

    /// So many of them, with a word beside it.
    pub fn set(&self, position: u64, word: &str) {
        self.0.set_message(word.to_owned());
        self.0.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
