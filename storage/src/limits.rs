//! Every bound, with its unit in the name and its reason beside it.

mod retention;

pub use retention::{
    CUT_ENDS_PER_TURN_MAX, CUT_EVENTS_PER_TURN_MAX, CUT_INTERVAL_MS, EXPORT_HOLD_MS, EXPORT_HOLDS_MS_MAX,
    RESTORE_ROWS_MAX, RETENTION_BYTES_MIN, RETENTION_DAYS_MAX, SHRINK_ROOM_BYTES_MIN, TALLY_CHUNKS_MAX,
    WIPE_ENDS_PER_TURN_MAX, WIPE_GRACE_MS, WIPE_INTERVAL_MS, WIPE_LOOKS_PER_OTHER_END,
    WIPE_LOOKS_PER_TURN_MAX, WIPE_NOTE_OFFSETS, WIPE_SHRINK_BYTES, WIPE_SHRINK_MS, WIPE_SOON_MS,
};

/// Most commands one turn may decide. Bounds the time a caller waits behind others: one sync.
pub const BATCH_COMMANDS_MAX: usize = 4_096;
/// Most bytes of inputs one turn may take in. Bounds a block, and with it the memory of a turn.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Events in a batch from which on nothing more is taken in. The last report may go over it by its own events.
pub const BATCH_EVENTS_MAX: usize = 32_768;
/// Most events one block may hold: the commands of a turn, and what their reports and holds add.
pub const BLOCK_EVENTS_MAX: usize = 65_536;
/// Most bytes of a block's events. A full batch always fits, with a project file and room for what deciding adds.
pub const BLOCK_BYTES_MAX: usize = 256 << 20;
/// Memory that a shard keeps for packing its next block; what a larger one took is given back.
pub const BLOCK_KEPT_BYTES_MAX: usize = 64 << 20;
/// Largest request body that may be configured. A body becomes one event, so this bounds an event too.
pub const PAYLOAD_BYTES_MAX: usize = 10_000_000;
/// Most runs of one work order: the number of a run is part of its id.
pub const RUNS_PER_WORK_ORDER_MAX: u8 = 200;
/// Most shards of a data dir: the number of a shard is one byte of an id.
pub const SHARDS_MAX: u16 = 256;
/// Fewest slots of a data dir whose number of shards was changed: what stays with its shard keeps only its slot there, and
/// 256 shards have 16 slots each.
pub const ROUTE_SLOTS: usize = 4_096;
/// Largest project file: a hundred thousand workflows of a trigger and a job each, however they are written. It becomes
/// one event of each shard, and what it says is kept in memory, once for all shards.
pub const PROJECT_BYTES_MAX: usize = 64 << 20;
/// Deepest nesting in a project file; ours needs seven levels.
pub const PROJECT_DEPTH_MAX: usize = 64;
/// Most values in a project file once its aliases are written out: a few lines of aliases can name billions. Each takes
/// about 60 bytes while the file is read; a workflow of a trigger and a job has 34 to 50.
pub const PROJECT_NODES_MAX: usize = 6_000_000;
/// Most triggers of a project: the schedules of all of them are one event.
pub const TRIGGERS_MAX: usize = 250_000;
/// Most mistakes that one read of a project file names; nobody reads further.
pub const PROJECT_MISTAKES_MAX: usize = 1_000;
/// Longest key of a workflow, job or trigger, and longest name, in characters.
pub const NAME_CHARACTERS_MAX: usize = 255;
/// Most jobs of one workflow: a run visits each of them, and a `JobId` is 16 bits.
pub const JOBS_PER_WORKFLOW_MAX: usize = 1_000;
/// Longest key in a project file: that of an edge holds two names.
pub const KEY_BYTES_MAX: usize = 600;
/// Most bytes of text that aliases of a project file repeat: as much as the largest file has by itself.
pub const PROJECT_TEXT_BYTES_MAX: usize = PROJECT_BYTES_MAX;
/// Longest source of a job. Parsing it may take a thousand times its length of stack.
pub const JOB_BYTES_MAX: usize = 512 << 10;
/// Most ids kept for triggers that their file does not name. Those of triggers that are gone make room first.
pub const MADE_IDS_MAX: usize = 10_000;
/// Most bytes of ids that are made for one file, with their names: they are part of its event.
pub const MADE_IDS_BYTES_MAX: usize = 32 << 20;
/// What an id takes in that event beside its name.
pub const MADE_ID_BYTES: usize = 48;
/// Longest time that a run may be allowed, one day: a lease must end some time.
pub const RUN_TIMEOUT_MS_MAX: u64 = 86_400_000;
/// Longest pause before another run, one day: longer pauses are for a person to decide.
pub const RETRY_BACKOFF_MS_MAX: u64 = 86_400_000;
/// Most unfinished runs that a trigger may be allowed; its counter and queue rows stay small.
pub const IN_FLIGHT_MAX: u64 = 1_000_000;
/// Longest wait for a synchronous answer, one hour: each waiting request holds a connection.
pub const RESPONSE_TIMEOUT_SECONDS_MAX: u64 = 3_600;
/// Longest memory for an idempotency key, 30 days: each key is a row.
pub const IDEMPOTENCY_WINDOW_SECONDS_MAX: u64 = 2_592_000;
/// Most idempotency keys that one shard remembers, about 2 GB of rows: 115 a second for a day. Beyond it, those whose
/// window ends first are forgotten first.
pub const ONCE_KEYS_MAX: u64 = 10_000_000;
/// Most idempotency keys that one event forgets. More than one, so that the rows shrink after a flood.
pub const ONCE_FORGOTTEN_PER_EVENT_MAX: usize = 2;
/// Idempotency keys that are forgotten next and are kept in memory, so that their rows are read many at a time.
pub const ONCE_FRONT_ENTRIES_MAX: usize = 1_024;
/// Longest idempotency key: longer ones are payloads that lost their way.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Widest tolerance for a signature's time, one day: a longer one invites replayed requests.
pub const SIGNATURE_TOLERANCE_SECONDS_MAX: u64 = 86_400;
/// Most signatures of one request that are compared: a sender that changes its secret sends two.
pub const SIGNATURES_MAX: usize = 16;
/// Longest time of a signature: more digits are no number of seconds.
pub const SIGNATURE_TIME_DIGITS_MAX: usize = 19;
/// Most requests per second, and largest burst, of a rate limit; beyond it there is nothing to limit.
pub const RATE_LIMIT_MAX: u64 = 1_000_000;
/// Longest custom path of a webhook, as in OpenFn.
pub const CUSTOM_PATH_CHARACTERS_MAX: usize = 255;
/// Largest secret: a credential's JSON with a certificate or two.
pub const SECRET_BYTES_MAX: usize = 1 << 20;
/// Longest wait for a connection to Kafka, one hour.
pub const CONNECT_TIMEOUT_SECONDS_MAX: u64 = 3_600;

