//! Run and work order states, in the words of OpenFn.
//!
//! Source: OpenFn Lightning's run and work order states (2.18), word for word.

use keyway_storage::event::RunState;

/// Whether a run in this state has ended.
pub fn is_final(state: RunState) -> bool {
    state >= RunState::Success
}

/// Whether a retry may help: the run was tried, and it was not ended on purpose.
pub fn is_failure(state: RunState) -> bool {
    matches!(
        state,
        RunState::Failed | RunState::Crashed | RunState::Killed | RunState::Exception | RunState::Lost
    )
}

/// The name of a run's state.
pub fn run_state_name(state: RunState) -> &'static str {
    match state {
        RunState::Available => "available",
        RunState::Claimed => "claimed",
        RunState::Started => "started",
        RunState::Success => "success",
        RunState::Failed => "failed",
        RunState::Crashed => "crashed",
        RunState::Cancelled => "cancelled",
        RunState::Killed => "killed",
        RunState::Exception => "exception",
        RunState::Lost => "lost",
    }
}

/// The name of a work order's state, from the state of the run that decides it.
pub fn work_order_state_name(state: RunState) -> &'static str {
    match state {
        RunState::Available | RunState::Claimed => "pending",
        RunState::Started => "running",
        ended => run_state_name(ended),
    }
}

/// All states of runs, in the order of their numbers.
pub const RUN_STATES: [RunState; 10] = [
    RunState::Available,
    RunState::Claimed,
    RunState::Started,
    RunState::Success,
    RunState::Failed,
    RunState::Crashed,
    RunState::Cancelled,
    RunState::Killed,
    RunState::Exception,
    RunState::Lost,
];

/// The states in which a run has ended.
pub const ENDED_STATES: [RunState; 7] = [
    RunState::Success,
    RunState::Failed,
    RunState::Crashed,
    RunState::Cancelled,
    RunState::Killed,
    RunState::Exception,
    RunState::Lost,
];

/// The run state with this name.
pub fn run_state_named(name: &str) -> Option<RunState> {
    RUN_STATES.into_iter().find(|state| run_state_name(*state) == name)
}

/// The state that decides a work order's with this name.
pub fn work_order_state_named(name: &str) -> Option<RunState> {
    match name {
        "pending" => Some(RunState::Available),
        "running" => Some(RunState::Started),
        other => run_state_named(other).filter(|state| is_final(*state)),
    }
}
