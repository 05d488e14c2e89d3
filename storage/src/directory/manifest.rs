//! The file `manifest`: what a data dir is, and which versions may open it.
//!
//! Invariant: the format that it names is durable before anything is on disk that older versions take for something else.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::routing;
use crate::error::OpenError;

/// The newest format that this version reads: data dirs with blocks that are packed.
pub const FORMAT: u32 = 4;
/// The format of a data dir of which history was cut.
const FORMAT_CUT: u32 = 3;
/// The format of a data dir with routes of its own.
const FORMAT_ROUTED: u32 = 2;
/// The format of a data dir that never changed its number of shards.
const FORMAT_PLAIN: u32 = 1;
const MAGIC: [u8; 4] = *b"KWM1";
const MANIFEST_BYTES: usize = 56;
const NAME: &str = "manifest";
/// Bits of byte 10: routes count; from format 4 on also that history was cut.
const ROUTED: u8 = 1;
const CUT: u8 = 2;

/// What a data dir is, fixed when it is made; shards may come to it, and history may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The format of everything in it.
    pub format: u32,
    /// How many shards have a log.
    pub shards: u16,
    /// Whether the file `routes` counts.
    pub has_routes: bool,
    /// Whether events may be gone from its logs.
    pub is_cut: bool,
    /// The key behind its ids.
    pub id_key: [u8; 16],
    /// Its own UUID.
    pub id: [u8; 16],
}

impl Manifest {
    /// What a new data dir is.
    pub fn new(shards: u16) -> Self {
        let (id_key, id) = (*Uuid::new_v4().as_bytes(), *Uuid::new_v4().as_bytes());
        Self { format: FORMAT_PLAIN, shards, has_routes: false, is_cut: false, id_key, id }
    }

    /// The bytes of the file.
    pub fn to_bytes(self) -> [u8; MANIFEST_BYTES] {
        let mut bytes = [0; MANIFEST_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.format.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.shards.to_le_bytes());
        // Formats 2 and 3 say by themselves what they are for.
        bytes[10] = match self.format {
            ..=FORMAT_ROUTED => 0,
            FORMAT_CUT => ROUTED * u8::from(self.has_routes),
            _ => (ROUTED * u8::from(self.has_routes)) | (CUT * u8::from(self.is_cut)),
        };
        bytes[16..32].copy_from_slice(&self.id_key);
        bytes[32..48].copy_from_slice(&self.id);
        let checksum = xxh3_64(&bytes[..48]);
        bytes[48..56].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the file of a data dir.
    pub fn read(data: &Path) -> Result<Self, OpenError> {
        let path = data.join(NAME);
        let damaged = |how: &str| OpenError::Damaged { path: path.clone(), how: how.to_owned() };
        let bytes = fs::read(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        if bytes.len() < 8 || bytes[0..4] != MAGIC {
            return Err(damaged("it does not begin like a manifest"));
        }
        let format = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
        // Before the checksum: a newer format may have its manifest laid out differently from here on.
        if format > FORMAT {
            return Err(OpenError::TooNew { found: format, known: FORMAT });
        }
        if bytes.len() != MANIFEST_BYTES {
            return Err(damaged("it has the wrong length"));
        }
        if bytes[48..56] != xxh3_64(&bytes[..48]).to_le_bytes() {
            return Err(damaged("its checksum does not match"));
        }
        let field = |at: usize| -> [u8; 16] { bytes[at..at + 16].try_into().expect("sixteen bytes") };
        let shards = u16::from_le_bytes(bytes[8..10].try_into().expect("two bytes"));
        let has_routes = format == FORMAT_ROUTED || bytes[10] & ROUTED != 0;
        let is_cut = format == FORMAT_CUT || bytes[10] & CUT != 0;
        Ok(Self { format, shards, has_routes, is_cut, id_key: field(16), id: field(32) })
    }
}

/// The manifest of an open data dir, for those who change what it says.
pub struct ManifestFile {
    data: PathBuf,
    current: Mutex<Manifest>,
}

impl ManifestFile {
    /// The file of this data dir, which says this now.
    pub fn new(data: &Path, current: Manifest) -> Self {
        Self { data: data.to_path_buf(), current: Mutex::new(current) }
    }

    fn lock(&self) -> MutexGuard<'_, Manifest> {
        self.current.lock().expect("no holder of this lock panics")
    }

    /// Says that routes count, and how many shards have a log by them. Durable on return.
    pub fn note_routes(&self, shards: u16) -> io::Result<Manifest> {
        self.change(|now| Manifest { format: now.format.max(FORMAT_ROUTED), shards, has_routes: true, ..now })
    }

    /// Says that events may be gone: versions that would find a hole refuse it from here on. Durable on return.
    pub fn note_cut(&self) -> io::Result<()> {
        self.change(|now| Manifest { format: now.format.max(FORMAT_CUT), is_cut: true, ..now }).map(drop)
    }

    /// Says that blocks may be packed: versions that do not know them refuse it from here on. Durable on return.
    pub fn note_packed(&self) -> io::Result<()> {
        self.change(|now| Manifest { format: FORMAT, ..now }).map(drop)
    }

    fn change(&self, change: impl FnOnce(Manifest) -> Manifest) -> io::Result<Manifest> {
        let mut current = self.lock();
        let changed = change(*current);
        if changed != *current {
            routing::replace(&self.data, NAME, &changed.to_bytes())?;
            *current = changed;
        }
        Ok(changed)
    }
}
