//! What verify finds in a log whose checksums are all good: one bad event each, and none in a log that is as it should be.

use std::{path::Path, thread};

use bytes::Bytes;
use keyway_engine::verify::{Bench, Report, verify};
use keyway_storage::{
    block::Block,
    directory::{DataDir, Durability},
    event::{
        CancelRequested, Cause, ClaimedRun, CursorFate, CursorSet, CursorState, DeadLetterClosed,
        DeadLettered, EventKind, ExitReason, FinalState, Held, JobId, LaneId, LeaseExpired, Letter,
        LetterEnd, LogWritten, MoveReason, Opened, Position, ProjectApplied, Reason, Received, Released,
        ReplayItemFailed, RunFinished, RunRequested, RunStarted, RunState, RunsClaimed, StepFinished,
        StepInput, StepStarted, StreamMoved, TriggerId, WorkflowId,
    },
    id::Ids,
    key::Tag,
    log::Log,
    place::{Offset, Place, RunKey, ShardId, Timestamp},
    rows::Rows,
};

const SHARD: ShardId = ShardId(0);
const LANE: LaneId = LaneId { owner: 1, number: 0, key: 0 };
const TRIGGER: TriggerId = TriggerId([1; 16]);
/// Where the work order of the good log is, its run, and an event that is none of the things that others name.
const ORDER: Offset = Offset(2);
const RUN: RunKey = RunKey { work_order: ORDER, n: 1 };
const OPENED: Offset = Offset(0);
const PROJECT: Offset = Offset(1);

fn at(offset: Offset) -> Place {
    Place { shard: SHARD, offset }
}

fn received(position: Position, project: Offset, replays: Option<Place>) -> EventKind {
    let (request, body) = (Bytes::new(), Bytes::from_static(b"{}"));
    let workflow = WorkflowId(1);
    Received { trigger: TRIGGER, workflow, project, position, lane: LANE, key: None, request, body, replays }
        .into()
}

fn next(number: u64) -> Position {
    Position::Next { stream: "s".into(), number }
}

fn dead_letter() -> EventKind {
    let letter = Letter {
        request: Bytes::from_static(b"{}"),
        raw: None,
        reason: Reason::NotAnObject,
        detail: "null".into(),
    };
    DeadLettered { trigger: TRIGGER, position: Position::None, letter }.into()
}

fn claimed(run: RunKey) -> EventKind {
    let runs = vec![ClaimedRun { run, attempt: 1, lane: LANE }];
    RunsClaimed { worker: 0, until: Timestamp(60_000_000), runs, diverted: Vec::new() }.into()
}

fn started(run: RunKey, cursor: Option<Offset>) -> EventKind {
    RunStarted { run, attempt: 1, started: Timestamp(5_000), cursor }.into()
}

fn step_started(run: RunKey) -> EventKind {
    let (step, job, input) = (0, JobId(0), StepInput::Run);
    StepStarted { run, attempt: 1, step, job, input, started: Timestamp(5_000) }.into()
}

fn step_finished(run: RunKey) -> EventKind {
    let (exit, output) = (ExitReason::Success, Bytes::from_static(b"{}"));
    StepFinished {
        run,
        attempt: 1,
        step: 0,
        job: JobId(0),
        exit,
        error: None,
        output,
        finished: Timestamp(5_000),
    }
    .into()
}

fn finished(run: RunKey) -> EventKind {
    let (state, final_state, response) = (RunState::Success, FinalState::Step(0), Bytes::new());
    RunFinished { run, attempt: 1, state, error: None, final_state, response, finished: Timestamp(5_000) }
        .into()
}

fn cursor(state: CursorState) -> EventKind {
    CursorSet { trigger: TRIGGER, run: None, state, bytes: 2, fate: CursorFate::Kept, limit_bytes: 0 }.into()
}

fn requested(project: Offset, work_order: Offset) -> EventKind {
    let run = RunKey { work_order, n: 2 };
    let (start, input) = (None, StepInput::Run);
    RunRequested { run, project, start, input, origin: 1, lane: LANE, key: None }.into()
}

fn closed(letter: Offset, end: LetterEnd) -> EventKind {
    DeadLetterClosed { letter, end }.into()
}

fn failed(item: Place) -> EventKind {
    ReplayItemFailed { id: [3; 16], item, reason: "a test".into() }.into()
}

/// A log in which everything is as it should be: a run from its input to its end, a dead letter that went through again.
fn good() -> Vec<EventKind> {
    let replayed = LetterEnd::Replayed { work_order: at(Offset(10)) };
    let moved = StreamMoved {
        trigger: TRIGGER,
        stream: "s".into(),
        from: Some(8),
        next: 3,
        reason: MoveReason::Truncated,
    };
    vec![
        Opened { boot: 1 }.into(),
        ProjectApplied { file: Bytes::from_static(b"name: a"), made: Vec::new() }.into(),
        received(next(7), PROJECT, None),
        claimed(RUN),
        started(RUN, None),
        step_started(RUN),
        step_finished(RUN),
        finished(RUN),
        cursor(CursorState::At(Offset(6))),
        dead_letter(),
        received(Position::None, PROJECT, Some(at(Offset(9)))),
        closed(Offset(9), replayed),
        failed(at(Offset(9))),
        moved.into(),
        // A stream that was truncated counts anew.
        received(next(3), PROJECT, Some(at(ORDER))),
        requested(PROJECT, ORDER),
    ]
}

/// Where the event is that is added to the good log.
const BAD: Offset = Offset(16);

