//! The fixture of format 1: a data dir that was written once, and that every later version must open.
//!
//! `KEYWAY_WRITE_FIXTURE=DIR cargo test -p keyway-storage --test fixture` writes it anew, for a new format beside the
//! old one; an old fixture is never changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use keyway_storage::{
    block::{Block, PackedBlock, archive_of},
    directory::{DataDir, Durability},
    event::{
        BulkDeed, BulkEnded, BulkStarted, CancelRequested, Carried, Cause, ClaimedRun, ClockSet, Concern,
        Content, CursorFate, CursorSet, CursorState, CutAway, CutOrders, DeadLetterClosed, DeadLettered,
        Event, EventKind, ExitReason, FinalState, Held, HistoryCut, HistoryTrimmed, JobId, KeptCursor, Kind,
        LaneId, LeaseExpired, LeaseReturned, Letter, LetterEnd, Level, LogLine, LogSource, LogWritten,
        MadeId, MoveReason, Noticed, Opened, Position, ProjectApplied, Reason, Received, Released,
        ReplayEnded, ReplayFailed, ReplayItemFailed, ReplayStarted, ReplaySwitched, RunError, RunFinished,
        RunRequested, RunStarted, RunState, RunsClaimed, SchedulesSet, StepFinished, StepInput, StepStarted,
        StreamMoved, TickSkipped, TriggerId, TriggerSchedule, TriggerSwitched, Warned, Wiped, WorkflowId,
        wiped_mark,
    },
    key::{Key, Tag},
    line,
    log::Log,
    place::{Offset, Place, RunKey, ShardId, Timestamp},
    table::{CountsRow, Table},
};

use crate::packed::{ENTRY_BYTES, TABLE, sealed};
use crate::{brief::brief, folder::copy};

/// Every so many bytes one bit is flipped: a prime, so that all bits of a byte and all fields come up.
const STEP: usize = 11;
const SHARD: ShardId = ShardId(0);
const TRIGGER: TriggerId = TriggerId([3; 16]);
const RUN: RunKey = RunKey { work_order: Offset(2), n: 1 };
const LANE: LaneId = LaneId { owner: 7, number: 16, key: 9 };
const AT: Timestamp = Timestamp(1_700_000_000_123_456);

/// One event of each kind that the first format had, in the order of their numbers.
fn events() -> Vec<EventKind> {
    [inputs(), runs(), others()].concat()
}

fn json() -> Bytes {
    Bytes::from_static(b"{\"n\":1}")
}

fn inputs() -> Vec<EventKind> {
    let (trigger, body) = (TRIGGER, json());
    let position = Position::Next { stream: "orders/3".into(), number: 41 };
    let letter = Letter {
        request: body.clone(),
        raw: Some((*b"raw").into()),
        reason: Reason::InvalidJson,
        detail: "at 1".into(),
    };
    let place = Place { shard: SHARD, offset: Offset(3) };
    vec![
        Opened { boot: 1 }.into(),
        ProjectApplied {
            file: Bytes::from_static(b"name: x"),
            made: vec![MadeId { name: "project".into(), id: [1; 16] }],
        }
        .into(),
        Received {
            trigger,
            workflow: WorkflowId(7),
            project: Offset(1),
            position,
            lane: LANE,
            key: Some(9),
            request: body.clone(),
            body,
            replays: Some(place),
        }
        .into(),
        DeadLettered { trigger, position: Position::Once { key: 5, body: 6, window_seconds: 60 }, letter }
            .into(),
        DeadLetterClosed { letter: Offset(3), end: LetterEnd::Discarded { reason: "old".into() } }.into(),
        TickSkipped { trigger, due: AT, reason: "busy".into() }.into(),
    ]
}

