//! Admin: the source through which people's requests reach a shard, one at a time and with an answer.
//!
//! Invariant: an answer is given only after the events of its turn are durable, like to any other source. A project file
//! waits until the log has what was due under the one before it, so that a change loses no tick.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use keyway_storage::{
    limits::{ADMIN_ANSWER_MS, ADMIN_REQUESTS_MAX, APPLY_WAIT_MS, BULK_ITEM_BYTES, PAYLOAD_BYTES_MAX},
    place::Timestamp,
};

use crate::{
    command::{Answer, BulkWish, Command, Receipt, Refusal, Ticket},
    mailbox::{Bell, Mailbox},
    project::Project,
    source::{Batch, Positions, Source},
};

type Asked = (Command, Sender<Answer>);

/// The way to one shard.
#[derive(Clone)]
pub struct AdminPort(Arc<Mailbox<Asked>>);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskError {
    /// Too many requests wait. Try again.
    Full,
    /// The shard did not answer in time. It may still do what was asked.
    TimedOut,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "Too many requests wait at the moment.",
            Self::TimedOut => "The shard did not answer in time.",
        })
    }
}

impl std::error::Error for AskError {}

impl AdminPort {
    /// Asks the shard, and waits for its durable answer. Not for threads that must not block.
    pub fn ask(&self, command: Command) -> Result<Answer, AskError> {
        Self::wait(&self.send(command)?)
    }

    /// Asks the shard, without waiting: whoever asks for many things does so for a turn's worth at a time.
    pub fn send(&self, command: Command) -> Result<Receiver<Answer>, AskError> {
        let (sender, receiver) = bounded(1);
        self.0.put((command, sender), 0).map_err(|_| AskError::Full)?;
        Ok(receiver)
    }

    /// Waits for the durable answer to what was sent.
    pub fn wait(answer: &Receiver<Answer>) -> Result<Answer, AskError> {
        answer.recv_timeout(Duration::from_millis(ADMIN_ANSWER_MS)).map_err(|_| AskError::TimedOut)
    }
}

/// One shard's admin source.
pub struct AdminSource {
    mailbox: Arc<Mailbox<Asked>>,
    waiting: VecDeque<Sender<Answer>>,
    /// A project file that has to wait, and until when.
    held: Option<(Asked, Timestamp)>,
}

/// The two ends of the way to a shard that `bell` wakes.
pub fn admin(bell: &Arc<Bell>) -> (AdminPort, AdminSource) {
    let mailbox = Mailbox::new(ADMIN_REQUESTS_MAX, 0, Arc::clone(bell));
    (AdminPort(Arc::clone(&mailbox)), AdminSource { mailbox, waiting: VecDeque::new(), held: None })
}

impl AdminSource {
    /// The next request, with the time until which it may wait.
    fn next(&mut self, now: Timestamp) -> Option<(Asked, Timestamp)> {
        let until = now.plus_millis(APPLY_WAIT_MS);
        self.held.take().or_else(|| self.mailbox.take().map(|(asked, _)| (asked, until)))
    }
}

/// The bytes that a request takes in its turn.
fn bytes_of(command: &Command) -> usize {
    match command {
        // One is as large as an input may be, which is what there is room for; the block has room for a whole file.
        Command::Apply(apply) => apply.file.len().min(PAYLOAD_BYTES_MAX),
        Command::Bulk(BulkWish::Begin(started)) => started.of.len() * BULK_ITEM_BYTES,
        Command::Resend(item) => item.bytes().min(PAYLOAD_BYTES_MAX),
        _ => 0,
    }
}

impl Source for AdminSource {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, now: Timestamp, batch: &mut Batch) {
        while batch.has_room(PAYLOAD_BYTES_MAX)
            && let Some(((command, sender), until)) = self.next(now)
        {
            let applies = matches!(command, Command::Apply(_));
            if applies && !batch.takes_file() {
                if now < until {
                    self.held = Some(((command, sender), until));
                    return;
                }
                // Whoever asked may have given up.
                let _ = sender.try_send(Answer::Refused(Refusal::Full));
                continue;
            }
            let bytes = bytes_of(&command);
            self.waiting.push_back(sender);
            batch.push(Ticket(0), command, bytes);
            // A block has room for one project file.
            if applies {
                return;
            }
        }
    }

    fn due(&self) -> Timestamp {
        self.held.as_ref().map_or(Timestamp::NEVER, |(_, until)| *until)
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        for receipt in receipts.drain(..) {
            let sender = self.waiting.pop_front().expect("one receipt per command, in order");
            // Whoever asked may have given up.
            let _ = sender.try_send(receipt.answer);
        }
    }
}
