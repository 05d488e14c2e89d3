//! The thread that asks something of each of many.
//!
//! Invariant: it may be begun anew at any place: what was asked before is passed over. It ends when each was asked, or when
//! the process does; then the next start goes on with it. It counts when shard 0 has noted it, which is the last to be told
//! of it and of its end: whatever happens in between, something is asked of all of them or of none.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::Receiver;
use keyway_engine::{
    admin::{AdminPort, AskError},
    command::{Answer, BulkWish, Command, Discard, Refusal},
    shard::ShardReader,
    view::order::work_order,
};
use keyway_storage::{
    error::ReadError,
    event::BulkDeed,
    limits::{BULK_WAIT_MS, BULK_WINDOW},
    place::{RunKey, ShardId},
};
use uuid::Uuid;

use crate::api::{
    Api,
    request::{Version, whole},
};

type Sent = Result<Receiver<Answer>, AskError>;

/// Something that is asked of many.
pub struct Job {
    /// Its UUID.
    pub id: [u8; 16],
    /// What becomes of each.
    pub deed: BulkDeed,
    queues: Vec<VecDeque<RunKey>>,
    /// The shards that have noted it, or are to.
    noted: BTreeSet<usize>,
    readers: Vec<ShardReader>,
    ports: Vec<AdminPort>,
    draining: Arc<AtomicBool>,
    _under_way: UnderWay,
}

/// Counts a bulk request as over when it is dropped.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Job {
    /// A job that was counted among those under way.
    pub fn new(api: &Api, id: [u8; 16], deed: BulkDeed) -> Self {
        Self {
            id,
            deed,
            queues: api.readers.iter().map(|_| VecDeque::new()).collect(),
            noted: BTreeSet::new(),
            readers: api.readers.clone(),
            ports: api.ports.clone(),
            draining: Arc::clone(&api.draining),
            _under_way: UnderWay(Arc::clone(&api.under_way.bulk)),
        }
    }

    /// The shards that note it, with what is asked there; shard 0 is among them, and last.
    pub fn shards(&self) -> impl Iterator<Item = (usize, &VecDeque<RunKey>)> {
        self.noted.iter().rev().map(|shard| (*shard, &self.queues[*shard]))
    }

    /// Adds what is to be asked of a shard, which notes it.
    pub fn add(&mut self, shard: ShardId, of: impl IntoIterator<Item = RunKey>) {
        let shard = usize::from(shard.0);
        self.queues[shard].extend(of);
        self.noted.insert(shard);
    }

    /// Asks nothing of anyone if nobody can have been told that it was taken in; its notes end.
    pub fn forget_unless_whole(&mut self) {
        if !self.noted.contains(&0) {
            tracing::info!(id = %Uuid::from_bytes(self.id), "a request about many was cut short and is left undone");
            self.queues.iter_mut().for_each(VecDeque::clear);
        }
    }

    /// Begins to ask.
    pub fn spawn(self) -> io::Result<()> {
        thread::Builder::new().name("bulk".to_owned()).spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        while self.queues.iter().any(|queue| !queue.is_empty()) {
            if self.draining.load(Ordering::Acquire) {
                return;
            }
            if let Err(error) = self.ask_window() {
                return tracing::error!(%error, "what was asked of many cannot be read; the next start goes on");
            }
        }
        for shard in self.noted.into_iter().rev() {
            if let Err(error) = self.ports[shard].ask(Command::Bulk(BulkWish::End(self.id))) {
                tracing::warn!(%error, "the end of a bulk request is not noted; the next start looks again");
            }
        }
    }

    /// Asks each shard for a window of its part: they share a turn and its sync.
    fn ask_window(&mut self) -> Result<(), ReadError> {
        let mut asked: Vec<(usize, RunKey, Sent)> = Vec::new();
        for shard in 0..self.queues.len() {
            let window = self.queues[shard].len().min(BULK_WINDOW);
            if window == 0 {
                continue;
            }
            let reader = self.readers[shard].settled();
            for key in self.queues[shard].drain(..window).collect::<Vec<_>>() {
                if let Some(command) = self.command(&reader, key)? {
                    asked.push((shard, key, self.ports[shard].send(command)));
                }
            }
        }
        let mut again = Vec::new();
        for (shard, key, sent) in asked {
            if is_to_ask_again(sent.and_then(|answer| AdminPort::wait(&answer))) {
                again.push((shard, key));
            }
        }
        if !again.is_empty() {
            thread::park_timeout(Duration::from_millis(BULK_WAIT_MS));
        }
        // From the last to the first, so that they stand in their order.
        for (shard, key) in again.into_iter().rev() {
            self.queues[shard].push_front(key);
        }
        Ok(())
    }

    /// What is asked of one of them; nothing if it was asked before.
    fn command(&self, reader: &ShardReader, key: RunKey) -> Result<Option<Command>, ReadError> {
        Ok(match &self.deed {
            BulkDeed::Cancel => Some(Command::Cancel(key)),
            BulkDeed::Discard { reason } => {
                Some(Command::Discard(Discard { letter: key.work_order, reason: reason.clone() }))
            }
            BulkDeed::Rerun { original } => {
                let order = work_order(reader, key.work_order)?;
                let order = order.filter(|order| order.runs.len() == usize::from(key.n));
                let version = if *original { Version::Original } else { Version::Current };
                order.map(|order| Command::Rerun(whole(&order, version)))
            }
        })
    }
}

fn is_to_ask_again(answer: Result<Answer, AskError>) -> bool {
    match answer {
        Ok(Answer::Run(_) | Answer::Done) => false,
        // Someone else asked for it in between, or it ended.
        Ok(Answer::Refused(Refusal::Open | Refusal::Ended | Refusal::NotFound)) => false,
        // It may have been done, which shows when it is looked at again.
        Ok(Answer::Refused(Refusal::Full)) | Err(_) => true,
        Ok(other) => {
            tracing::warn!(?other, "one of many requests was refused");
            false
        }
    }
}
