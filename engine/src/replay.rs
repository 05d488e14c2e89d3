//! Replays as a source: what someone reads along the logs goes through again, a bounded share in each turn.
//!
//! Invariant: items of a replay are decided in the order in which they were put in. What a shard had no room for is
//! offered again before anything that came behind it.

use std::{collections::VecDeque, sync::Arc};

use keyway_storage::{
    limits::{
        LIVE_MS, REPLAY_BUSY_PAUSE_MS, REPLAY_BYTES_MAX, REPLAY_BYTES_PER_TURN, REPLAY_ITEMS_MAX,
        REPLAY_ITEMS_PER_BUSY_TURN, REPLAY_ITEMS_PER_TURN, REPLAY_WAIT_MS,
    },
    place::Timestamp,
};

use crate::{
    command::{Answer, Command, Receipt, Refusal, ReplayEnd, ReplayId, ReplayItem, ReplayWish, Ticket},
    mailbox::{Bell, Mailbox},
    project::Project,
    source::{Batch, Positions, Source},
};

/// Something on its way to a shard.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The replay.
    pub id: ReplayId,
    /// The round in which it was read.
    pub round: u32,
    /// What it is.
    pub what: What,
}

/// An item, or the end of all items.
#[derive(Debug, Clone)]
pub enum What {
    /// Something that goes through again.
    Item(ReplayItem),
    /// Nothing comes behind it.
    End(ReplayEnd),
}

/// The way of replays to one shard.
#[derive(Clone)]
pub struct ReplayPort(Arc<Mailbox<Sent>>);

impl ReplayPort {
    /// Puts something in, or gives it back when there is no room.
    pub fn put(&self, sent: Sent) -> Option<Sent> {
        let bytes = bytes_of(&sent);
        self.0.put(sent, bytes).err()
    }
}

/// One shard's source of replayed items.
pub struct ReplaySource {
    mailbox: Arc<Mailbox<Sent>>,
    /// What was taken out of the mailbox and is not decided.
    queue: VecDeque<Sent>,
    /// What each command of this turn was made of.
    offered: VecDeque<Vec<Sent>>,
    wait_until: Timestamp,
    /// Until when the shard counts as busy with live inputs.
    busy_until: Timestamp,
}

/// The two ends of the way to a shard that `bell` wakes.
pub fn replay(bell: &Arc<Bell>) -> (ReplayPort, ReplaySource) {
    let mailbox = Mailbox::new(REPLAY_ITEMS_MAX, REPLAY_BYTES_MAX, Arc::clone(bell));
    let source = ReplaySource {
        mailbox: Arc::clone(&mailbox),
        queue: VecDeque::new(),
        offered: VecDeque::new(),
        wait_until: Timestamp(0),
        busy_until: Timestamp(0),
    };
    (ReplayPort(mailbox), source)
}

fn bytes_of(sent: &Sent) -> usize {
    match &sent.what {
        What::Item(item) => item.bytes(),
        What::End(_) => 0,
    }
}

impl ReplaySource {
    /// Takes this turn's share, as one group for each replay: a group is decided up to what there is no room for, and
    /// no other may come behind it before that was offered again.
    fn share(&mut self, most: usize, room: impl Fn(usize) -> bool) -> Vec<Vec<Sent>> {
        let mut groups: Vec<Vec<Sent>> = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        while count < most && (bytes == 0 || bytes < REPLAY_BYTES_PER_TURN) {
            let Some(next) = self.queue.pop_front().or_else(|| self.mailbox.take().map(|(sent, _)| sent))
            else {
                break;
            };
            let group = groups.iter_mut().find(|group| group[0].id == next.id);
            let is_end = matches!(next.what, What::End(_));
            let mixes = group.as_ref().is_some_and(|group| is_end || group[0].round != next.round);
            // An end waits until the items before it are decided.
            if mixes || !room(bytes + bytes_of(&next)) {
                self.queue.push_front(next);
                break;
            }
            count += 1;
            bytes += bytes_of(&next);
            match group {
                Some(group) => group.push(next),
                None => groups.push(vec![next]),
            }
        }
        groups
    }

    /// Puts back what was not decided, to the front and in its order.
    fn put_back(&mut self, group: Vec<Sent>, from: usize, now: Timestamp) {
        self.wait_until = now.plus_millis(REPLAY_WAIT_MS);
        for sent in group.into_iter().skip(from).rev() {
            self.queue.push_front(sent);
        }
    }
}

fn command_of(group: &[Sent]) -> Command {
    let (id, round) = (group[0].id, group[0].round);
    if let What::End(end) = &group[0].what {
        return Command::Replay(ReplayWish::End { id, round: Some(round), end: end.clone() });
    }
    let item = |sent: &Sent| match &sent.what {
        What::Item(item) => Some(item.clone()),
        What::End(_) => None,
    };
    Command::Replay(ReplayWish::Items { id, round, items: group.iter().filter_map(item).collect() })
}

impl Source for ReplaySource {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, now: Timestamp, batch: &mut Batch) {
        if !batch.is_empty() {
            self.busy_until = now.plus_millis(LIVE_MS);
        }
        if now < self.wait_until || !batch.has_room(0) {
            return;
        }
        let busy = now < self.busy_until;
        let most = if busy { REPLAY_ITEMS_PER_BUSY_TURN } else { REPLAY_ITEMS_PER_TURN };
        if busy {
            self.wait_until = now.plus_millis(REPLAY_BUSY_PAUSE_MS);
        }
        for group in self.share(most, |bytes| batch.has_room(bytes)) {
            let bytes = group.iter().map(bytes_of).sum();
            batch.push(Ticket(0), command_of(&group), bytes);
            self.offered.push_back(group);
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        let mut offered: Vec<_> = self.offered.drain(..).collect();
        assert_eq!(offered.len(), receipts.len(), "one receipt per command");
        // From the last to the first, so that what is put back stands in its order.
        while let (Some(group), Some(receipt)) = (offered.pop(), receipts.pop()) {
            match receipt.answer {
                Answer::Replayed(done) if done < group.len() => self.put_back(group, done, receipt.at),
                Answer::Refused(Refusal::Full) => self.put_back(group, 0, receipt.at),
                // Decided; or the replay was paused or has ended, and whoever lets it go on reads it again.
                _ => {}
            }
        }
    }

    fn due(&self) -> Timestamp {
        if self.queue.is_empty() && self.mailbox.is_empty() { Timestamp::NEVER } else { self.wait_until }
    }
}