fn append(path: &Path, events: &[(Timestamp, EventKind)]) {
    let data = DataDir::open(path, 1).unwrap();
    let mut store = data.open_shard(SHARD, Durability::Os, None).unwrap();
    let mut block = Block::new(SHARD);
    for (time, event) in events {
        block.begin(store.log.live().end, *time);
        block.push(event);
        store.log.append(&mut block).unwrap();
    }
}

/// What verify says of a log with these events.
fn verified(events: &[(Timestamp, EventKind)]) -> Report {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    append(&path, events);
    let data = DataDir::open_existing(&path).unwrap();
    let store = data.open_shard(SHARD, Durability::Os, None).unwrap();
    let bench = Bench {
        ids: Ids::new([7; 16]),
        logs: &[store.log.reader()],
        scratch: (Rows::memory(Tag::Watermark), Rows::memory(Tag::ViewsWatermark)),
        pass: &mut |_| true,
    };
    verify(&store, bench).unwrap()
}

fn timed(events: Vec<EventKind>) -> Vec<(Timestamp, EventKind)> {
    (0..).map(|n| Timestamp(1_000 * n)).zip(events).collect()
}

/// The sentences about the event that was added to the good log.
fn said_of(event: EventKind) -> Vec<String> {
    let events = timed(good().into_iter().chain([event]).collect());
    let found = verified(&events).log.into_iter();
    let own = format!("event 0-{}", BAD.0);
    found.filter(|finding| finding.place == own).map(|finding| finding.how).collect()
}

#[test]
fn nothing_is_found_in_a_log_that_is_as_it_should_be() {
    let report = verified(&timed(good()));
    assert_eq!((report.log, report.rows), (vec![], vec![]));
    assert_eq!(good().len() as u64, BAD.0);
}

#[test]
fn an_event_that_names_what_is_not_there_is_found_with_what_it_names() {
    let gone = Offset(99);
    let no_run = RunKey { work_order: Offset(5), n: 1 };
    let no_order = "offset 5 is no work order that came before";
    let replayed = LetterEnd::Replayed { work_order: at(OPENED) };
    let discarded = LetterEnd::Discarded { reason: "a test".into() };
    let log = LogWritten { run: no_run, attempt: 1, lines: Vec::new() };
    let held = Held { lane: LANE, work_order: Offset(5), until: Timestamp::NEVER, cause: Cause::Blocked };
    let released = Released { lane: LANE, work_order: Offset(5), skip: true };
    let rows: Vec<(EventKind, &str)> = vec![
        (received(Position::None, OPENED, None), "offset 0 is no project that came into force before"),
        (received(Position::None, gone, None), "offset 99 is no project that came into force before"),
        (received(Position::None, PROJECT, Some(at(OPENED))), "it names 0-0, which is not Received"),
        (received(Position::None, PROJECT, Some(at(gone))), "it names 0-99, which is not Received"),
        (
            received(Position::None, PROJECT, Some(Place { shard: ShardId(7), offset: ORDER })),
            "it names 7-2, which is not Received",
        ),
        (closed(ORDER, discarded), "it names 0-2, which is not DeadLettered"),
        (closed(Offset(9), replayed), "it names 0-0, which is not Received"),
        (failed(at(OPENED)), "it names 0-0, which is not Received"),
        (requested(OPENED, ORDER), "offset 0 is no project that came into force before"),
        (requested(PROJECT, Offset(5)), no_order),
        (requested(PROJECT, BAD), "offset 16 is no work order that came before"),
        (claimed(no_run), no_order),
        (LeaseExpired { run: no_run, attempt: 1 }.into(), no_order),
        (started(no_run, None), no_order),
        (started(RUN, Some(OPENED)), "it names 0-0, which is not CursorSet"),
        (cursor(CursorState::At(OPENED)), "it names 0-0, which is not StepFinished"),
        (step_started(no_run), no_order),
        (step_finished(no_run), no_order),
        (finished(no_run), no_order),
        (log.into(), no_order),
        (CancelRequested { run: no_run }.into(), no_order),
        (held.into(), no_order),
        (released.into(), no_order),
    ];
    // Each in a data dir of its own, which takes its time: side by side.
    thread::scope(|scope| {
        for (event, said) in rows {
            scope.spawn(move || {
                let shown = format!("{event:?}");
                assert!(said_of(event).iter().any(|how| how == said), "{shown}: {said}");
            });
        }
    });
}

#[test]
fn a_position_that_does_not_rise_is_found() {
    let said = "position 3 of stream s comes after 3".to_owned();
    assert_eq!(said_of(received(next(3), PROJECT, None)), [said]);
    let said = "position 1 of stream s comes after 3".to_owned();
    assert_eq!(said_of(received(next(1), PROJECT, None)), [said]);
    assert_eq!(said_of(received(next(4), PROJECT, None)), [""; 0]);
}

#[test]
fn a_time_that_falls_and_an_id_that_does_not_lead_back_are_found() {
    let mut events = timed(good());
    events.push((Timestamp(14_999), Opened { boot: 2 }.into()));
    let found = verified(&events).log;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].place.as_str(), found[0].how.as_str()),
        ("event 0-16", "its time is before that of the event before it")
    );
    // A time that no id has room for: milliseconds take 48 bits.
    events.pop();
    events.push((Timestamp(1 << 60), received(Position::None, PROJECT, None)));
    let found = verified(&events).log;
    assert!(
        found.iter().any(|it| it.place == "event 0-16" && it.how == "its id does not lead back to it"),
        "{found:?}"
    );
}
