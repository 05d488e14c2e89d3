//! The webhook source between a door that sends and a test that plays the shard.

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use bytes::Bytes;
use keyway_engine::{
    command::{Input, Ticket},
    mailbox::Mailbox,
    source::Source,
};
use keyway_storage::{
    event::{Position, TriggerId},
    place::ShardId,
};
use uuid::{Uuid, uuid};

use super::source::{Sent, WebhookSource, WebhookSources};
use crate::{
    parked::Inbox,
    trigger::{
        Sources,
        rehearsal::{Rehearsal, project_of},
    },
};

const TRIGGER: Uuid = uuid!("0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01");

/// One shard's source, its mailbox, and the inbox of the only door.
pub struct Rehearsed {
    source: Box<dyn Source>,
    shards: Arc<[Arc<Mailbox<Sent>>]>,
    inbox: Arc<Inbox>,
    sent: u64,
    released: usize,
}

impl Rehearsed {
    /// A door that has not sent anything.
    pub fn new() -> Self {
        let shards: Arc<[_]> = Arc::new([WebhookSource::mailbox(&Arc::default())]);
        let doors: Arc<[_]> = Arc::new([Arc::<Inbox>::default()]);
        let sources = WebhookSources::new(Arc::clone(&shards), Arc::clone(&doors), Arc::default());
        let source = sources.source(ShardId(0));
        Self { source, shards, inbox: Arc::clone(&doors[0]), sent: 0, released: 0 }
    }
}

impl Rehearsal for Rehearsed {
    fn project(&self) -> String {
        project_of(&format!("{{id: {TRIGGER}, type: webhook, enabled: true}}"))
    }

    fn source(&mut self) -> &mut dyn Source {
        &mut *self.source
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            let input = Input {
                trigger: TriggerId(*TRIGGER.as_bytes()),
                position: Position::None,
                key: None,
                stream: 0,
                request: Bytes::from_static(b"{}"),
                body: Ok(Bytes::from_static(b"{}")),
                follow: None,
                replays: None,
            };
            assert!(self.shards[0].put((Ticket(self.sent), input), 4).is_ok());
            self.sent += 1;
        }
    }

    fn released(&mut self) -> usize {
        let mut receipts = Vec::new();
        if self.inbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut receipts).is_ready() {
            self.released += receipts.len();
        }
        self.released
    }
}