fn runs() -> Vec<EventKind> {
    let body = json();
    let error = Some(RunError { kind: "JobError".into(), message: "no".into() });
    let line =
        LogLine { step: Some(0), level: Level::Warn, source: LogSource::Job, at: AT, message: "hi".into() };
    vec![
        RunsClaimed {
            worker: 0,
            until: AT,
            runs: vec![ClaimedRun { run: RUN, attempt: 1, lane: LANE }],
            diverted: vec![(LANE, Offset(2))],
        }
        .into(),
        LeaseExpired { run: RUN, attempt: 1 }.into(),
        RunRequested {
            run: RUN,
            project: Offset(1),
            start: Some(JobId(1)),
            input: StepInput::InputOf(0),
            origin: 1,
            lane: LANE,
            key: None,
        }
        .into(),
        RunStarted { run: RUN, attempt: 1, started: AT, cursor: None }.into(),
        RunFinished {
            run: RUN,
            attempt: 1,
            state: RunState::Failed,
            error: error.clone(),
            final_state: FinalState::Own(body.clone()),
            response: Bytes::new(),
            finished: AT,
        }
        .into(),
        StepStarted { run: RUN, attempt: 1, step: 0, job: JobId(0), input: StepInput::Run, started: AT }
            .into(),
        StepFinished {
            run: RUN,
            attempt: 1,
            step: 0,
            job: JobId(0),
            exit: ExitReason::Fail,
            error,
            output: body,
            finished: AT,
        }
        .into(),
        LogWritten { run: RUN, attempt: 1, lines: vec![line] }.into(),
    ]
}

fn others() -> Vec<EventKind> {
    vec![
        CancelRequested { run: RUN }.into(),
        Held { lane: LANE, work_order: Offset(2), until: AT, cause: Cause::Retry }.into(),
        Released { lane: LANE, work_order: Offset(2), skip: true }.into(),
        ReplayStarted { id: [4; 16], filter: json() }.into(),
        ReplayEnded { id: [4; 16], cancelled: true }.into(),
        Noticed { of: Offset(3), delivered: true, sent: AT }.into(),
        Carried { key: (*b"key").into(), value: (*b"value").into() }.into(),
        TriggerSwitched { trigger: TRIGGER, enabled: false }.into(),
    ]
}

/// Kinds that came after the fixture.
fn later() -> Vec<EventKind> {
    let set =
        |state, fate| CursorSet { trigger: TRIGGER, run: Some(RUN), state, bytes: 7, fate, limit_bytes: 5 };
    let schedules = [Some(u64::MAX), None].map(|schedule| TriggerSchedule { trigger: TRIGGER, schedule });
    vec![
        set(CursorState::Own(json()), CursorFate::Warned).into(),
        set(CursorState::At(Offset(12)), CursorFate::TooLarge).into(),
        set(CursorState::None, CursorFate::Kept).into(),
        SchedulesSet { schedules: schedules.to_vec() }.into(),
        Wiped {
            content: Content::LogLines,
            seconds: 86_400,
            rules: u64::MAX,
            before: Offset(9),
            events: 2,
            bytes: 70,
            kept: vec![KeptCursor { trigger: TRIGGER, set: Offset(5) }],
        }
        .into(),
        StepFinished {
            run: RUN,
            attempt: 1,
            step: 0,
            job: JobId(0),
            exit: ExitReason::Success,
            error: None,
            output: wiped_mark(AT),
            finished: AT,
        }
        .into(),
    ]
}

fn latest() -> Vec<EventKind> {
    let (id, offsets) = ([4; 16], vec![Offset(2), Offset(5)]);
    let warned = |trigger, concern, work_order| Warned {
        workflow: WorkflowId(7),
        trigger,
        concern,
        work_order,
        message: "A run is lost.".into(),
    };
    let bulk = |deed| BulkStarted { id, deed, of: vec![RUN] };
    let moved =
        |from, reason| StreamMoved { trigger: TRIGGER, stream: "orders/3".into(), from, next: 44, reason };
    vec![
        warned(Some(TRIGGER), Concern::CursorTooLarge, Some(Offset(2))).into(),
        warned(None, Concern::RunLost, None).into(),
        ReplaySwitched { id, paused: true }.into(),
        ReplayItemFailed {
            id,
            item: Place { shard: ShardId(1), offset: Offset(3) },
            reason: "it is no object".into(),
        }
        .into(),
        ReplayFailed { id, reason: "it cannot be read".into() }.into(),
        moved(Some(42), MoveReason::Gap).into(),
        moved(None, MoveReason::Owned).into(),
        ClockSet { wall: AT }.into(),
        HistoryCut {
            of: vec![CutOrders { trigger: TRIGGER, orders: offsets.clone() }],
            requested: vec![Offset(8)],
            letters: offsets,
        }
        .into(),
        HistoryTrimmed { before: Offset(9), events: 12, bytes: 3_456 }.into(),
        CutAway { kind: Kind::Received as u8 }.into(),
        bulk(BulkDeed::Rerun { original: true }).into(),
        bulk(BulkDeed::Cancel).into(),
        bulk(BulkDeed::Discard { reason: "old".into() }).into(),
        BulkEnded { id }.into(),
        LeaseReturned { run: RUN, attempt: 2 }.into(),
    ]
}

