//! The embedded executor: what a job may do, and what a run of a workflow comes to.

mod bounds;
mod dates;
mod exports;
mod fresh;
mod language;
mod limit;
mod lodash;
mod log;
mod pool;
mod rehearsal;
mod script;
mod walk;
