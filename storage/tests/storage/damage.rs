//! Damage: one flipped bit, one lost byte, anywhere in a data dir, and what is said about it before the store opens it.
//!
//! The store by itself cuts a journal off at the first byte that it cannot read, without a word: acknowledged turns
//! would be gone. What `inspect` finds, and what an open refuses, is the only thing that stands between.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use keyway_storage::{
    block::Block,
    directory::{DataDir, Durability, Fault, Store},
    event::{Event, ReplayStarted},
    key::{Key, Tag},
    log::Log,
    place::{Offset, ShardId, Span, Timestamp},
    rows::Rows,
};

use crate::{brief::brief, folder::copy};

const SHARD: ShardId = ShardId(0);
/// Flips per file: more in a small one than it has bytes makes no sense, so every byte of those.
const FLIPS_PER_FILE: usize = 200;
const LARGE_BYTES: usize = 3 << 20;

/// Bytes that do not compress to nothing.
fn noise(bytes: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect::<Vec<_>>().into()
}

/// A data dir of so many turns of one event with so large a body each, closed in order.
fn write(path: &Path, turns: u64, bytes: usize) {
    let data = DataDir::open(path, 1).unwrap();
    let mut store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
    let mut block = Block::new(SHARD);
    (0..turns).for_each(|turn| write_turn(&mut store, &mut block, turn, bytes));
    let end = store.log.live().end;
    drop(store);
    data.note_tails(&[end]).unwrap();
}

fn write_turn(store: &mut Store, block: &mut Block, turn: u64, bytes: usize) {
    block.begin(Offset(turn), Timestamp(1_000 * turn));
    block.push(&ReplayStarted { id: [1; 16], filter: noise(bytes, turn) }.into());
    store.log.append(block).unwrap();
    store.state.put(Key::new(Tag::Gone).u64(turn), noise(bytes / 8, turn + 7_000));
    store.state.commit(Offset(turn + 1)).unwrap();
}

/// The same where history was cut: rows that stand for it beside the others, and a log that begins behind it.
fn write_cut(path: &Path) {
    write(path, 40, 300);
    let data = DataDir::open_existing(path).unwrap();
    let mut store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
    for rows in [&store.state, &store.views] {
        let mut base = rows.make_base().unwrap();
        (0..20).for_each(|n| base.put(Key::new(Tag::Gone).u64(n), noise(300, n + 9_000)));
        base.commit(Offset(20)).unwrap();
    }
    store.log.sync().unwrap();
    store.log.retire(Offset(20), &(0..10).map(Offset).collect::<Vec<_>>()).unwrap();
    write_turn(&mut store, &mut Block::new(SHARD), 40, 300);
    let end = store.log.live().end;
    drop(store);
    data.note_tails(&[end]).unwrap();
}

/// Rows with their watermark.
type Marked = (u64, Vec<(Key, Bytes)>);

/// What can be read of a data dir.
#[derive(PartialEq, Debug)]
struct Content {
    live: Span,
    events: Vec<Event>,
    /// Rows with their watermark, and those of each base.
    rows: Vec<Marked>,
}

impl Content {
    /// Whether a start makes the other of this: the log is whole, and rows are what they were at their watermark, from
    /// where a start goes on with them.
    fn leads_to(&self, other: &Self) -> bool {
        let is_right = |(own, other): (&Marked, &Marked)| {
            own.0 <= other.0 && other.1.get(..own.0 as usize) == Some(&own.1)
        };
        let is_whole = self.live == other.live && self.events == other.events;
        is_whole && self.rows.iter().zip(&other.rows).all(is_right)
    }
}

/// Everything that can be read of it; or what refused it.
fn read_all(path: &Path) -> Result<Content, String> {
    let data = DataDir::open_existing(path).map_err(|error| error.to_string())?;
    let store = data.open_shard(SHARD, Durability::Fsync, None).map_err(|error| error.to_string())?;
    let mut content = Content { live: store.log.live(), events: Vec::new(), rows: Vec::new() };
    for block in store.log.reader().blocks(Offset(0)) {
        for event in block.map_err(|error| error.to_string())?.events(Offset(0)) {
            content.events.push(event.map_err(|damage| damage.to_string())?);
        }
    }
    let bases = [&store.state, &store.views].map(|rows| rows.base().map_err(|error| error.to_string()));
    let mut all = vec![(store.state.watermark(), store.state.reader())];
    for base in bases {
        // One that is not there is like one that is empty: verify names it.
        all.extend(base?.map(|base| (base.watermark(), base.reader())));
    }
    for (watermark, rows) in all {
        let mut all = Vec::new();
        // One for each offset before the watermark.
        for row in rows.scan(Key::new(Tag::Gone), Key::new(Tag::Gone).prefix_end()) {
            all.push(row.map_err(|error| error.to_string())?);
        }
        content.rows.push((watermark.0, all));
    }
    Ok(content)
}

