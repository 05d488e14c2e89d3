//! Turns a command into the events that record it, or into a refusal.
//!
//! Pure: no clock, no network, no randomness; `now` comes in with the call, and the only disk is the rows and the log
//! that the state reads through. The same state and command give the same events on every machine, which is what makes a
//! failing simulation seed worth keeping.

mod bulk;
mod claim;
mod cursor;
mod end;
mod receive;
mod replay;
mod report;
mod request;
mod schedule;
mod time;
mod warn;

pub use schedule::reconcile;

use keyway_storage::{
    error::ReadError,
    event::EventKind,
    place::{Offset, Place, Timestamp},
};

use crate::{
    command::{Answer, Command},
    state::State,
};

/// Decides one command. `next` is the offset that its first event will get; its events go to `out`.
pub fn decide(
    state: &State,
    command: Command,
    now: Timestamp,
    next: Offset,
    out: &mut Vec<EventKind>,
) -> Result<Answer, ReadError> {
    let place = Place { shard: state.shard(), offset: next };
    match command {
        Command::Advance => time::advance(state, now, out),
        Command::Receive(input) => receive::receive(state, input, now, place, out),
        Command::Skip(skip) => schedule::skip(state, skip, out),
        Command::SetClock(wall) => Ok(schedule::set_clock(wall, out)),
        Command::Claim(claim) => Ok(claim::claim(state, claim, now, out)),
        Command::Report(report) => report::report(state, report, now, next, out),
        Command::GiveBack(back) => report::give_back(state, back, now, out),
        Command::Cancel(run) => request::cancel(state, run, now, out),
        Command::Rerun(rerun) => request::rerun(state, rerun, out),
        Command::Release(release) => request::release(state, release, out),
        Command::Discard(discard) => request::discard(state, discard, out),
        Command::Resend(item) => replay::resend(state, item, place, out),
        Command::Replay(wish) => replay::replay(state, wish, place, out),
        Command::Warn(asked) => warn::take_warning(state, asked, now, out),
        Command::Noticed(noticed) => warn::notice(state, noticed, out),
        // Nothing is decided: what is derived from the log is no part of it.
        Command::Rebuild => Ok(Answer::Done),
        Command::Bulk(wish) => bulk::bulk(state, wish, out),
        Command::Apply(apply) => schedule::apply(state, apply, out),
        Command::Switch(switch) => schedule::switch(state, switch, out),
        Command::SetCursor(set) => Ok(cursor::set(state, set, out)),
        Command::Move(order) => receive::move_stream(state, order, out),
    }
}