// A full-size payload must always fit in an empty batch, or its sender would retry for ever.
const _: () = assert!(BATCH_BYTES_MAX > PAYLOAD_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES_MAX > 2 * BATCH_BYTES_MAX);
/// Most runs of one shard that callers wait for. Each costs a map entry and a parked connection.
pub const FOLLOWS_MAX: usize = 16_384;
/// Most ends of runs that one turn reads from the log, for callers who ask again after their run has ended.
pub const LATE_ENDS_PER_TURN_MAX: usize = 16;
/// Most project versions kept in memory over all shards. A version that is needed again is read from the log.
pub const PROJECTS_CACHED_MAX: usize = 4_096;
/// Most bytes of files of the project versions kept in memory, but for those in use. What a file says takes up to three
/// times its bytes.
pub const PROJECTS_CACHED_BYTES_MAX: usize = 128 << 20;
/// Most events that the views apply in one turn. Bounds how long the next inputs wait behind them.
pub const VIEW_EVENTS_PER_TURN_MAX: usize = 16_384;
/// How long a shard that met a full disk waits before it looks for room again.
pub const FULL_DISK_RETRY_MS: u64 = 1_000;
/// Disk that is left free for rows, compaction and the operator's own work when inputs are refused.
pub const DISK_RESERVE_BYTES: u64 = 64 << 20;
/// Memory of one shard for blocks of the store that were read.
pub const CACHE_BYTES: u64 = 32 << 20;
/// Memory that the log fills before it is written out; a limit of its bytes on the disk does not count it.
pub const LOG_MEMTABLE_BYTES: u64 = 16 << 20;
/// Freed memory that each heap of the allocator keeps: what a flush of the log frees, twice.
pub const HEAP_KEPT_BYTES: i32 = 2 * LOG_MEMTABLE_BYTES as i32;
/// Allocations from this size on are mapped and given back by themselves: the most that glibc takes (mallopt(3)).
pub const HEAP_MAPPED_BYTES_MIN: i32 = 32 << 20;
/// Memory that a keyspace of rows fills before it is written out. Each time that it is, what reads and writes waits for some
/// syncs of the store, ten milliseconds on a busy disk.
pub const MEMTABLE_BYTES: u64 = 32 << 20;
/// Journals of one shard before its keyspaces are written out. Bounds the replay at a start.
pub const JOURNALS_BYTES_MAX: u64 = 128 << 20;
/// Values from this size on are kept apart from the tree, so that compaction does not move them.
pub const KV_SEPARATION_BYTES_MIN: u32 = 1_024;
/// Keyed partitions of a workflow: most keys, or Kafka partitions, whose runs are open at once.
pub const ORDERING_PARTITIONS: u16 = 1_024;
/// Most lanes of a shard that are not empty. Each costs a map entry and its front.
pub const LANES_MAX: usize = 262_144;
/// Most first runs of a lane in memory behind those that were read from disk. At least a claim's demand.
pub const LANE_FRONT_ENTRIES_MAX: usize = 1_024;
/// The same of a lane whose runs go one at a time: there may be a thousand of them, and each takes little in a turn.
pub const LANE_FRONT_ORDERED_MAX: usize = 64;
/// Rows of the backlog that are read at once when a lane's front is empty, and at a start: up to 256 first runs each.
pub const BACKLOG_ROWS_PER_READ: usize = 64;
/// Rows of runs that were cancelled while they waited, one each, that a start reads at once.
pub const GONE_ROWS_PER_READ: usize = 4_096;
/// Most runs of a shard that wait again: expired, retried, asked for. They are kept in memory.
pub const REQUEUED_MAX: usize = 262_144;
/// Runs that wait again beyond which none is set aside for its key being held, so that those that workers have can always
/// come back. What is behind it in its lane waits, on disk.
pub const SET_ASIDE_MAX: usize = REQUEUED_MAX / 2;
/// Most open runs of a shard: those that workers have.
pub const LEASES_MAX: usize = 65_536;
/// Most runs that one claim hands out.
pub const CLAIM_RUNS_MAX: u16 = 1_024;
/// Most ready workflows that one claim looks at, those included that have reached their limit.
pub const CLAIM_WORKFLOWS_MAX: usize = 4_096;
/// How often a run is claimed before it is given up as lost: an input that kills its executor must not do so for ever.
pub const RUN_ATTEMPTS_MAX: u8 = 5;
/// How long after its time-out a run's lease goes on: the worker's own time-out must come first.
pub const LEASE_GRACE_MS: u64 = 10_000;
/// Most leases and holds that one turn ends.
pub const ADVANCE_EVENTS_MAX: usize = 4_096;

