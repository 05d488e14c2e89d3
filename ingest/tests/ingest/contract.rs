//! What every trigger type promises: its peer is told of nothing that the log does not have.

use std::sync::Arc;

use keyway_engine::{
    command::{Answer, Command, Receipt, Ticket},
    source::{Batch, Positions},
};
use keyway_ingest::trigger::{TRIGGERS, rehearsal::Rehearsal};
use keyway_storage::{
    event::TriggerId,
    place::{Offset, Place, ShardId, Timestamp},
};

/// A log without anything in it.
struct Empty;

impl Positions for Empty {
    fn last(&self, _: TriggerId, _: &str) -> Option<u64> {
        None
    }

    fn since(&self, _: TriggerId) -> Option<Timestamp> {
        None
    }
}

const NOW: Timestamp = Timestamp(1_779_357_600_000_000);

fn rehearsals() -> Vec<(&'static str, Box<dyn Rehearsal>)> {
    let mut all: Vec<_> = TRIGGERS.iter().map(|adapter| (adapter.name(), adapter.rehearse())).collect();
    for (_, peer) in &mut all {
        let project = Arc::new(crate::reading::read(&peer.project()).unwrap().project);
        peer.source().tune(&project, &Empty);
    }
    all
}

/// The tickets of what the source offers, which must be inputs.
fn offered(peer: &mut dyn Rehearsal) -> Vec<Ticket> {
    let mut batch = Batch::default();
    peer.source().offer(NOW, &mut batch);
    let tickets = batch.drain().map(|(_, ticket, command)| {
        assert!(matches!(command, Command::Receive(_)));
        ticket
    });
    tickets.collect()
}

fn receipts(tickets: &[Ticket], answer: impl Fn(u64) -> Answer) -> Vec<Receipt> {
    let receipt =
        |(n, ticket): (usize, &Ticket)| Receipt { ticket: *ticket, at: NOW, answer: answer(n as u64) };
    tickets.iter().enumerate().map(receipt).collect()
}

fn accepted(n: u64) -> Answer {
    Answer::Accepted(Place { shard: ShardId(0), offset: Offset(n) })
}

#[test]
fn a_source_releases_exactly_what_was_acknowledged() {
    for (name, mut peer) in rehearsals() {
        peer.send(10);
        let tickets = offered(&mut *peer);
        assert_eq!(tickets.len(), 10, "{name}");
        assert_eq!(peer.released(), 0, "{name}: released before the log had it");
        peer.source().release(&mut receipts(&tickets[..3], accepted));
        assert_eq!(peer.released(), 3, "{name}");
        peer.source().release(&mut receipts(&tickets[3..], accepted));
        assert_eq!(peer.released(), 10, "{name}");
    }
}

#[test]
fn a_source_with_nothing_to_offer_offers_nothing() {
    for (name, mut peer) in rehearsals() {
        assert!(offered(&mut *peer).is_empty(), "{name}");
        peer.send(1);
        assert_eq!(offered(&mut *peer).len(), 1, "{name}");
        assert!(offered(&mut *peer).is_empty(), "{name}: offered the same input twice");
    }
}

#[test]
fn what_came_before_is_released_like_what_is_new() {
    for (name, mut peer) in rehearsals() {
        peer.send(2);
        let tickets = offered(&mut *peer);
        let repeated = |n| Answer::Repeated(Place { shard: ShardId(0), offset: Offset(n) }, NOW);
        peer.source().release(&mut receipts(&tickets, repeated));
        assert_eq!(peer.released(), 2, "{name}");
    }
}

#[test]
fn a_source_offers_no_more_than_a_batch_has_room_for() {
    for (name, mut peer) in rehearsals() {
        peer.send(10);
        let mut batch = Batch::default();
        while batch.has_room(0) {
            batch.push(Ticket(u64::MAX), Command::Advance, 0);
        }
        peer.source().offer(NOW, &mut batch);
        assert!(
            batch.drain().all(|(_, ticket, _)| ticket == Ticket(u64::MAX)),
            "{name}: pushed into a full batch"
        );
        assert_eq!(offered(&mut *peer).len(), 10, "{name}: lost what did not fit");
    }
}
