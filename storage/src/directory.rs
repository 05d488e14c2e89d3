//! The data dir: its lock, its manifest, and one database per shard.
//!
//! Invariant: a data dir is there whole or not at all. It is made beside its place and renamed into it; a crash in
//! between leaves a `.new` that the next start throws away.

mod journal;
mod manifest;
mod routing;
mod tails;
mod tree;

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use fjall::{CompressionType, Database, Keyspace, KvSeparationOptions, PersistMode};

use crate::{
    disk,
    error::OpenError,
    id::Ids,
    key::Tag,
    limits::{CACHE_BYTES, JOURNALS_BYTES_MAX, KV_SEPARATION_BYTES_MIN, LOG_MEMTABLE_BYTES, SHARDS_MAX},
    log::{EmbeddedLog, Log, SyncProbe},
    place::{Offset, ShardId},
    routes::Routes,
    rows::{Rows, rows_options},
};

use journal::Strictness;
pub use manifest::{FORMAT, Manifest, ManifestFile};

/// How far an append goes before it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// To the disk: it survives a power cut.
    #[default]
    Fsync,
    /// To the operating system: it survives a crash of the process, not of the machine.
    Os,
}

/// A file that is not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// How it shows.
    pub how: String,
}

/// An open data dir. Holds the lock.
pub struct DataDir {
    path: PathBuf,
    manifest: Manifest,
    manifest_file: Arc<ManifestFile>,
    routes: Routes,
    /// Where each log ended when the data dir was closed; empty when it never was.
    tails: Vec<Offset>,
    _lock: File,
}

/// One shard's part of the disk.
pub struct Store {
    /// Its log.
    pub log: EmbeddedLog,
    /// What deciding reads.
    pub state: Rows,
    /// What people read.
    pub views: Rows,
}

impl DataDir {
    /// Opens a data dir, and makes it with so many shards when there is none.
    pub fn open(path: &Path, shards: u16) -> Result<Self, OpenError> {
        assert!(shards >= 1);
        assert!(shards <= SHARDS_MAX);
        if !path.join("manifest").exists() {
            create(path, &Manifest::new(shards))?;
        }
        Self::open_existing(path)
    }

    /// Opens a data dir that is there.
    pub fn open_existing(path: &Path) -> Result<Self, OpenError> {
        if !path.join("manifest").exists() {
            return Err(OpenError::Missing { path: path.to_path_buf() });
        }
        let lock = lock(path)?;
        let mut manifest = Manifest::read(path)?;
        let routes = match manifest.has_routes {
            false => Routes::plain(manifest.shards),
            true => routing::read(path)?,
        };
        manifest.shards = routes.logs();
        let (tails, path) = (tails::read(path)?, path.to_path_buf());
        let manifest_file = Arc::new(ManifestFile::new(&path, manifest));
        Ok(Self { path, manifest, manifest_file, routes, tails, _lock: lock })
    }

    /// Makes a data dir that will hold what this manifest says.
    pub fn create(path: &Path, manifest: &Manifest) -> Result<Self, OpenError> {
        create(path, manifest)?;
        Self::open_existing(path)
    }

    /// Who owns what in it.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Lets others own what they own from now on. Whatever they need was made durable before.
    pub fn set_routes(&mut self, routes: &Routes) -> io::Result<()> {
        assert!(routes.logs() >= self.manifest.shards);
        routing::write(&self.path, routes)?;
        // From here on the routes count, and a version that does not know them refuses the data dir.
        self.manifest = self.manifest_file.note_routes(routes.logs())?;
        self.routes = routes.clone();
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes where each log ends, when nothing will be appended any more.
    pub fn note_tails(&self, tails: &[Offset]) -> io::Result<()> {
        assert_eq!(tails.len(), usize::from(self.manifest.shards));
        tails::write(&self.path, tails)
    }

    /// What is wrong with the files of a shard that is not open. Reads all of them, changes none.
    pub fn inspect(&self, shard: ShardId) -> Result<Vec<Fault>, OpenError> {
        let path = self.shard_path(shard);
        let mut faults = journal::check(&path, Strictness::Verify)?.faults;
        faults.extend(tree::check_files(&path)?);
        Ok(faults)
    }

    /// Rows for a while: beside the shards, and gone when they are dropped.
    pub fn scratch(&self) -> Result<(Rows, Rows), OpenError> {
        let path = self.path.join("scratch");
        let failed = |error: fjall::Error| open_error(&path, error);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        }
        let builder = Database::builder(&path).cache_size(CACHE_BYTES).temporary(true);
        let database = builder.manual_journal_persist(true).worker_threads(1).open().map_err(failed)?;
        let open = |name, tag| {
            let keyspace = database.keyspace(name, rows_options).map_err(failed)?;
            Rows::open(&database, &keyspace, tag).map_err(|error| damaged(&path, &error))
        };
        Ok((open("state", Tag::Watermark)?, open("views", Tag::ViewsWatermark)?))
    }

    fn shard_path(&self, shard: ShardId) -> PathBuf {
        self.path.join(format!("shard-{:03}", shard.0))
    }

    /// What the data dir is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Makes and reads its ids.
    pub fn ids(&self) -> Ids {
        Ids::new(self.manifest.id_key)
    }