/// An event of every kind, some in more than one shape.
fn every_kind() -> Vec<EventKind> {
    [events(), later(), latest()].concat()
}

/// An archive of this kind and schema version, as an event in a block: decoded, or refused.
fn decode(kind: u8, schema: u8, archive: &[u8]) -> Result<EventKind, String> {
    let mut block = Block::new(SHARD);
    block.begin(Offset(0), AT);
    block.push(&Opened { boot: 1 }.into());
    let mut packed = block.pack().to_vec();
    packed.truncate(TABLE + ENTRY_BYTES);
    packed.extend_from_slice(archive);
    let length = (archive.len() as u32).to_le_bytes();
    packed[24..28].copy_from_slice(&length);
    packed[TABLE..][..2].copy_from_slice(&[kind, schema]);
    packed[TABLE + 4..][..4].copy_from_slice(&length);
    let parsed = PackedBlock::parse(SHARD, sealed(packed)).map_err(|damage| damage.to_string())?;
    parsed.event(Offset(0)).map(|event| event.kind).map_err(|damage| damage.to_string())
}

fn counts() -> CountsRow {
    CountsRow { runs: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], boots: 1, ..CountsRow::default() }
}

fn write(path: &Path) {
    let data = DataDir::open(path, 1).unwrap();
    let mut store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
    let mut block = Block::new(SHARD);
    for (index, kind) in events().iter().enumerate() {
        // Two blocks, so that the order of blocks is part of it.
        if index == 0 || index == 10 {
            if index > 0 {
                store.log.append(&mut block).unwrap();
            }
            block.begin(Offset(index as u64), AT);
        }
        block.push(kind);
    }
    store.log.append(&mut block).unwrap();
    store.state.put(Key::new(Tag::Counts), counts().to_value());
    store.state.commit(store.log.live().end).unwrap();
}

/// A copy of the fixture of format 1 in `home`.
fn fixture(home: &Path) -> PathBuf {
    let path = home.join("data");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1"), &path);
    // Folders that are empty in the fixture: git keeps none.
    for folder in ["0/tables", "1/tables", "1/blobs", "2/tables", "3/tables"] {
        fs::create_dir_all(path.join("shard-000/keyspaces").join(folder)).unwrap();
    }
    path
}

/// Everything that the fixture holds, or what refused it.
fn read_all(path: &Path) -> Result<(), String> {
    let data = DataDir::open(path, 1).map_err(|error| error.to_string())?;
    assert_eq!((data.manifest().format, data.manifest().shards), (1, 1));
    let store = data.open_shard(SHARD, Durability::Fsync, None).map_err(|error| error.to_string())?;
    let reader = store.log.reader();
    // Kinds that came later are not in it.
    let end = Offset(events().len() as u64);
    if store.log.live().end != end {
        return Err(format!("the log ends at {:?}", store.log.live().end));
    }
    for (offset, kind) in events().into_iter().enumerate() {
        let event = reader.event(Offset(offset as u64)).map_err(|error| error.to_string())?;
        let event = event.ok_or("an event is missing")?;
        assert_eq!((event.kind, event.at), (kind, AT), "offset {offset}");
    }
    let row = store.state.get(&Key::new(Tag::Counts)).map_err(|error| error.to_string())?;
    assert_eq!(CountsRow::from_value(&row.ok_or("the row is missing")?).unwrap(), counts());
    assert_eq!(store.state.watermark(), end);
    Ok(())
}

#[test]
fn a_data_dir_of_the_first_format_opens_with_every_event_and_row() {
    if let Some(path) = std::env::var_os("KEYWAY_WRITE_FIXTURE") {
        return write(Path::new(&path));
    }
    let home = tempfile::tempdir().unwrap();
    read_all(&fixture(home.path())).unwrap();
}