/// What a look without opening finds.
fn inspect(path: &Path) -> Result<Vec<Fault>, String> {
    let data = DataDir::open_existing(path).map_err(|error| error.to_string())?;
    data.inspect(SHARD).map_err(|error| error.to_string())
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), found),
            false => found.push(entry.path()),
        }
    }
}

/// Flips bits of a byte of a file; once more flips them back.
fn flip(file: &Path, at: usize, bits: u8) {
    let file = File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ bits], at as u64).unwrap();
}

/// Flips bits all over a data dir; returns how many were found by looking.
fn flip_everywhere(path: &Path) -> usize {
    let whole = Ok(read_all(path).unwrap());
    // What is written by that open belongs to the data dir that is damaged.
    assert_eq!(inspect(path).unwrap(), []);
    let (mut all, mut found) = (Vec::new(), 0);
    files(path, &mut all);
    for file in all {
        let length = fs::metadata(&file).unwrap().len() as usize;
        for at in (0..length).step_by((length / FLIPS_PER_FILE).max(1)) {
            flip(&file, at, 1 << (at % 8));
            match inspect(path) {
                Ok(faults) if faults.is_empty() => {
                    let home = brief();
                    copy(path, home.path());
                    let read = read_all(home.path());
                    assert!(read.is_err() || read == whole, "{} at {at}", file.display());
                }
                _ => found += 1,
            }
            flip(&file, at, 1 << (at % 8));
        }
    }
    found
}

#[test]
fn a_flipped_bit_in_any_file_is_found_or_changes_nothing_that_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    write(&path, 40, 300);
    assert!(flip_everywhere(&path) > 200);
}

#[test]
fn a_flipped_bit_where_history_was_cut_is_found_or_changes_nothing_that_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    write_cut(&path);
    assert!(flip_everywhere(&path) > 200);
}

/// Gives a file its bytes again; the zeros that a journal ends with take no room.
fn restore(file: &Path, bytes: &[u8]) {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    fs::write(file, &bytes[..used]).unwrap();
    File::options().write(true).open(file).unwrap().set_len(bytes.len() as u64).unwrap();
}

/// Cuts each file of a data dir short, and takes it away; returns of how many files that was noticed.
fn shorten_everywhere(path: &Path) -> usize {
    let whole = read_all(path).unwrap();
    assert_eq!(inspect(path).unwrap(), []);
    let (mut all, mut found) = (Vec::new(), 0);
    files(path, &mut all);
    for file in all {
        let bytes = fs::read(&file).unwrap();
        let length = bytes.len();
        let lengths = [None, Some(0), Some(length / 2), Some(length.saturating_sub(1))];
        let mut is_noticed = false;
        for left in lengths {
            match left {
                None => fs::remove_file(&file).unwrap(),
                Some(left) => File::options().write(true).open(&file).unwrap().set_len(left as u64).unwrap(),
            }
            let is_seen = inspect(path) != Ok(Vec::new());
            let home = brief();
            copy(path, home.path());
            restore(&file, &bytes);
            if is_seen {
                is_noticed = true;
                continue;
            }
            let read = read_all(home.path());
            let shown = file.strip_prefix(path).unwrap().display();
            let is_right = read.as_ref().is_ok_and(|read| read.leads_to(&whole));
            assert!(read.is_err() || is_right, "{shown}, {left:?} of {length} bytes left");
            is_noticed |= read.is_err();
        }
        found += usize::from(is_noticed);
    }
    found
}

#[test]
fn a_file_that_is_cut_short_or_gone_is_noticed_or_changes_nothing_that_is_read() {
    let home = tempfile::tempdir().unwrap();
    let (small, cut, large) = (home.path().join("small"), home.path().join("cut"), home.path().join("large"));
    write(&small, 40, 300);
    write_cut(&cut);
    write(&large, 50, LARGE_BYTES / 4);
    for path in [small, cut, large] {
        assert!(shorten_everywhere(&path) > 5, "{}", path.display());
    }
}

#[test]
fn a_flipped_bit_in_tables_and_blobs_is_found_without_opening_them() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    write(&path, 50, LARGE_BYTES);
    let mut all = Vec::new();
    files(&path, &mut all);
    let is_in = |file: &PathBuf, folder: &str| file.parent().is_some_and(|it| it.ends_with(folder));
    all.retain(|file| !file.starts_with(path.join("shard-000/keyspaces/0")));
    let tables: Vec<_> = all.iter().filter(|file| is_in(file, "tables") || is_in(file, "blobs")).collect();
    assert!(tables.iter().any(|file| is_in(file, "blobs")), "blocks were written out");
    for file in tables {
        let length = fs::metadata(file).unwrap().len() as usize;
        for at in [0, length / 3, length / 2, length - 1] {
            flip(file, at, 1);
            let faults = inspect(&path).unwrap();
            assert_eq!(faults.iter().map(|fault| &fault.path).collect::<Vec<_>>(), [file]);
            flip(file, at, 1);
        }
    }
    assert_eq!(inspect(&path).unwrap(), []);
}

