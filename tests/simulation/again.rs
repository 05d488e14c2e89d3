//! Replays in the world: they begin, stop, go on and end, and whoever walks the logs begins anew at any place. Past events
//! and dead letters go through again; dead letters also one by one, or they are given up.

use bytes::Bytes;
use keyway_engine::command::{
    Answer, Command, Discard, Input, Refusal, ReplayEnd, ReplayId, ReplayItem, ReplayWish, Unusable,
};
use keyway_storage::{
    event::{EventKind, Position, Reason, TriggerId},
    place::{Place, ShardId},
};

use crate::world::{SHARDS, World};

/// Most items that are offered at once.
const ITEMS_MAX: usize = 5;

impl World {
    /// One thing happens to a replay.
    pub fn replay(&mut self) {
        let replay = self.random.pick(&self.replays);
        match (self.random.below(15), replay) {
            (10..13, _) => self.dead_letter(),
            (13, _) => self.resend(),
            (14, _) => self.discard(),
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

    /// Some neighbouring work orders and dead letters of one log are offered, at times in a round that is over.
    fn feed(&mut self, id: ReplayId) {
        let shard = ShardId(self.random.below(usize::from(SHARDS)) as u8);
        let letters = self.model.letters().into_iter().filter(|letter| letter.shard == shard);
        let mut all: Vec<_> = self.orders_of(shard).into_iter().chain(letters).collect();
        all.sort();
        if all.is_empty() {
            return;
        }
        let first = self.random.below(all.len());
        let count = 1 + self.random.below(ITEMS_MAX);
        let items: Vec<_> = all[first..].iter().take(count).map(|place| self.item(*place)).collect();
        // One that walks anew offers again what is still on its way.
        let items = match self.random.one_in(4) {
            true => [items.clone(), items].concat(),
            false => items,
        };
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
        let is_bad = self.random.one_in(6);
        let body = |good: Bytes| if is_bad { Err("still not good".into()) } else { Ok(good) };
        let (is_letter, trigger, key, request, good) = match self.event(of).kind {
            EventKind::Received(it) => (false, it.trigger, it.key, it.request, it.body),
            EventKind::DeadLettered(it) => {
                (true, it.trigger, self.key_of(it.trigger), it.letter.request, Bytes::from_static(b"{}"))
            }
            other => panic!("{other:?} does not go through again"),
        };
        ReplayItem { of, is_letter, trigger, key, stream: 0, request, body: body(good) }
    }

    /// The key that is found in a payload, once it can be read.
    fn key_of(&mut self, trigger: TriggerId) -> Option<u64> {
        let (workflow, _) = self.project.trigger(trigger).unwrap();
        let is_keyed = workflow.key == "retried" || workflow.key == "blocking";
        is_keyed.then(|| 1 + self.random.below(3) as u64)
    }

    fn dead_letter(&mut self) {
        let shard = ShardId(self.random.below(usize::from(SHARDS)) as u8);
        let triggers: Vec<_> = self.project.triggers().map(|(_, trigger)| trigger.id).collect();
        let unusable = Unusable {
            raw: Some(Bytes::from_static(b"oops")),
            reason: Reason::InvalidJson,
            detail: "expected value at line 1".into(),
        };
        let input = Input {
            trigger: self.random.pick(&triggers).unwrap(),
            position: Position::None,
            key: None,
            stream: 0,
            request: Bytes::new(),
            body: Err(unusable),
            follow: None,
            replays: None,
        };
        let answer = self.command(shard, Command::Receive(input));
        assert!(matches!(answer, Answer::DeadLettered(place) if place.shard == shard), "{answer:?}");
    }

    /// One dead letter goes through again by itself, or meets one who was quicker.
    fn resend(&mut self) {
        let Some(of) = self.random.pick(&self.model.letters()) else { return };
        let (is_open, item) = (self.model.is_open(of), self.item(of));
        let is_good = item.body.is_ok();
        match self.command(of.shard, Command::Resend(item)) {
            Answer::Accepted(_) => assert_eq!((is_open, is_good), (true, true)),
            Answer::Refused(Refusal::NotFound) => assert!(!is_open),
            Answer::Refused(Refusal::UnknownTrigger) => assert_eq!((is_open, is_good), (true, false)),
            other => panic!("{other:?}"),
        }
    }

    fn discard(&mut self) {
        let Some(of) = self.random.pick(&self.model.letters()) else { return };
        let is_open = self.model.is_open(of);
        let discard = Discard { letter: of.offset, reason: "a test".into() };
        let answer = self.command(of.shard, Command::Discard(discard));
        assert_eq!(matches!(answer, Answer::Done), is_open, "{answer:?}");
    }
}
