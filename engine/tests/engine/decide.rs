//! What is decided, event by event: two triggers of one workflow, one of which blocks keys.

mod lane;
mod warning;
mod world;