const _: () = assert!(LANE_FRONT_ENTRIES_MAX >= CLAIM_RUNS_MAX as usize);
const _: () = assert!(SET_ASIDE_MAX + LEASES_MAX <= REQUEUED_MAX);
const _: () = assert!(CLAIM_WORKFLOWS_MAX > CLAIM_RUNS_MAX as usize);
/// Most bytes of log lines that one run may write.
pub const LOG_BYTES_MAX: usize = 1_000_000;
/// Most bytes of one log line; what is longer is cut.
pub const LOG_LINE_BYTES_MAX: usize = 16_384;
/// What a log line counts beside its text, for its time, level and step: empty lines have a bound too.
pub const LOG_LINE_OVERHEAD_BYTES: usize = 32;
/// Longest message of an error beside the state, which has the whole one: a run has one for each step, and they share a block.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 16_384;
/// Text values of a credential from this length on are taken out of log lines.
pub const SECRET_CHARACTERS_MIN: usize = 4;
/// Memory of one run's JavaScript: the largest state, parsed, takes up to twenty times its text.
pub const JOB_MEMORY_BYTES_MAX: usize = 256 << 20;
/// What its memory is taken in. A runtime that has run nothing fits the first one.
pub const HEAP_CHUNK_BYTES: usize = 2 << 20;
/// Largest block that is part of a chunk.
pub const HEAP_BLOCK_BYTES_MAX: usize = 64 << 10;
/// Stack of one run's JavaScript. The executor's threads have more.
pub const JOB_STACK_BYTES_MAX: usize = 1 << 20;
/// Stack of an executor's thread.
pub const EXECUTOR_STACK_BYTES: usize = 8 << 20;
/// Longest sleep of an executor's thread on a job's timer before it looks whether the run must stop.
pub const TIMER_SLEEP_MS_MAX: u64 = 50;
/// Largest state that a step may leave: OpenFn's largest frame, so that the largest body can be handed on with its request.
pub const STATE_BYTES_MAX: usize = 11_000_000;
/// Most compiled jobs and conditions in memory.
pub const SCRIPTS_CACHED_MAX: usize = 16_384;
/// Most bytes of compiled jobs and conditions in memory, over all threads.
pub const SCRIPTS_CACHED_BYTES_MAX: usize = 64 << 20;
/// Most steps of one run: paths that meet run the jobs behind them once each.
pub const STEPS_PER_RUN_MAX: u16 = 1_000;
/// Most runs that one executor thread has claimed beyond the one that it runs.
pub const EXECUTOR_QUEUE_MAX: usize = 64;
/// Runs that one executor thread may have claimed beyond the one that it runs are worth this much time.
pub const EXECUTOR_QUEUE_MS: u64 = 50;
/// How long a turn waits, before its sync, for the end of a run that a caller waits for: about as long as the second sync
/// takes that it saves.
pub const RUN_AHEAD_US_MAX: u64 = 250;
/// How long a run goes on before its beginning is reported by itself.
pub const PROGRESS_AFTER_MS: u64 = 500;
/// How long a run waits for the ends of earlier runs of its trigger to be durable, if it starts with what they left.
pub const END_WAIT_MS: u64 = 5_000;
/// How often a run that goes on longer reports its steps, if there are new ones.
pub const PROGRESS_EVERY_MS: u64 = 1_000;
/// Most reports of a shard's runs on their way to it.
pub const REPORTS_MAX: usize = 4_096;
/// Most bytes of reports of a shard's runs on their way to it.
pub const REPORTS_BYTES_MAX: usize = 256 << 20;
/// Most bytes of the states of all steps of a run: they reach the log in one block.
pub const RUN_OUTPUT_BYTES_MAX: usize = 32 << 20;

