//! Settings that are passed on to librdkafka.
//!
//! Invariant: none is passed on that would break a promise, such as committing before the log has a message.

use keyway_engine::project::Field;

/// Keys that we set ourselves, or their beginnings where they end in a dot, each with what to use instead.
const OURS: &[(&str, &str)] = &[
    ("api.version.request.timeout.ms", "use `connect_timeout`"),
    ("auto.commit.", "offsets are committed when the log has their messages"),
    ("auto.offset.reset", "use `initial_offset_reset_policy`"),
    ("bootstrap.", "use `hosts`"),
    ("enable.", "offsets are kept by keyway"),
    ("group.", "use `group_id`"),
    ("isolation.level", "messages of transactions that were aborted never come in"),
    ("metadata.broker.list", "use `hosts`"),
    ("offset.store.", "offsets are kept by keyway"),
    ("partition.assignment.strategy", "it is `range`"),
    ("plugin.library.paths", "plug-ins run code that keyway does not know"),
    ("queued.max.messages.kbytes", "it bounds the memory of a trigger"),
    ("sasl.", "use `sasl`, `username` and `password`"),
    ("security.", "use `ssl` and `sasl`"),
    ("socket.connection.setup.timeout.ms", "use `connect_timeout`"),
    ("ssl.", "use `ssl`; of these only `ssl.ca.location` may be set"),
    ("test.mock.", "a real cluster is needed"),
    ("topic.blacklist", "use `topics`"),
];
/// The one key of its family that is a user's: the bundle of authorities to trust.
pub(in super::super) const CA_LOCATION: &str = "ssl.ca.location";

pub(super) fn read(field: &Field<'_>) -> Option<Vec<(String, String)>> {
    let read = |(key, value): &(&str, Field<'_>)| {
        if let Some(instead) = ours(key) {
            value.mistake_at_key(format!("`{key}` is set by keyway itself"), instead);
            return None;
        }
        Some(((*key).to_owned(), value.word()?.to_owned()))
    };
    Some(field.entries()?.iter().filter_map(read).collect())
}

fn ours(key: &str) -> Option<&'static str> {
    let is_ours = |known: &str| key == known || (known.ends_with('.') && key.starts_with(known));
    let found = OURS.iter().find(|(known, _)| is_ours(known) && key != CA_LOCATION);
    found.map(|(_, instead)| *instead)
}
