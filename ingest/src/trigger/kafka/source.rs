//! The Kafka source of one shard: a mailbox that consumers fill, and receipts that say how far they may commit.
//!
//! Invariant: a track is released in the order of its messages, and only up to the first one that was refused.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use crossbeam_channel::Sender;
use keyway_engine::{
    command::{Answer, Command, Input, Move, Receipt, Ticket, Warn},
    mailbox::{Bell, Mailbox},
    permit::PermitPool,
    project::Project,
    source::{Batch, Positions, Source},
};
use keyway_storage::{
    limits::{BATCH_BYTES_MAX, KAFKA_LOADS_BYTES_MAX, KAFKA_LOADS_MAX},
    place::Timestamp,
};

use super::{fleet::Fleet, track::Track};

/// What comes from a consumer.
pub enum Sent {
    /// Messages of one partition, in their order.
    Load(Load),
    /// A stream that goes on elsewhere; whoever asks is told whether it is durable.
    Move(Move, Sender<bool>),
    /// Something that people should be told of.
    Warn(Warn),
}

/// Messages of one partition.
pub struct Load {
    /// The partition.
    pub track: Arc<Track>,
    /// Each with its offset and its bytes.
    pub inputs: VecDeque<(u64, Input, usize)>,
}

enum Offered {
    Inputs(Arc<Track>, usize),
    Move(Sender<bool>),
    Warn,
}

/// One shard's Kafka source.
pub struct KafkaSource {
    mailbox: Arc<Mailbox<Sent>>,
    permits: Arc<PermitPool>,
    /// Told of projects by the last shard: by then all have them.
    fleet: Option<Weak<Fleet>>,
    held_back: Option<Sent>,
    offered: VecDeque<Offered>,
}

impl KafkaSource {
    /// A source whose inputs come through `mailbox`.
    pub fn new(mailbox: Arc<Mailbox<Sent>>, permits: Arc<PermitPool>, fleet: Option<Weak<Fleet>>) -> Self {
        Self { mailbox, permits, fleet, held_back: None, offered: VecDeque::new() }
    }

    /// The mailbox of a shard that `bell` wakes.
    pub fn mailbox(bell: &Arc<Bell>) -> Arc<Mailbox<Sent>> {
        Mailbox::new(KAFKA_LOADS_MAX, KAFKA_LOADS_BYTES_MAX, Arc::clone(bell))
    }

    fn offer_load(&mut self, mut load: Load, batch: &mut Batch) {
        if load.track.is_closed() {
            return self.drop_load(&load);
        }
        let mut count = 0;
        // One that is larger than a full turn takes a turn of its own.
        while let Some((_, _, bytes)) = load.inputs.front()
            && batch.has_room((*bytes).min(BATCH_BYTES_MAX))
        {
            let (offset, input, bytes) = load.inputs.pop_front().expect("it was just looked at");
            batch.push(Ticket(offset), Command::Receive(input), bytes.min(BATCH_BYTES_MAX));
            count += 1;
        }
        if count > 0 {
            self.offered.push_back(Offered::Inputs(Arc::clone(&load.track), count));
        }
        if !load.inputs.is_empty() {
            self.held_back = Some(Sent::Load(load));
        }
    }

    /// They are read again from Kafka when the track is made anew.
    fn drop_load(&self, load: &Load) {
        self.permits.intake().give_back(load.track.trigger, load.inputs.len() as u32);
        load.track.settle(load.inputs.len());
    }

    fn release_inputs(
        &mut self,
        receipts: &mut impl Iterator<Item = Receipt>,
        track: &Track,
        count: usize,
    ) -> usize {
        let (mut settled, mut next) = (0, None);
        for receipt in receipts.take(count) {
            settled += 1;
            match receipt.answer {
                // The shard refuses what follows a refused message of the same turn.
                Answer::Refused(_) => track.refuse(),
                _ => next = Some(receipt.ticket.0 + 1),
            }
        }
        if let Some(next) = next {
            track.release(next);
        }
        self.permits.intake().give_back(track.trigger, settled as u32);
        track.settle(settled);
        settled
    }
}

impl Source for KafkaSource {
    fn tune(&mut self, project: &Arc<Project>, last: &dyn Positions) {
        if let Some(fleet) = self.fleet.as_ref().and_then(Weak::upgrade) {
            fleet.tune(project, last);
        }
    }

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        while batch.has_room(0)
            && let Some(sent) = self.held_back.take().or_else(|| self.mailbox.take().map(|(sent, _)| sent))
        {
            match sent {
                Sent::Load(load) => {
                    self.offer_load(load, batch);
                    if self.held_back.is_some() {
                        return;
                    }
                }
                Sent::Move(order, done) => {
                    batch.push(Ticket(0), Command::Move(order), 0);
                    self.offered.push_back(Offered::Move(done));
                }
                Sent::Warn(warn) => {
                    batch.push(Ticket(0), Command::Warn(warn), 0);
                    self.offered.push_back(Offered::Warn);
                }
            }
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        let mut receipts = receipts.drain(..).peekable();
        while receipts.peek().is_some() {
            match self.offered.pop_front().expect("one receipt per command, in order") {
                Offered::Inputs(track, count) => {
                    let settled = self.release_inputs(&mut receipts, &track, count);
                    if settled < count {
                        self.offered.push_front(Offered::Inputs(track, count - settled));
                    }
                }
                // A warning that a shard refused is one that comes again.
                Offered::Warn => drop(receipts.next()),
                Offered::Move(done) => {
                    let receipt = receipts.next().expect("it was just looked at");
                    // Whoever asked may have given up.
                    let _ = done.try_send(matches!(receipt.answer, Answer::Done));
                }
            }
        }
    }
}