// What a turn decides always fits its block: a batch, the last report over its bound, and what time does.
const _: () =
    assert!(BLOCK_EVENTS_MAX >= BATCH_EVENTS_MAX + 4 * STEPS_PER_RUN_MAX as usize + 4 * ADVANCE_EVENTS_MAX);
const _: () =
    assert!(BLOCK_KEPT_BYTES_MAX >= BATCH_BYTES_MAX + RUN_OUTPUT_BYTES_MAX + LOG_BYTES_MAX + STATE_BYTES_MAX);
// A turn takes in one project file beside all that, and notes which schedules came and which went: 32 bytes each.
const _: () = assert!(
    BLOCK_BYTES_MAX
        >= BLOCK_KEPT_BYTES_MAX
            + (KAFKA_INPUT_BYTES_MAX - BATCH_BYTES_MAX)
            + PROJECT_BYTES_MAX
            + MADE_IDS_BYTES_MAX
            + MADE_IDS_MAX * (2 * KEY_BYTES_MAX + MADE_ID_BYTES)
            + 2 * TRIGGERS_MAX * 32
);
/// Connections that the kernel keeps for a listener until they are accepted.
pub const ACCEPT_BACKLOG: i32 = 4_096;
/// What is read of a connection at once.
pub const READ_BUFFER_BYTES: usize = 16 << 10;
/// Memory that a door registers with io_uring.
pub const RING_MEMORY_BYTES: usize = 1 << 20;
/// Largest head of a request: its line and its headers. Larger ones are answered 431.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most connections of the API's listener: people and their tools, not callers of webhooks.
pub const API_CONNECTIONS_MAX: usize = 1_024;
/// Most connections of a listener that are being told that there is no room; one more is closed without a word.
pub const CONNECTIONS_TURNED_AWAY_MAX: usize = 64;
/// How long a connection that is turned away has to ask for something.
pub const TURN_AWAY_TIMEOUT_MS: u64 = 1_000;
/// Open files that connections leave to the store, the sources and what else needs them.
pub const FILES_RESERVED: u64 = 1_024;
/// Most requests at once on one connection of HTTP/2: as many as the standard calls enough.
pub const HTTP2_STREAMS_MAX: u32 = 100;
/// What a client of HTTP/2 may send ahead of what is read, on a stream and on all of them together.
pub const HTTP2_WINDOW_BYTES: u32 = 1 << 20;
/// Most bytes of one answer of HTTP/2 that wait for their reader outside of the answer itself.
pub const HTTP2_SEND_BYTES_MAX: usize = 400 << 10;
/// Most streams that a client of HTTP/2 has reset before they were looked at; one more ends the connection.
pub const HTTP2_RESETS_PENDING_MAX: usize = 20;
/// Most streams of a connection of HTTP/2 that are reset for the client's mistakes; one more ends the connection.
pub const HTTP2_RESETS_LOCAL_MAX: usize = 1_024;
/// Largest certificate chain, and largest key, that is read.
pub const CERTIFICATE_BYTES_MAX: u64 = 1 << 20;
/// Most headers of a request, as hyper has it: another number would cost an allocation per request.
pub const HEADERS_MAX: usize = 100;
/// How long a client may take to send the head of a request.
pub const HEADER_TIMEOUT_MS: u64 = 10_000;
/// How long a client may take to send the body of a request.
pub const BODY_TIMEOUT_MS: u64 = 60_000;
/// A body that is over its limit is read and thrown away up to this many times the limit, so that the refusal arrives.
pub const BODY_SKIP_FACTOR: usize = 10;
/// Most bytes that one door holds of bodies that are coming in; whoever sends beyond it is answered 503.
pub const BODIES_BYTES_MAX: usize = 128 << 20;
/// Most bytes that one door holds of results that their callers have yet to take; beyond it they are told only the ids.
pub const ANSWERS_BYTES_MAX: usize = 128 << 20;
/// An answer is handed over in pieces of this size. A client of HTTP/2 that takes one is not idle.
pub const ANSWER_PIECE_BYTES: usize = 16 << 10;
/// Most names in a form or a query, each part of a nested name counted: each may cost a few hundred bytes of memory.
pub const FORM_NAMES_MAX: usize = 20_000;
/// Most members of a gzip body. Those that write logs in members make one of some 64 kB each.
pub const GZIP_MEMBERS_MAX: usize = 4_096;
/// Deepest nesting of a JSON body.
pub const JSON_DEPTH_MAX: usize = 128;
/// Most inputs on their way from the doors to one shard.
pub const INPUTS_MAX: usize = 16_384;
/// Most bytes of inputs on their way from the doors to one shard.
pub const INPUTS_BYTES_MAX: usize = 64 << 20;

