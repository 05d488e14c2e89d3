//! Smoothing: what the store writes to its files goes to the disk bit by bit, not in one go when a file is synced.
//!
//! A disk has 32 MiB that it is given at once in hand for a tenth of a second, and whoever syncs a journal meanwhile waits
//! for all of it. So a thread hears which files the store makes, and has the system begin to write out what has come to
//! them, as RocksDB does (`bytes_per_sync`).
//!
//! Invariant: nothing becomes durable by it. That stays with the store, and a system that takes no such advice is slower.

use std::{
    ffi::{CString, OsStr},
    fs::File,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use fjall::Keyspace;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
};

use super::ffi::begin_to_write_out;

/// Where the store keeps the files of a keyspace that are large.
const FOLDERS: [&str; 2] = ["tables", "blobs"];
/// Pause between two looks at files that are being written.
const LOOK: Duration = Duration::from_millis(5);
/// What is too little for a request to the disk of its own.
const STEP_BYTES: u64 = 256 << 10;
/// More files are not written at once; names that came too fast to be heard may leave some behind.
const FILES_MAX: usize = 64;
/// For names of files that were made or closed since the last look.
const EVENTS_BYTES: usize = 4_096;

/// The thread, until it is dropped.
pub struct Smoothing {
    end: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Smoothing {
    /// Smooths for these keyspaces from now on; not where the system gives no notice of files.
    pub fn start(keyspaces: &[Keyspace]) -> Option<Self> {
        Self::try_start(keyspaces)
            .inspect_err(|error| {
                tracing::warn!(%error, "the store's files are not watched: syncs wait while one is written");
            })
            .ok()
    }

    fn try_start(keyspaces: &[Keyspace]) -> io::Result<Self> {
        let folders =
            keyspaces.iter().flat_map(|keyspace| FOLDERS.map(|folder| keyspace.path().join(folder)));
        // A keyspace whose values are small has no blobs.
        let watch = Watch::over(folders.filter(|folder| folder.is_dir()))?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let ended = Arc::clone(&end);
        let thread = thread::Builder::new().name("smoothing".to_owned()).spawn(move || watch.run(&ended))?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Smoothing {
    fn drop(&mut self) {
        let is_told = rustix::io::write(&self.end, &1u64.to_ne_bytes()).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| is_told) {
            let _ = thread.join();
        }
    }
}

/// What is told of the folders.
struct Watch {
    notices: OwnedFd,
    folders: Vec<(i32, PathBuf)>,
}

/// A file that is being written.
struct Written {
    folder: i32,
    name: CString,
    file: File,
    /// Up to where the system was asked to write it out.
    begun: u64,
}

impl Watch {
    fn over(folders: impl Iterator<Item = PathBuf>) -> io::Result<Self> {
        let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let told = WatchFlags::CREATE | WatchFlags::CLOSE_WRITE;
        let watched = folders.map(|folder| Ok((inotify::add_watch(&notices, &folder, told)?, folder)));
        let folders = watched.collect::<io::Result<_>>()?;
        Ok(Self { notices, folders })
    }

    fn run(&self, ended: &OwnedFd) {
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut events = Reader::new(&self.notices, &mut buffer);
        let mut files: Vec<Written> = Vec::new();
        let look = Timespec::try_from(LOOK).expect("a few milliseconds");
        loop {
            let mut awaited = [PollFd::new(&self.notices, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
            let polled = poll(&mut awaited, (!files.is_empty()).then_some(&look));
            if !awaited[1].revents().is_empty() || polled.is_err_and(|error| error != rustix::io::Errno::INTR)
            {
                return;
            }
            self.look(&mut events, &mut files);
        }
    }

    fn look(&self, events: &mut Reader<'_, &OwnedFd>, files: &mut Vec<Written>) {
        while let Ok(event) = events.next() {
            self.hear(&event, files);
        }
        files.iter_mut().for_each(Written::write_out);
    }

    fn hear(&self, event: &inotify::Event<'_>, files: &mut Vec<Written>) {
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            files.clear();
        }
        let folder = self.folders.iter().find(|(folder, _)| *folder == event.wd());
        let (Some((folder, path)), Some(name)) = (folder, event.file_name()) else { return };
        files.retain(|file| file.folder != *folder || file.name.as_c_str() != name);
        if event.events().contains(ReadFlags::CREATE) && files.len() < FILES_MAX {
            // One that is gone again needs nothing.
            let file = File::open(path.join(OsStr::from_bytes(name.to_bytes())));
            files.extend(file.map(|file| Written { folder: *folder, name: name.to_owned(), file, begun: 0 }));
        }
    }
}

impl Written {
    fn write_out(&mut self) {
        let end = self.file.metadata().map_or(0, |metadata| metadata.len());
        let bytes = end.saturating_sub(self.begun);
        if bytes < STEP_BYTES {
            return;
        }
        begin_to_write_out(&self.file, self.begun, bytes);
        self.begun = end;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::{EVENTS_BYTES, File, MaybeUninit, Reader, STEP_BYTES, Watch};

    #[test]
    fn a_file_is_written_out_while_it_is_written_and_let_go_when_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let before = File::create(folder.path().join("0")).unwrap();
        let watch = Watch::over([folder.path().to_owned()].into_iter()).unwrap();
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut events = Reader::new(&watch.notices, &mut buffer);
        let mut files = Vec::new();
        let mut file = File::create(folder.path().join("1")).unwrap();
        let mut begun_after = |bytes: u64| {
            file.write_all(&vec![7; bytes as usize]).unwrap();
            watch.look(&mut events, &mut files);
            files.iter().map(|file| file.begun).collect::<Vec<_>>()
        };
        assert_eq!(begun_after(STEP_BYTES - 1), [0], "what is little waits for more");
        assert_eq!(begun_after(1), [STEP_BYTES]);
        assert_eq!(begun_after(3 * STEP_BYTES), [4 * STEP_BYTES]);
        drop((file, before));
        watch.look(&mut events, &mut files);
        assert!(files.is_empty());
    }
}
