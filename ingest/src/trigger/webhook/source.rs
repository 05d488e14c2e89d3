//! The webhook source of one shard: a mailbox that doors fill, and receipts that go back to them.

use std::sync::Arc;

use keyway_engine::{
    command::{Command, Input, Receipt, Ticket},
    mailbox::{Bell, Mailbox},
    project::Project,
    source::{Batch, Positions, Source},
    view::last::last_input,
};
use keyway_storage::{
    limits::{INPUTS_BYTES_MAX, INPUTS_MAX},
    place::{ShardId, Timestamp},
};
use serde_json::{Map, Value, json};

use super::{directory::Published, tally::Outcome};
use crate::{
    parked::{Inbox, door_of},
    time::rfc3339,
    trigger::{Seen, Sources},
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

    fn show(&self, seen: &Seen) -> Map<String, Value> {
        let hook = self.published.of(seen.trigger.id);
        let counts = hook.map(|hook| hook.tally.read()).unwrap_or_default();
        let refusals = counts.by_outcome.iter().filter(|(outcome, _)| outcome.is_refusal());
        let refusals: Map<_, _> =
            refusals.map(|(outcome, count)| (outcome.word().to_owned(), Value::from(*count))).collect();
        // Before the first one since the start the log knows; a reader that fails shows nothing.
        let from_log = || last_input(seen.shards, seen.trigger.id).ok().flatten().map(|(_, at)| at);
        let last_event = counts.accepted_at.or_else(from_log);
        let shown = json!({
            "last_event_at": last_event.map(rfc3339),
            "accepted": counts.of(Outcome::Accepted),
            "repeated": counts.of(Outcome::Repeated),
            "timeouts": counts.timeouts,
            "refused": refusals,
            "last_refusal": counts.refused.map(|(at, outcome)| json!({
                "at": rfc3339(at), "reason": outcome.word(),
            })),
        });
        match shown {
            Value::Object(shown) => shown,
            _ => unreachable!("it is written as an object"),
        }
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
    fn tune(&mut self, project: &Arc<Project>, known: &dyn Positions) {
        self.published.put(project, known);
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
