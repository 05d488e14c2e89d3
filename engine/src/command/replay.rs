//! What may be asked of a shard about a replay.
//!
//! Invariant: a shard decides the items of one log in the order of that log, each once; one that it has decided is
//! passed over when it comes again, so that whoever walks the log may begin anew at any time.

use bytes::Bytes;
use keyway_storage::{event::TriggerId, place::Place};

/// A replay's UUID, as its 16 bytes.
pub type ReplayId = [u8; 16];

/// A wish about a replay.
#[derive(Debug)]
pub enum ReplayWish {
    /// Begin it.
    Begin {
        /// Its id, new and the same on all shards.
        id: ReplayId,
        /// JSON of its filter and rate.
        filter: Bytes,
    },
    /// Let items go through again, oldest first.
    Items {
        /// The replay.
        id: ReplayId,
        /// The round in which they were read: those of an earlier one are not taken any more.
        round: u32,
        /// What is to go through.
        items: Vec<ReplayItem>,
    },
    /// Stop it for a while, or let it go on.
    Pause {
        /// The replay.
        id: ReplayId,
        /// Whether it shall stop.
        paused: bool,
    },
    /// End it.
    End {
        /// The replay.
        id: ReplayId,
        /// The round that is over; `None` ends it whatever goes on.
        round: Option<u32>,
        /// How it ends.
        end: ReplayEnd,
    },
}

/// How a replay ends.
#[derive(Debug, Clone)]
pub enum ReplayEnd {
    /// Its last item went through.
    Done,
    /// Someone wants it to end.
    Cancelled,
    /// Something that it needs cannot be read, and why.
    Failed(Box<str>),
}

/// Something that goes through again.
#[derive(Debug, Clone)]
pub struct ReplayItem {
    /// The dead letter or event.
    pub of: Place,
    /// Whether it is a dead letter, which is closed by it.
    pub is_letter: bool,
    /// The trigger that it came through.
    pub trigger: TriggerId,
    /// Hash of the ordering key, if the trigger orders by key and the input has one.
    pub key: Option<u64>,
    /// Hash of the stream that the input belongs to; 0 when there is none.
    pub stream: u64,
    /// JSON of the metadata; empty when there is none.
    pub request: Bytes,
    /// JSON of the body, or why there is still none.
    pub body: Result<Bytes, Box<str>>,
}

impl ReplayItem {
    /// About what it takes in a block.
    pub fn bytes(&self) -> usize {
        self.request.len() + self.body.as_ref().map_or(0, Bytes::len)
    }
}