    /// All its shards.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.manifest.shards).map(|shard| ShardId(shard as u8))
    }

    /// Opens one shard's log and rows.
    pub fn open_shard(
        &self,
        shard: ShardId,
        durability: Durability,
        probe: Option<Arc<dyn SyncProbe>>,
    ) -> Result<Store, OpenError> {
        let path = self.shard_path(shard);
        tree::discard_unmade(&path)?;
        if !path.exists() {
            make_shard(&path)?;
        }
        check_files(&path, durability)?;
        let (database, keyspaces) = open_database(&path).map_err(|error| open_error(&path, error))?;
        let mode = match durability {
            Durability::Fsync => PersistMode::SyncData,
            Durability::Os => PersistMode::Buffer,
        };
        let manifest_file = Arc::clone(&self.manifest_file);
        let log = EmbeddedLog::open(shard, &database, &keyspaces, path.clone(), mode, probe, manifest_file)?;
        self.check_tail(shard, log.live().end)?;
        let rows =
            |keyspace, tag| Rows::open(&database, keyspace, tag).map_err(|error| damaged(&path, &error));
        let [_, state, views] = keyspaces;
        Ok(Store { log, state: rows(&state, Tag::Watermark)?, views: rows(&views, Tag::ViewsWatermark)? })
    }

    fn check_tail(&self, shard: ShardId, end: Offset) -> Result<(), OpenError> {
        let noted = self.tails.get(usize::from(shard.0)).copied().unwrap_or_default();
        if end >= noted {
            return Ok(());
        }
        let how = format!("its log ends at offset {}, but was closed at offset {}", end.0, noted.0);
        Err(OpenError::Damaged { path: self.shard_path(shard), how })
    }
}

fn open_database(path: &Path) -> Result<(Database, [Keyspace; 3]), fjall::Error> {
    let database = Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNALS_BYTES_MAX)
        .manual_journal_persist(true)
        // Blocks come packed; see `block::packer`.
        .journal_compression(CompressionType::None)
        .worker_threads(1)
        .open()?;
    // A file with anything in it that nobody needs is written anew without it when the log is shrunk.
    let separation = KvSeparationOptions::default()
        .separation_threshold(KV_SEPARATION_BYTES_MIN)
        .compression(CompressionType::None)
        .staleness_threshold(0.0)
        .age_cutoff(1.0);
    let log_options =
        || rows_options().max_memtable_size(LOG_MEMTABLE_BYTES).with_kv_separation(Some(separation.clone()));
    let blocks = database.keyspace("log", log_options)?;
    let state = database.keyspace("state", rows_options)?;
    let views = database.keyspace("views", rows_options)?;
    Ok((database, [blocks, state, views]))
}

/// Makes a shard's database beside its place and renames it into it: the store does not make one whole or not at all.
fn make_shard(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_path_buf(), source };
    let new = path.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io)?;
    }
    let (database, _) = open_database(&new).map_err(|error| open_error(&new, error))?;
    database.persist(PersistMode::SyncAll).map_err(|error| open_error(&new, error))?;
    drop(database);
    fs::rename(&new, path).map_err(io)?;
    disk::sync_directory(path.parent().expect("a shard is in a data dir")).map_err(io)
}

fn damaged(path: &Path, error: &crate::error::ReadError) -> OpenError {
    OpenError::Damaged { path: path.to_path_buf(), how: error.to_string() }
}

/// Refuses what the store would cut off or trip over, and cuts off what a power cut tore.
fn check_files(database: &Path, durability: Durability) -> Result<(), OpenError> {
    let mut faults = tree::check(database)?;
    let mut torn = None;
    // Without syncs a power cut may leave any hole.
    if durability == Durability::Fsync {
        let found = journal::check(database, Strictness::Start)?;
        faults.extend(found.faults);
        torn = found.torn;
    }
    if let Some(Fault { path, how }) = faults.into_iter().next() {
        return Err(OpenError::Damaged { path, how });
    }
    let Some((path, at)) = torn else { return Ok(()) };
    tracing::warn!(journal = %path.display(), at, "a power cut tore the last turn, of which nobody was told: it is cut off");
    journal::cut(&path, at).map_err(|source| OpenError::Io { path, source })
}

/// Makes a data dir beside its place, whole and synced, and renames it into its place.
fn create(path: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_path_buf(), source };
    if path.exists() && fs::read_dir(path).map_err(io)?.next().is_some() {
        let how = "it is not empty, but has no manifest; name an empty or new directory".to_owned();
        return Err(OpenError::Damaged { path: path.to_path_buf(), how });
    }
    let name = path.file_name().ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(io)?;
    let new = parent.join(format!("{}.new", name.to_string_lossy()));
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io)?;
    }
    fs::create_dir(&new).map_err(io)?;
    let mut file = File::create(new.join("manifest")).map_err(io)?;
    file.write_all(&manifest.to_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    disk::sync_directory(&new).map_err(io)?;
    if path.exists() {
        fs::remove_dir(path).map_err(io)?;
    }
    fs::rename(&new, path).map_err(io)?;
    disk::sync_directory(&parent).map_err(io)
}

/// Takes the lock. The kernel gives it back when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, OpenError> {
    let file_path = path.join("lock");
    let io = |source| OpenError::Io { path: file_path.clone(), source };
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&file_path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let holder = file.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok());
            return Err(OpenError::InUse { path: path.to_path_buf(), holder });
        }
        Err(fs::TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}

fn open_error(path: &Path, error: fjall::Error) -> OpenError {
    let path = path.to_path_buf();
    match error {
        fjall::Error::Io(source) => OpenError::Io { path, source },
        // No damage: with room it opens.
        fjall::Error::Storage(fjall::LsmError::Io(source)) if source.kind() == io::ErrorKind::StorageFull => {
            OpenError::Io { path, source }
        }
        fjall::Error::Locked => OpenError::InUse { path, holder: None },
        other => OpenError::Damaged { path, how: other.to_string() },
    }
}
