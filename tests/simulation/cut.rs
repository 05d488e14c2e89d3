//! Content that is wiped and history that is cut in the world: what ended goes, and everything else goes on as before.

use std::collections::{BTreeMap, BTreeSet};

use keyway_engine::{
    refold::{Blind, Ends, Refold},
    retention::{Bound, Look, Pass, Scale, Slice, Tally, old_enough},
};
use keyway_storage::{
    block::{Block, PackedBlock},
    event::{Content, EventKind, HistoryCut},
    log::{Log, LogReader},
    place::{Offset, Place, ShardId},
};

use crate::world::{SHARDS, World};

impl World {
    /// The oldest that ended goes, or its content does.
    pub fn sweep(&mut self) {
        let shard = ShardId(self.random.below(usize::from(SHARDS)) as u8);
        match self.random.below(4) {
            0 => self.wipe(shard),
            _ if self.has_cuts && self.random.one_in(3) => self.relieve(shard),
            _ => self.cut(shard),
        }
    }

    /// What is to go next.
    fn look(&mut self, shard: ShardId, content: Content) -> (Pass, Slice) {
        // It is found through committed rows.
        self.append(shard, vec![], true);
        let (reader, excess) = (self.reader(shard), 1 + self.random.below(4_000) as u64);
        let own = &self.shards[usize::from(shard.0)];
        reader.stats.note_tail(own.log.live().end);
        let pass = Pass::begin((content, Bound::All), Offset(0), excess, &own.state, &reader, self.now);
        let pass = pass.unwrap();
        let slice = Look::at(&pass, &own.state, &reader, self.now).unwrap();
        assert_eq!(slice.carried, [], "no trigger here has a state of its own");
        (pass, slice)
    }

    /// At times there is a crash between the content that goes and the event that says so.
    fn wipe(&mut self, shard: ShardId) {
        let (mut pass, slice) = self.look(shard, Content::Dataclips);
        let (now, own) = (self.now, &mut self.shards[usize::from(shard.0)]);
        let reader = own.log.reader();
        let mut events = 0;
        for offset in &slice.wiped {
            let packed = reader.block(*offset).unwrap().unwrap();
            let mut block = Block::new(shard);
            block.begin(packed.span().first, packed.at());
            for mut event in packed.events(packed.span().first).map(Result::unwrap) {
                let is_wiped = event.place.offset == *offset && event.kind.wipe(Content::Dataclips, now) > 0;
                events += u64::from(is_wiped);
                block.push(&event.kind);
            }
            own.log.rewrite(&mut block).unwrap();
        }
        if self.random.one_in(8) {
            return self.crash();
        }
        let noted = pass.note(slice, events, 0);
        self.append(shard, noted.into_iter().collect(), true);
    }

    /// At times the log goes too, or a crash comes before it does.
    fn cut(&mut self, shard: ShardId) {
        let (mut pass, mut slice) = self.look(shard, Content::History);
        let cut = slice.take_cut();
        let count = cut.as_ref().map_or(0, HistoryCut::count);
        let noted = pass.note(slice, count, 0);
        self.cuts += count;
        self.append(shard, cut.map(EventKind::from).into_iter().chain(noted).collect(), true);
        if !self.random.one_in(3) {
            self.retire(shard);
        }
    }