// The largest body with all that its head can become as JSON fits in an empty batch, or it would wait there for ever.
const _: () = assert!(PAYLOAD_BYTES_MAX + 16 * HEAD_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!(BODIES_BYTES_MAX > PAYLOAD_BYTES_MAX);
// The largest result has room where there is no other.
const _: () = assert!(ANSWERS_BYTES_MAX / 2 > RUN_OUTPUT_BYTES_MAX + 2 * STATE_BYTES_MAX);
/// When a client that was refused for want of room should try again.
pub const RETRY_AFTER_SECONDS: u32 = 1;
/// Most API requests that wait for a reader thread.
pub const API_REQUESTS_MAX: usize = 64;
/// Threads that answer API requests.
pub const API_THREADS: usize = 2;
/// Largest body of an API request that is no project file: a dead letter's, corrected.
pub const API_BODY_BYTES_MAX: usize = 16 << 20;
/// Most project files that are on their way to the API or being put into force; each may take its full size.
pub const API_PROJECTS_MAX: usize = 4;
/// Most requests of people that wait for one shard.
pub const ADMIN_REQUESTS_MAX: usize = 64;
/// How long someone waits for a shard's answer.
pub const ADMIN_ANSWER_MS: u64 = 30_000;
/// How long a project file waits for what is due under the one before it, until it is refused.
pub const APPLY_WAIT_MS: u64 = 20_000;

// Whoever asks for it is still there to be told.
const _: () = assert!(APPLY_WAIT_MS < ADMIN_ANSWER_MS);
/// Items on a page of a list when the caller does not say.
pub const PAGE_ITEMS_DEFAULT: usize = 50;
/// Most items on a page of a list.
pub const PAGE_ITEMS_MAX: usize = 1_000;
/// Most events that are looked at for one page; the next page goes on from there.
pub const PAGE_LOOKS_MAX: usize = 100_000;
/// Most blocks that a reader keeps of those that it read last.
pub const RECENT_BLOCKS_MAX: usize = 64;
/// Most bytes of blocks that a reader keeps, but for the last one. There is a reader per shard for each API request, and
/// one for the executor.
pub const RECENT_BYTES_MAX: usize = 16 << 20;
/// How long a reader waits for rows that follow what is durable: a turn's commit, many times over.
pub const SETTLE_MS: u64 = 100;
/// Buckets without anything that fits after which a walk says how far it has come.
pub const WALK_BUCKETS_MAX: usize = 1_024;

const _: () = assert!(PAGE_LOOKS_MAX > 2 * WALK_BUCKETS_MAX);
/// Bytes of a page's items after which no more are added: one item may be as large as a run's states.
pub const PAGE_BYTES_MAX: usize = 16 << 20;
/// Most triggers with a series of their own for each outcome of a request; the others share one.
pub const METRICS_TRIGGERS_MAX: usize = 1_000;
/// Most blocked keys that a trigger shows; all of them are counted.
pub const BLOCKED_KEYS_SHOWN_MAX: usize = 100;
/// Most bytes of an ordering key that are shown; longer keys are told apart by what they begin with.
pub const ORDERING_KEY_BYTES_SHOWN_MAX: usize = 1_024;
/// Longest reason that is kept with a discarded dead letter.
pub const DISCARD_REASON_CHARACTERS_MAX: usize = 1_000;
/// Most work orders or runs that one bulk request takes in: each is kept in memory until it is asked for.
pub const BULK_RERUNS_MAX: usize = 250_000;
/// Most bulk reruns and cancels at a time; each has a thread.
pub const BULK_REQUESTS_MAX: usize = 4;
/// Reruns or cancels that are asked for at once of one shard; half of what may wait for it, so that people get through too.
pub const BULK_WINDOW: usize = 32;

/// How long a bulk request waits for a shard that has no room.
pub const BULK_WAIT_MS: u64 = 20;
/// What each of many takes in the event that says of whom something is asked.
pub const BULK_ITEM_BYTES: usize = 9;

const _: () = assert!(BULK_WINDOW < ADMIN_REQUESTS_MAX);
const _: () = assert!(BULK_RERUNS_MAX * BULK_ITEM_BYTES < PAYLOAD_BYTES_MAX);
/// Events that are folded between two commits when rows are derived anew. Bounds the memory of a rebuild.
pub const REFOLD_EVENTS_MAX: usize = 16_384;
/// Most findings of one shard that are named; nobody reads further.
pub const FINDINGS_MAX: usize = 100;
/// Longest time for which people are not warned of the same again, 30 days.
pub const EMBARGO_SECONDS_MAX: u64 = 2_592_000;
/// How often is looked for warnings that wait to be delivered.
pub const NOTICE_LOOK_MS: u64 = 500;
/// Most warnings of a shard that are looked at at once; each embargo holds one back, so there are few.
pub const NOTICES_MAX: usize = 256;
/// How long a mail server or a URL may take for each step of a delivery.
pub const NOTICE_TIMEOUT_MS: u64 = 10_000;
/// How often a delivery is tried before it is given up.
pub const NOTICE_ATTEMPTS_MAX: u32 = 6;
/// Pause before a delivery is tried again; doubles each time.
pub const NOTICE_BACKOFF_MS: u64 = 2_000;
/// Most replays that go on at a time; each has a thread that reads along the logs.
pub const REPLAYS_RUNNING_MAX: usize = 4;
/// Most replays that go on or are paused; each is kept in memory by every shard.
pub const REPLAYS_OPEN_MAX: usize = 64;
/// Most items that a replay may offer to one shard in a turn without other work.
pub const REPLAY_ITEMS_PER_TURN: usize = 512;
/// How long after a live input a shard counts as busy: replays then take less of it, so that live inputs keep their
/// latency.
pub const LIVE_MS: u64 = 1_000;
/// Most items that replays may offer to a busy shard in a turn.
pub const REPLAY_ITEMS_PER_BUSY_TURN: usize = 16;
/// Pause between two such turns: 3,200 items a second are left to a replay, and the rest of the time to live inputs.
pub const REPLAY_BUSY_PAUSE_MS: u64 = 5;
/// Most replayed runs of a workflow without order that a busy shard has open: a live one waits for few of them.
pub const REPLAY_RUNS_BUSY_MAX: u32 = 2;
/// Bytes of items after which a replay offers no more to one shard in a turn; one item may be as large as an input.
pub const REPLAY_BYTES_PER_TURN: usize = 1 << 20;
/// Most items of replays on their way to one shard.
pub const REPLAY_ITEMS_MAX: usize = 1_024;
/// Most bytes of items of replays on their way to one shard.
pub const REPLAY_BYTES_MAX: usize = 32 << 20;
/// How long a replay waits when a shard has no room for its items, or before it looks again for what it waits for.
pub const REPLAY_WAIT_MS: u64 = 5;
/// Most items per second that a replay may be limited to; beyond it there is nothing to limit.
pub const REPLAY_RATE_MAX: u64 = 1_000_000;
/// Items that a dry run shows.
pub const REPLAY_SAMPLE_ITEMS: usize = 10;
/// Rows of sets that a walk forward reads at once; between two reads it holds nothing of the store.
pub const WALK_ROWS: usize = 64;

const _: () = assert!(REPLAY_BYTES_MAX > PAYLOAD_BYTES_MAX + BATCH_BYTES_MAX);
const _: () = assert!(2 * REPLAY_ITEMS_PER_TURN < BATCH_EVENTS_MAX);
/// Most connections that a bench opens: each takes a port of its machine.
pub const BENCH_CONNECTIONS_MAX: u32 = 50_000;
/// Most different keys that a bench draws from: the table of their shares stays in the cache.
pub const BENCH_KEYS_MAX: u32 = 1_000_000;
/// Most acknowledged work orders that a bench keeps, to look for them afterwards: 16 bytes each.
pub const BENCH_ACKNOWLEDGED_MAX: usize = 20_000_000;
/// Longest answer that a bench reads: a synchronous one may carry a whole state.
pub const BENCH_ANSWER_BYTES_MAX: usize = 16 << 20;
/// Answers that a bench waits for after its last request, in seconds.
pub const BENCH_DRAIN_SECONDS: u64 = 5;
/// Most loads that a search for the highest rate tries.
pub const BENCH_PROBES_MAX: usize = 12;
/// How far ahead a schedule looks for its next tick, 41 years: 29 February comes round to each weekday in less.
pub const SCHEDULE_SECONDS_MAX: i64 = 41 * 366 * 86_400;
/// How late a tick may be before it counts as missed: until the next one may be due.
pub const TICK_LATE_MS: u64 = 60_000;
/// Most missed ticks of a trigger that `catch_up: all` makes up for: a week of hours, most of a day of minutes.
pub const CATCH_UP_TICKS_MAX: usize = 1_000;
/// Most ticks of all triggers that one turn of a shard looks for. Bounds how long a webhook waits behind them: about a
/// millisecond.
pub const TICK_LOOKUPS_PER_TURN: usize = 64;
/// What a tick takes in a block.
pub const TICK_BYTES: usize = 128;
/// How often a shard with cron triggers looks at the clock: it may be set, and a machine may have slept.
pub const CLOCK_LOOK_MS: u64 = 5_000;
/// A clock that shows more than this past all that the log has, a year, is believed only when it goes on to do so.
pub const CLOCK_LEAP_MS: u64 = 365 * 86_400_000;
/// A clock that moves by more than this past the time that has passed, a day, was set: nothing is thrown away by it yet.
pub const CLOCK_STEP_MS: u64 = 86_400_000;
/// How long a clock must show what cannot be believed at once: longer than it takes to set one by the network.
pub const CLOCK_CONFIRM_MS: u64 = 600_000;
/// A clock that shows an earlier time was never set: it is older than this program, 2026-01-01.
pub const CLOCK_EARLIEST_SECONDS: u64 = 1_767_225_600;
/// How far ahead of the clock ticks may be that count as made. What was set back by less has them not made again.
pub const TICKS_AHEAD_MS: u64 = 86_400_000;
/// Most that the time of a log moves at once while it is ahead of the clock, however far the clock has moved.
pub const CLOCK_LAG_STEP_MS: u64 = 60_000;
/// Ticks of a trigger that are shown in advance.
pub const TICKS_SHOWN: usize = 5;

const _: () = assert!(TICK_LOOKUPS_PER_TURN < BATCH_COMMANDS_MAX / 2);
/// Most messages that a consumer takes from Kafka at once.
pub const KAFKA_BATCH_MESSAGES_MAX: u32 = 256;
/// Bytes of messages after which a load is sent off to its shard.
pub const KAFKA_LOAD_BYTES_MAX: usize = 1 << 20;
/// Memory that is allocated at once for what many messages become. As long as one of them is on its way, so is all of it.
pub const KAFKA_PAGE_BYTES: usize = 128 << 10;
/// Most such pages that one trigger keeps to use them again.
pub const KAFKA_PAGES_KEPT_MAX: usize = 32;
/// Most loads on their way from consumers to one shard.
pub const KAFKA_LOADS_MAX: usize = 256;
/// Most bytes of messages on their way from consumers to one shard.
pub const KAFKA_LOADS_BYTES_MAX: usize = 32 << 20;
/// Memory of one trigger for messages that librdkafka has fetched and nobody has taken, in kibibytes.
pub const KAFKA_QUEUE_KBYTES: u64 = 16 << 10;
/// Most bytes of a message with its metadata that are kept. What is larger than a full turn has a turn of its own.
pub const KAFKA_INPUT_BYTES_MAX: usize = 24 << 20;
/// Most errors, log lines and assignments that a consumer looks at before it looks at messages again.
pub const KAFKA_EVENTS_MAX: usize = 64;
/// How long a consumer waits for a message before it looks at all else.
pub const KAFKA_WAIT_MS: u64 = 100;
/// How long a consumer that has no room waits before it looks again.
pub const KAFKA_PAUSE_MS: u64 = 5;
/// How often a consumer commits, and brings up to date what people see.
pub const KAFKA_TICK_MS: u64 = 500;
/// How often a consumer looks whether a broker that was gone is back, and how long it waits for the answer.
pub const KAFKA_PROBE_MS: u64 = 1_000;
/// How long a consumer waits for what is behind damaged messages before it tries again. A broker's next answer after damage may
/// be half a second late.
pub const KAFKA_DAMAGE_MS: u64 = 3_000;
/// Most leader epochs of a partition that are remembered: each is a broker that went or came while the partition was read.
pub const KAFKA_EPOCHS_MAX: usize = 16;
/// How often a consumer looks whether its topics are still the same.
pub const KAFKA_TOPICS_MS: u64 = 10_000;
/// How long such a look waits for its answer. A short part of the time between two: while it waits for a broker that is
/// gone, librdkafka connects without a pause.
pub const KAFKA_LOOK_MS: u64 = 1_000;
/// How long a consumer waits after a shard refused a message before it reads it again.
pub const KAFKA_REFUSED_MS: u64 = 1_000;
/// How long a consumer whose settings are refused waits before it tries again: a file that was missing may be there.
pub const KAFKA_OPEN_MS: u64 = 3_000;
/// How long a consumer waits after it could not begin to read before it tries again.
pub const KAFKA_RETRY_MS: u64 = 1_000;
/// Longest wait for one answer of a broker, or of a shard, while partitions are taken up.
pub const KAFKA_ANSWER_MS: u64 = 10_000;
/// Longest wait for the last commit when partitions are given back.
pub const KAFKA_COMMIT_MS: u64 = 2_000;
/// Longest wait of a consumer that ends for what it took to become durable.
pub const KAFKA_DRAIN_MS: u64 = 3_000;
/// Longest wait for consumers to end; one that hangs is left behind.
pub const KAFKA_CLOSE_MS: u64 = 8_000;

// The largest message fits into an empty mailbox, or it would wait for ever.
const _: () = assert!(KAFKA_LOADS_BYTES_MAX > KAFKA_LOAD_BYTES_MAX + KAFKA_INPUT_BYTES_MAX);
const _: () = assert!(KAFKA_INPUT_BYTES_MAX >= BATCH_BYTES_MAX);
// A work order's metadata and data may each be as large as a payload; it must be able to go through again.
const _: () = assert!(KAFKA_INPUT_BYTES_MAX > 2 * PAYLOAD_BYTES_MAX);
const _: () = assert!(REPLAY_BYTES_MAX > KAFKA_INPUT_BYTES_MAX);
const _: () = assert!(KAFKA_LOOK_MS < KAFKA_TOPICS_MS);
// A consumer ends before anyone stops to wait for it.
const _: () = assert!(KAFKA_CLOSE_MS > KAFKA_DRAIN_MS + KAFKA_COMMIT_MS);
