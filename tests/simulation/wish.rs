//! What is asked for in the world: the end of a run, another run, that a blocked lane go on, that a run be taken back.

use keyway_engine::{
    command::{Answer, Command, GiveBack, Release, Rerun},
    queue::lane::line_key,
};
use keyway_storage::{
    event::{EventKind, StepInput},
    log::Log,
};

use crate::world::World;

impl World {
    pub fn cancel(&mut self) {
        let Some((shard, offset)) = self.random.pick(&self.model.orders()) else { return };
        let state = &self.shards[usize::from(shard.0)].state;
        let n = state.work_order(offset).unwrap().map_or(1, |row| row.runs.len() as u8);
        let run = keyway_storage::place::RunKey { work_order: offset, n };
        self.command(shard, Command::Cancel(run));
    }

    pub fn rerun(&mut self) {
        let Some((shard, offset)) = self.random.pick(&self.model.orders()) else { return };
        let event = self.shards[usize::from(shard.0)].log.reader().event(offset).unwrap().unwrap();
        let EventKind::Received(received) = event.kind else { panic!("a work order is a Received") };
        let rerun = Rerun {
            work_order: offset,
            workflow: received.workflow,
            lane: received.lane,
            key: line_key(&received),
            project: None,
            start: None,
            input: StepInput::Run,
            origin: 1,
        };
        self.command(shard, Command::Rerun(rerun));
    }

    /// A worker that stops gives back a run that it did not begin.
    pub fn give_back(&mut self) {
        let indexes: Vec<usize> = (0..self.working.len()).collect();
        let Some(index) = self.random.pick(&indexes) else { return };
        let (shard, _, claim) = self.working[index];
        let back = GiveBack { run: claim.run, attempt: claim.attempt };
        // One that began is not taken back.
        if let Answer::Done = self.command(shard, Command::GiveBack(back)) {
            self.working.swap_remove(index);
        }
    }

    pub fn release(&mut self) {
        let Some((shard, lane)) = self.random.pick(&self.model.blocked()) else { return };
        let skip = self.random.one_in(2);
        self.command(shard, Command::Release(Release { lane, skip }));
    }
}
