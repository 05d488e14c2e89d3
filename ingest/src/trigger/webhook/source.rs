//! The webhook source of one shard: a mailbox that doors fill, and receipts that go back to them.

use std::sync::Arc;

use keyway_engine::{
    command::{Command, Input, Receipt, Ticket},
    mailbox::{Bell, Mailbox},
    project::Project,
    source::{Batch, Positions, Source},
};
use keyway_storage::{
    limits::{INPUTS_BYTES_MAX, INPUTS_MAX},
    place::{ShardId, Timestamp},
};

use super::directory::Published;
use crate::{
    parked::{Inbox, door_of},
    trigger::Sources,
};

/// An input on its way from a door to a shard.
pub type Sent = (Ticket, Input);

/// The webhook sources of all shards.
pub struct WebhookSources {
    shards: Arc<[Arc<Mailbox<Sent>>]>,
    doors: Arc<[Arc<Inbox>]>,
    published: Arc<Published>,
}

impl WebhookSources {
    /// Sources whose inputs come through the mailboxes of `shards` and whose receipts go to `doors`.
    pub fn new(
        shards: Arc<[Arc<Mailbox<Sent>>]>,
        doors: Arc<[Arc<Inbox>]>,
        published: Arc<Published>,
    ) -> Self {
        Self { shards, doors, published }
    }
}

impl Sources for WebhookSources {
    fn source(&self, shard: ShardId) -> Box<dyn Source> {
        let mailbox = Arc::clone(&self.shards[usize::from(shard.0)]);
        Box::new(WebhookSource::new(mailbox, Arc::clone(&self.doors), Arc::clone(&self.published)))
    }
}

/// One shard's webhook source.
pub struct WebhookSource {
    mailbox: Arc<Mailbox<Sent>>,
    doors: Arc<[Arc<Inbox>]>,
    published: Arc<Published>,
    deliveries: Vec<Vec<Receipt>>,
    held_back: Option<(Sent, usize)>,
}

impl WebhookSource {
    /// A source whose inputs come through `mailbox` and whose receipts go to `doors`.
    pub fn new(mailbox: Arc<Mailbox<Sent>>, doors: Arc<[Arc<Inbox>]>, published: Arc<Published>) -> Self {
        let deliveries = doors.iter().map(|_| Vec::new()).collect();
        Self { mailbox, doors, published, deliveries, held_back: None }
    }

    /// The mailbox of a shard that `bell` wakes.
    pub fn mailbox(bell: &Arc<Bell>) -> Arc<Mailbox<Sent>> {
        Mailbox::new(INPUTS_MAX, INPUTS_BYTES_MAX, Arc::clone(bell))
    }
}

impl Source for WebhookSource {
    fn tune(&mut self, project: &Arc<Project>, _: &dyn Positions) {
        self.published.put(project);
    }

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        while let Some(((ticket, input), bytes)) = self.held_back.take().or_else(|| self.mailbox.take()) {
            if !batch.has_room(bytes) {
                self.held_back = Some(((ticket, input), bytes));
                break;
            }
            batch.push(ticket, Command::Receive(input), bytes);
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        for receipt in receipts.drain(..) {
            self.deliveries[door_of(receipt.ticket)].push(receipt);
        }
        for (inbox, delivery) in self.doors.iter().zip(&mut self.deliveries) {
            if !delivery.is_empty() {
                inbox.deliver(delivery);
            }
        }
    }
}
