//! A source that has nothing to say.

use std::sync::Arc;

use keyway_engine::{
    command::Receipt,
    project::Project,
    source::{Batch, Positions, Source},
};
use keyway_storage::place::Timestamp;

/// The source of a trigger type that does not run here.
pub struct Quiet;

impl Source for Quiet {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, _: &mut Batch) {}

    fn release(&mut self, _: &mut Vec<Receipt>) {}
}
