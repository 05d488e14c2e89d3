//! What is asked of many at once: that it is to be asked, and that it was.
//!
//! Invariant: what was acknowledged is asked of each, whatever happens to whoever asks: the log says what is left.

use keyway_storage::{
    error::ReadError,
    event::{BulkEnded, EventKind},
};

use crate::{
    command::{Answer, BulkWish, Refusal},
    state::State,
};

/// Begins or ends it.
pub fn bulk(state: &State, wish: BulkWish, out: &mut Vec<EventKind>) -> Result<Answer, ReadError> {
    match wish {
        BulkWish::Begin(started) if state.has_bulk(started.id)? => Ok(Answer::Done),
        BulkWish::Begin(started) => {
            out.push(EventKind::BulkStarted(started));
            Ok(Answer::Done)
        }
        BulkWish::End(id) if state.has_bulk(id)? => {
            out.push(EventKind::BulkEnded(BulkEnded { id }));
            Ok(Answer::Done)
        }
        BulkWish::End(_) => Ok(Answer::Refused(Refusal::Ended)),
    }
}