    /// A workflow, or all of them, has more history than it may; at times there is a crash before it has not.
    fn relieve(&mut self, shard: ShardId) {
        let trigger = self.random.pick(&self.triggers).unwrap();
        let workflow = self.project.trigger(trigger).unwrap().0.id;
        let bound = if self.random.one_in(3) { Bound::All } else { Bound::Workflow(workflow) };
        let shares = BTreeMap::from([((Content::History, bound), self.random.below(3_000) as u64)]);
        let mut tally = Tally::default();
        for round in 0.. {
            assert!(round < 1_000, "there is always too much");
            self.append(shard, vec![], true);
            let reader = self.reader(shard);
            let own = &self.shards[usize::from(shard.0)];
            reader.stats.note_tail(own.log.live().end);
            tally.tune(&shares, old_enough(&reader, 0, self.now).unwrap(), &own.state).unwrap();
            while tally.wanted().is_some() {
                Scale::new(&mut tally, &own.state, &reader).weigh().unwrap();
            }
            let Some(excess) = tally.excess() else { break };
            let mut pass = Pass::relieve(excess, &own.state).unwrap();
            let mut slice = Look::at(&pass, &own.state, &reader, self.now).unwrap();
            slice.weighed.iter().for_each(|gone| tally.take(gone));
            let cut = slice.take_cut();
            let count = cut.as_ref().map_or(0, HistoryCut::count);
            let noted = pass.note(slice, count, 0);
            let (rule, next) = pass.progress();
            tally.pass(rule, next);
            self.relieved += count;
            self.append(shard, cut.map(EventKind::from).into_iter().chain(noted).collect(), true);
            if self.random.one_in(16) {
                return self.crash();
            }
        }
        if !self.random.one_in(3) {
            self.retire(shard);
        }
    }

    /// The events up to where history was cut are folded into a base, and blocks that nobody needs go.
    fn retire(&mut self, shard: ShardId) {
        let own = &mut self.shards[usize::from(shard.0)];
        let wipes = own.state.wipes().unwrap();
        let cuts = wipes.iter().filter(|((content, _), _)| *content == Content::History);
        let goal = cuts.map(|(_, row)| row.before).max().unwrap_or_default();
        let live = own.log.live();
        let goal = goal.min(Offset(live.end.0 - 1));
        if goal <= live.first {
            return;
        }
        let reader = own.log.reader();
        let (state, views) = (own.state.make_base().unwrap(), own.views.make_base().unwrap());
        let mut refold = Refold::open(&reader, Some(state), Some(views)).unwrap();
        // In two parts at times: what is folded already is gone on with.
        if self.random.one_in(2) {
            let part = Offset(live.first.0 + (goal.0 - live.first.0) / 2);
            refold.run(&reader, Ends::both(part), &mut Blind).unwrap();
        }
        if self.random.one_in(8) {
            return self.crash();
        }
        refold.run(&reader, Ends::both(goal), &mut Blind).unwrap();
        let letters = self.model.letters();
        let kept: BTreeSet<Place> = self.orders_of(shard).into_iter().chain(letters).collect();
        let gone = blocks(&reader, goal).into_iter().filter(|block| is_gone(block, shard, &kept));
        let gone: Vec<_> = gone.map(|block| block.span().first).collect();
        self.shards[usize::from(shard.0)].log.retire(goal, &gone).unwrap();
    }
}

/// The whole blocks before an offset.
fn blocks(reader: &LogReader, end: Offset) -> Vec<PackedBlock> {
    reader.blocks(Offset(0)).map(Result::unwrap).take_while(|block| block.span().end <= end).collect()
}

/// Whether all events of a block are of work orders that are gone, or of none.
fn is_gone(block: &PackedBlock, shard: ShardId, kept: &BTreeSet<Place>) -> bool {
    let is_needed = |work_order: Offset| kept.contains(&Place { shard, offset: work_order });
    block.events(block.span().first).map(Result::unwrap).all(|event| match event.kind {
        EventKind::Received(_) => !is_needed(event.place.offset),
        EventKind::RunRequested(it) => !is_needed(it.run.work_order),
        EventKind::RunStarted(it) => !is_needed(it.run.work_order),
        EventKind::RunFinished(it) => !is_needed(it.run.work_order),
        EventKind::DeadLettered(_) => !is_needed(event.place.offset),
        EventKind::DeadLetterClosed(it) => !is_needed(it.letter),
        EventKind::ProjectApplied(_) => false,
        _ => true,
    })
}
