//! Another number of shards in the middle of everything: what is open goes on meeting, whoever owns it.

use keyway_engine::reshard::{bound, open_replay};

use crate::world::{SHARDS, World};

impl World {
    /// The process ends in order, the number of shards changes, and it goes on.
    pub fn reshard(&mut self) {
        let holdings = self.holdings();
        assert_eq!(open_replay(&holdings).unwrap(), None);
        let wide = self.routes.widened();
        let bound = bound(&holdings, &wide).unwrap();
        self.routes = wide.spread(1 + self.random.below(usize::from(SHARDS)) as u16, &bound);
    }
}
