//! The journal of a data dir whose process was killed: what a hole in it proves, and what a power cut may leave.
//!
//! Every turn is synced before the next is written. Rows and blocks that are written anew are not: a power cut may tear
//! them, and the turn that was written last.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use keyway_storage::{
    directory::{DataDir, Durability, Store},
    event::{EventKind, ReplayStarted},
    key::{Key, Tag},
    log::Log,
    place::{Offset, ShardId},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::block::block_of;
use crate::{brief::brief, folder::copy};

const SHARD: ShardId = ShardId(0);
const JOURNAL: &str = "shard-000/0.jnl";
/// Every so many bytes one bit is flipped: a prime, so that all bits of a byte and all fields come up.
const STEP: usize = 7;
/// Bodies of blocks that the journal has as they are, and that it has packed.
const BODIES: [usize; 2] = [60, 9_000];

/// Bodies of a turn of nearly a page, which the journal has as they are.
const PAGE_BODY_BYTES: usize = 1_800;
const SECTOR_BYTES: usize = 512;

/// What was written to the journal, in its order.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Part {
    Turn,
    Rows,
    Anew,
}

/// A data dir as a kill leaves it, and where the parts of its journal are.
struct Killed {
    home: tempfile::TempDir,
    parts: Vec<(Part, Range<usize>)>,
    journal: Vec<u8>,
}

impl Killed {
    /// Writes these parts: turns of two events with so large a body each.
    fn after(parts: &[Part], body_bytes: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("open");
        let data = DataDir::open(&path, 1).unwrap();
        let mut store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
        let mut killed = Self { home, parts: Vec::new(), journal: Vec::new() };
        let mut anew = 0;
        for part in parts {
            let begin = used(&path);
            write(&mut store, *part, &mut anew, body_bytes);
            killed.parts.push((*part, begin..used(&path)));
        }
        copy(&path, &killed.path());
        // It is made with millions of zeros, of which nobody needs so many.
        let journal = killed.path().join(JOURNAL);
        fs::File::options().write(true).open(&journal).unwrap().set_len(used(&path) as u64 + 99).unwrap();
        killed.journal = fs::read(journal).unwrap();
        killed
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("killed")
    }

    /// The same with another journal: whether a look finds damage, and where the log ends after a start that goes on.
    fn with(&self, journal: &[u8]) -> (bool, Result<u64, String>) {
        let home = brief();
        let path = home.path().join("data");
        copy(&self.path(), &path);
        fs::write(path.join(JOURNAL), journal).unwrap();
        let found = !DataDir::open_existing(&path).unwrap().inspect(SHARD).unwrap().is_empty();
        (found, end_of(&path))
    }

    /// The journal with a hole of zeros where this part begins.
    fn with_hole_in(&self, part: usize) -> (bool, Result<u64, String>) {
        let mut journal = self.journal.clone();
        let begin = self.parts[part].1.start;
        journal[begin..begin + 40].fill(0);
        self.with(&journal)
    }
}

