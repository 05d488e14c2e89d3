//! Another number of shards in the middle of everything: what is open goes on meeting, whoever owns it.

use keyway_engine::reshard::{Holding, bound, open_replay};
use keyway_storage::log::Log;

use crate::world::{SHARDS, SimShard, World};

impl World {
    /// What all shards have on disk, when everything is.
    fn holdings(&mut self) -> Vec<Holding> {
        let commit = |own: &mut SimShard| {
            let end = own.log.live().end;
            own.state.commit(end).unwrap();
            own.views.commit(end).unwrap();
            self.permits.keyring.give_back(own.keys.drain(..));
            Holding { log: own.log.reader(), state: own.state.reader() }
        };
        self.shards.iter_mut().map(commit).collect()
    }

    /// The process ends in order, the number of shards changes, and it goes on.
    pub fn reshard(&mut self) {
        let holdings = self.holdings();
        assert_eq!(open_replay(&holdings).unwrap(), None);
        let wide = self.routes.widened();
        let bound = bound(&holdings, &wide).unwrap();
        self.routes = wide.spread(1 + self.random.below(usize::from(SHARDS)) as u16, &bound);
    }
}