#[test]
fn an_event_of_each_kind_comes_back_from_its_line_as_it_was() {
    for (offset, kind) in every_kind().into_iter().enumerate() {
        let event = Event { place: Place { shard: SHARD, offset: Offset(offset as u64) }, at: AT, kind };
        let text = line::write(&event);
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(line::read(&text).as_ref(), Ok(&event), "{text}");
        // What reads JSON and writes it again changes nothing that counts.
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line::read(&value.to_string()), Ok(event), "{text}");
    }
}

#[test]
fn every_kind_has_the_archive_that_it_had_when_it_was_first_written() {
    let kinds = every_kind();
    let mut numbers: Vec<_> = kinds.iter().map(|kind| kind.kind() as u8).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers, Kind::ALL.iter().map(|kind| *kind as u8).collect::<Vec<_>>());
    // A kind with a new shape gets new lines with its new schema version; the old ones stay.
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = |kind: &EventKind| format!("{} 1 {}\n", kind.kind() as u8, hex(&archive_of(kind)));
    let written: String = kinds.iter().map(line).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kinds.txt");
    if std::env::var_os("KEYWAY_WRITE_KINDS").is_some() {
        fs::write(&file, &written).unwrap();
    }
    let known = fs::read_to_string(&file).unwrap();
    for ((known, written), kind) in known.lines().zip(written.lines()).zip(&kinds) {
        assert_eq!(known, written, "{kind:?}");
        let [number, schema, archive] = known.split(' ').collect::<Vec<_>>()[..] else { panic!("{known}") };
        let bytes: Vec<u8> = (0..archive.len() / 2)
            .map(|at| u8::from_str_radix(&archive[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let decoded = decode(number.parse().unwrap(), schema.parse().unwrap(), &bytes);
        assert_eq!(decoded.as_ref(), Ok(kind));
    }
    assert_eq!(known.lines().count(), kinds.len());
}

#[test]
fn an_archive_with_a_flipped_bit_is_refused_or_another_event_and_never_a_panic() {
    let (mut refused, mut taken) = (0, 0);
    for kind in every_kind() {
        let archive = archive_of(&kind);
        for at in 0..archive.len() * 8 {
            let mut flipped = archive.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            match decode(kind.kind() as u8, 1, &flipped) {
                Ok(_) => taken += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(decode(kind.kind() as u8, 1, &archive[1..]).is_err(), "{kind:?}");
        assert!(decode(kind.kind() as u8, 1, &[]).is_err(), "{kind:?}");
    }
    assert!(refused > 1_000, "{refused}");
    assert!(taken > 1_000, "{taken}");
}

#[test]
fn the_document_of_the_format_names_every_kind_and_every_tag() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(folder.join("FORMAT.md")).unwrap();
    for kind in Kind::ALL {
        let cells = format!("| {} | {} |", *kind as u8, kind.name());
        assert!(document.contains(&cells), "{cells}");
    }
    let source = fs::read_to_string(folder.join("src/key.rs")).unwrap();
    let (_, tags) = source.split_once("pub enum Tag {").unwrap();
    let (tags, _) = tags.split_once("\n}").unwrap();
    let tags: Vec<_> =
        tags.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = ")).collect();
    assert!(tags.contains(&("Watermark", "10")), "{tags:?}");
    for (name, number) in tags {
        let named = [format!("| {number} {name} |"), format!("tag {number} ({name})")];
        assert!(named.iter().any(|named| document.contains(named)), "{number} {name}");
    }
}

#[test]
fn a_flipped_bit_in_any_file_is_refused_or_changes_nothing_that_is_read() {
    let pristine = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    walk(&fixture(pristine.path()), &mut files);
    let mut refused = 0;
    for file in &files {
        let bytes = fs::read(file).unwrap();
        for at in (0..bytes.len()).step_by(STEP) {
            let home = brief();
            let path = fixture(home.path());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(path.join(file.strip_prefix(pristine.path().join("data")).unwrap()), flipped).unwrap();
            // It asserts that what is read is what was written; a panic of the store fails the test as well.
            refused += u32::from(read_all(&path).is_err());
        }
    }
    assert!(refused > 0, "damage is noticed");
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path(), files),
            false => files.push(entry.path()),
        }
    }
}