/// Bytes of the journal up to the last that is no zero.
fn used(path: &Path) -> usize {
    let bytes = fs::read(path.join(JOURNAL)).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Its first bytes do not pack.
fn event(offset: u64, body_bytes: usize) -> EventKind {
    let noise =
        |at: usize| char::from(b'0' + (xxh3_64(&[at as u8, (at >> 8) as u8, offset as u8]) % 64) as u8);
    let filling = (0..body_bytes).map(|at| if at < PAGE_BODY_BYTES { noise(at) } else { 'x' });
    let filter = format!("{offset} {}", filling.collect::<String>()).into_bytes();
    ReplayStarted { id: [1; 16], filter: filter.into() }.into()
}

fn write(store: &mut Store, part: Part, anew: &mut u64, body_bytes: usize) {
    let end = store.log.live().end;
    let block = |first: u64| block_of(first, &[event(first, body_bytes), event(first + 1, body_bytes)]);
    match part {
        Part::Turn => drop(store.log.append(&mut block(end.0)).unwrap()),
        Part::Rows => {
            store.state.put(Key::new(Tag::Gone).u64(end.0), Bytes::from_static(b"row"));
            store.state.commit(end).unwrap();
        }
        Part::Anew => {
            store.log.rewrite(&mut block(*anew)).unwrap();
            *anew += 2;
        }
    }
}

/// Where the log ends, all of which is what was written; or what refused it.
fn end_of(path: &Path) -> Result<u64, String> {
    let data = DataDir::open_existing(path).map_err(|error| error.to_string())?;
    let store = data.open_shard(SHARD, Durability::Fsync, None).map_err(|error| error.to_string())?;
    let mut end = 0;
    for block in store.log.reader().blocks(Offset(0)) {
        for read in block.unwrap().events(Offset(0)) {
            let EventKind::ReplayStarted(read) = read.unwrap().kind else { panic!("it was no such event") };
            let text = String::from_utf8(read.filter.to_vec()).unwrap();
            assert_eq!(text.split(' ').next().unwrap(), end.to_string(), "what was never written");
            end += 1;
        }
    }
    assert_eq!(store.log.live().end, Offset(end));
    assert!(store.state.watermark().0 <= end, "rows of events that are not there");
    Ok(end)
}

#[test]
fn a_flipped_bit_in_a_journal_that_was_never_closed_is_named_or_takes_the_very_last_turn() {
    const TURNS: usize = 6;
    for body_bytes in BODIES {
        let killed = Killed::after(&[Part::Turn, Part::Rows].repeat(TURNS), body_bytes);
        let last_turn = killed.parts[2 * TURNS - 2].1.clone();
        let before_last = killed.parts[2 * TURNS - 3].1.clone();
        let all = 2 * TURNS as u64;
        // Large bodies are all alike in the middle.
        let step = STEP * (killed.journal.len() / 4_000).max(1);
        let mut named = 0;
        for at in (0..last_turn.end).step_by(step) {
            let mut journal = killed.journal.clone();
            journal[at] ^= 1 << (at % 8);
            let (found, end) = killed.with(&journal);
            named += usize::from(found);
            match end {
                Err(how) => assert!(how.contains("is damaged: "), "{at}: {how}"),
                Ok(end) if end == all => {}
                Ok(end) => {
                    assert_eq!(end, all - 2, "{at} of {}: more than the last turn is gone", last_turn.end);
                    // Rows before it go with it: a power cut may tear both.
                    assert!(at >= before_last.start, "{at}: not in {last_turn:?}");
                }
            }
            assert!(found || at >= last_turn.start, "{at}: nobody names it");
        }
        assert!(named > 100, "{named}");
    }
}

#[test]
fn a_turn_behind_one_that_is_damaged_proves_that_the_damage_is_no_power_cut() {
    for body_bytes in BODIES {
        let killed = Killed::after(&[Part::Turn, Part::Rows].repeat(4), body_bytes);
        // The last turn: whether it was ever acknowledged nobody knows.
        assert_eq!(killed.with_hole_in(6), (true, Ok(6)));
        for (turn, behind) in [(4, 1), (2, 2), (0, 3)] {
            let (found, end) = killed.with_hole_in(turn);
            assert!(found, "{behind} behind");
            assert!(end.unwrap_err().contains("later turns follow them"), "{behind} behind");
        }
    }
}

#[test]
fn two_turns_behind_rows_that_are_damaged_prove_it_and_one_does_not() {
    for body_bytes in BODIES {
        let killed = Killed::after(&[Part::Turn, Part::Rows].repeat(4), body_bytes);
        // Rows are derived anew.
        assert_eq!(killed.with_hole_in(7), (true, Ok(8)));
        // A power cut in the middle of the last turn: it was not acknowledged, and what was before it is whole.
        assert_eq!(killed.with_hole_in(5), (true, Ok(6)));
        let (found, end) = killed.with_hole_in(3);
        assert!(found);
        assert!(end.unwrap_err().contains("later turns follow them"));
    }
}

#[test]
fn blocks_that_are_written_anew_prove_nothing() {
    use Part::{Anew, Turn};
    for body_bytes in BODIES {
        let killed = Killed::after(&[Turn, Turn, Turn, Turn, Anew, Anew, Anew, Turn], body_bytes);
        // A power cut before the last turn was synced may leave it, and lose the first of those.
        assert_eq!(killed.with_hole_in(4), (true, Ok(8)));
        assert!(killed.with_hole_in(3).1.is_err());
    }
}

#[test]
fn a_turn_that_lacks_sectors_after_a_power_cut_is_cut_off_and_one_that_lost_a_bit_is_refused() {
    let killed = Killed::after(&[Part::Turn; 4], PAGE_BODY_BYTES);
    let sector_of = |part: usize| (killed.parts[part].1.start / SECTOR_BYTES + 2) * SECTOR_BYTES;
    let without = |part: usize, sectors: usize| {
        let (mut journal, at) = (killed.journal.clone(), sector_of(part));
        journal[at..at + sectors * SECTOR_BYTES].fill(0);
        killed.with(&journal)
    };
    for sectors in [1, 3] {
        assert_eq!(without(3, sectors), (true, Ok(6)));
        // That one was synced before the next was written.
        assert!(without(2, sectors).1.is_err());
    }
    let mut journal = killed.journal.clone();
    journal[sector_of(3)] ^= 1;
    let (is_found, end) = killed.with(&journal);
    assert!(is_found);
    assert!(end.is_err());
}

#[test]
fn a_hole_is_known_from_a_journal_before_it() {
    let killed = Killed::after(&[Part::Turn; 4], 60);
    let (begin, end) = (killed.parts[2].1.start, killed.parts[3].1.end);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    for (torn, is_well) in [(0, true), (2, false), (3, true)] {
        let _ = fs::remove_dir_all(&path);
        copy(&killed.path(), &path);
        fs::write(path.join(JOURNAL), &killed.journal[..begin]).unwrap();
        let mut next = killed.journal[begin..end].to_vec();
        if torn > 0 {
            let at = killed.parts[torn].1.start - begin;
            next[at..at + 40].fill(0);
        }
        fs::write(path.join("shard-000/1.jnl"), next).unwrap();
        assert_eq!(end_of(&path).is_ok(), is_well, "{torn}");
    }
}
