//! Replays in the world: they begin, stop, go on and end, and whoever walks the logs begins anew at any place.

use bytes::Bytes;
use keyway_engine::command::{Answer, Command, Refusal, ReplayEnd, ReplayId, ReplayItem, ReplayWish};
use keyway_storage::{
    event::EventKind,
    place::{Place, ShardId},
};

use crate::world::{SHARDS, World};

/// Most items that are offered at once.
const ITEMS_MAX: usize = 5;

impl World {
    /// One thing happens to a replay.
    pub fn replay(&mut self) {
        let replay = self.random.pick(&self.replays);
        match (self.random.below(10), replay) {
            (0..2, _) | (_, None) => self.begin_replay(),
            (2..4, Some(id)) => self.pause_replay(id),
            (4, Some(id)) => self.end_replay(id),
            (_, Some(id)) => self.feed(id),
        }
    }

    fn begin_replay(&mut self) {
        let id = u128::from(self.replays.len() as u64 + 1).to_le_bytes();
        for shard in (0..SHARDS).rev() {
            let filter = Bytes::from_static(b"{}");
            self.command(ShardId(shard as u8), Command::Replay(ReplayWish::Begin { id, filter }));
        }
        self.replays.push(id);
    }

    fn pause_replay(&mut self, id: ReplayId) {
        let paused = self.random.one_in(2);
        for shard in (0..SHARDS).rev() {
            self.command(ShardId(shard as u8), Command::Replay(ReplayWish::Pause { id, paused }));
        }
    }

    fn end_replay(&mut self, id: ReplayId) {
        let shard = ShardId(self.random.below(usize::from(SHARDS)) as u8);
        let end = self.random.pick(&[0, 1, 2]).map(|how| match how {
            0 => ReplayEnd::Done,
            1 => ReplayEnd::Cancelled,
            _ => ReplayEnd::Failed("it cannot be read".into()),
        });
        let end = end.unwrap_or(ReplayEnd::Done);
        self.command(shard, Command::Replay(ReplayWish::End { id, round: None, end }));
    }

    /// Some neighbouring work orders of one log are offered, at times in a round that is over.
    fn feed(&mut self, id: ReplayId) {
        let shard = ShardId(self.random.below(usize::from(SHARDS)) as u8);
        let orders: Vec<_> = self.orders_of(shard);
        if orders.is_empty() {
            return;
        }
        let first = self.random.below(orders.len());
        let count = 1 + self.random.below(ITEMS_MAX);
        let items: Vec<_> = orders[first..].iter().take(count).map(|place| self.item(*place)).collect();
        let (round, running) = self.round_of(shard, id);
        let late = self.random.one_in(8);
        let round = if late { round.wrapping_sub(1) } else { round };
        let answer = self.command(shard, Command::Replay(ReplayWish::Items { id, round, items }));
        match answer {
            Answer::Replayed(_) => {
                assert!(running, "only a replay that runs takes items");
                assert!(!late, "what was read before a pause is not taken after it");
            }
            Answer::Refused(Refusal::Ended) => assert!(late || !running),
            other => panic!("{other:?}"),
        }
    }

    fn item(&mut self, of: Place) -> ReplayItem {
        let EventKind::Received(received) = self.event(of).kind else { panic!("a work order is a Received") };
        let body = if self.random.one_in(6) { Err("still not good".into()) } else { Ok(received.body) };
        let (trigger, key, request) = (received.trigger, received.key, received.request);
        ReplayItem { of, is_letter: false, trigger, key, stream: 0, request, body }
    }
}