#[test]
fn a_journal_with_a_hole_before_whole_turns_is_refused_at_a_start() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    write(&path, 10, 300);
    fs::remove_file(path.join("tails")).unwrap();
    let journal = path.join("shard-000/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    // The tag of the first batch: the store would take this for the end of the journal.
    bytes[0] ^= 0x40;
    fs::write(&journal, &bytes).unwrap();
    let error = read_all(&path).unwrap_err();
    assert!(error.contains("later turns follow"), "{error}");
    assert_eq!(fs::read(&journal).unwrap(), bytes, "nothing was cut off");
}

#[test]
fn a_torn_end_of_a_journal_is_what_a_crash_leaves_and_no_damage() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    write(&path, 10, 300);
    fs::remove_file(path.join("tails")).unwrap();
    let journal = path.join("shard-000/0.jnl");
    let bytes = fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for cut in [1, 5, 40, 200, 500] {
        let mut torn = bytes.clone();
        torn[used - cut..].fill(0);
        fs::write(&journal, torn).unwrap();
        assert_eq!(inspect(&path).unwrap(), [], "{cut}");
    }
    assert_eq!(read_all(&path).unwrap().live.first, Offset(0));
}

#[test]
fn a_log_that_ends_before_where_it_was_closed_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    write(&path, 10, 300);
    let journal = path.join("shard-000/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used - 1_000..].fill(0);
    fs::write(&journal, bytes).unwrap();
    let error = read_all(&path).unwrap_err();
    assert!(error.contains("but was closed at offset 10"), "{error}");
}

#[test]
fn rows_of_a_rebuild_that_was_cut_short_are_not_taken_for_the_fold() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    write(&path, 3, 100);
    // As a crash leaves it: the watermark is back at zero, and not all rows are gone.
    let database = Database::builder(path.join("shard-000")).open().unwrap();
    let state = database.keyspace("state", KeyspaceCreateOptions::default).unwrap();
    let mut sealed = vec![1, 0, 0, 0, 0, 0, 0, 0, 0];
    sealed.extend_from_slice(&(xxhash_rust::xxh3::xxh3_64(&sealed) as u32).to_le_bytes());
    state.insert([Tag::Watermark as u8], sealed).unwrap();
    database.persist(PersistMode::SyncAll).unwrap();
    drop((state, database));
    let store = DataDir::open_existing(&path).unwrap().open_shard(SHARD, Durability::Fsync, None).unwrap();
    assert_eq!(store.state.watermark(), Offset(0));
    assert_eq!(store.state.get(&Key::new(Tag::Gone).u64(1)).unwrap(), None);
}

#[test]
fn cleared_rows_stay_cleared_over_a_reopen() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    write(&path, 50, LARGE_BYTES / 4);
    let clear = |mut rows: Rows| {
        rows.clear().unwrap();
        rows.put(Key::new(Tag::Gone).u64(9), Bytes::from_static(b"new"));
        rows.commit(Offset(1)).unwrap();
    };
    let data = DataDir::open_existing(&path).unwrap();
    clear(data.open_shard(SHARD, Durability::Fsync, None).unwrap().state);
    drop(data);
    let store = DataDir::open_existing(&path).unwrap().open_shard(SHARD, Durability::Fsync, None).unwrap();
    assert_eq!(store.state.watermark(), Offset(1));
    assert_eq!(store.state.get(&Key::new(Tag::Gone).u64(9)).unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(store.state.get(&Key::new(Tag::Gone).u64(8)).unwrap(), None);
    assert_eq!(store.log.live().end, Offset(50));
}

/// The store gives the numbers of cleared rows a second time, which is no sign of damage.
#[test]
fn a_kill_right_after_rows_were_cleared_is_no_damage() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    write(&path, 3, 100);
    let open = || DataDir::open_existing(&path).unwrap().open_shard(SHARD, Durability::Fsync, None).unwrap();
    let mut store = open();
    store.state.clear().unwrap();
    store.views.clear().unwrap();
    drop(store);
    let mut store = open();
    for offset in 3..6 {
        let mut block = Block::new(SHARD);
        block.begin(Offset(offset), Timestamp(1_000 * offset));
        block.push(&ReplayStarted { id: [1; 16], filter: noise(9, offset) }.into());
        store.log.append(&mut block).unwrap();
    }
    drop(store);
    assert_eq!(inspect(&path), Ok(Vec::new()));
    assert_eq!(open().log.live().end, Offset(6));
}

#[test]
fn a_data_dir_that_is_not_there_is_not_made_by_looking_at_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let error = DataDir::open_existing(&path).err().unwrap().to_string();
    assert!(error.starts_with("there is no data dir at"), "{error}");
    assert!(!path.exists());
}
