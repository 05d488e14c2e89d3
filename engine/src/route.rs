//! Which shard an input goes to.
//!
//! Invariant: what must meet goes to one shard, whatever door it came through: inputs of a workflow in one order,
//! those with the same ordering or idempotency key, those of one stream. All else stays where it came in.

use std::hash::Hasher;

use keyway_storage::{
    event::{Position, TICKS, TriggerId, WorkflowId},
    place::ShardId,
    routes::Routes,
};
use xxhash_rust::xxh3::Xxh3;

/// The shard that owns the ticks of a trigger, and what its runs start with. It depends on nothing that a project file can
/// change, so that neither is ever left behind.
pub fn ticks_owner(trigger: TriggerId, routes: &Routes) -> ShardId {
    routes.owner(ticks_hash(trigger))
}

/// What the ticks of a trigger hash to.
pub fn ticks_hash(trigger: TriggerId) -> u64 {
    let position = Position::Next { stream: TICKS.into(), number: 0 };
    let route = Route { trigger, serial: None, key: None, position: &position };
    route.hash().expect("a stream has an owner")
}

/// How far the hashes of neighbouring partitions are from each other. A prime, so that any number of shards gets equally many
/// of them; and that part of `ROUTE_SLOTS` of which multiples fall everywhere alike (the golden ratio), for data dirs whose
/// shards own whole ranges of slots.
const PARTITION_STEP: u64 = 2_531;

/// The stream that the partitions of a topic share, and which of them this one is.
fn split(stream: &str) -> (&str, u64) {
    let parts = stream.rsplit_once('/');
    parts.and_then(|(topic, number)| Some((topic, number.parse().ok()?))).unwrap_or((stream, 0))
}

/// What must meet.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// The trigger.
    pub trigger: TriggerId,
    /// The workflow, if all its runs are in one order.
    pub serial: Option<WorkflowId>,
    /// Hash of the ordering key.
    pub key: Option<u64>,
    /// What makes the input the same when it comes again.
    pub position: &'a Position,
}

impl Route<'_> {
    /// The shard that owns the input; `None` leaves it to the door.
    pub fn owner(&self, routes: &Routes) -> Option<ShardId> {
        self.hash().map(|hash| routes.owner(hash))
    }

    /// What the input hashes to; `None` leaves it to the door.
    pub fn hash(&self) -> Option<u64> {
        let mut hash = Xxh3::new();
        match (self.serial, self.key, self.position) {
            (Some(workflow), _, _) => hash.write_u64(workflow.0),
            (None, Some(key), _) => {
                hash.write(&self.trigger.0);
                hash.write_u64(key);
            }
            (None, None, Position::Once { key, .. }) => {
                hash.write(&self.trigger.0);
                hash.write_u128(*key);
            }
            (None, None, Position::Next { stream, .. }) => {
                let (topic, partition) = split(stream);
                hash.write(&self.trigger.0);
                hash.write(topic.as_bytes());
                return Some(hash.finish().wrapping_add(partition.wrapping_mul(PARTITION_STEP)));
            }
            (None, None, Position::None) => return None,
        }
        Some(hash.finish())
    }
}
