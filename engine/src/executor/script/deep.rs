//! A stack that is deep enough for the parser, which recurses where a source nests.
//!
//! Invariant: no source overflows the stack, which would end the whole process.

use std::{panic::resume_unwind, thread};

use keyway_storage::limits::JOB_BYTES_MAX;

use super::SyntaxMistake;

/// Stack for each byte of a source: twice what `(` takes, the hungriest of all.
const STACK_BYTES_PER_BYTE: usize = 2 << 10;
/// Stack that any caller has left.
const STACK_BYTES_AT_HAND: usize = 64 << 10;

/// Does work that recurses at most once for each byte of the source.
pub(super) fn with_stack<T: Send>(
    source: &str,
    work: impl FnOnce() -> Result<T, Vec<SyntaxMistake>> + Send,
) -> Result<T, Vec<SyntaxMistake>> {
    let at_start = |message: String| Err(vec![SyntaxMistake { line: 1, column: 1, message }]);
    if source.len() > JOB_BYTES_MAX {
        return at_start(format!("it has {} bytes, and {JOB_BYTES_MAX} is the most", source.len()));
    }
    let stack_bytes = source.len() * STACK_BYTES_PER_BYTE;
    if stack_bytes <= STACK_BYTES_AT_HAND {
        return work();
    }
    thread::scope(|scope| {
        // Only what is used is ever mapped, which is little for a source that does not attack us.
        let builder = thread::Builder::new().name("parser".to_owned()).stack_size(stack_bytes);
        match builder.spawn_scoped(scope, work) {
            Ok(parser) => parser.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(error) => at_start(format!("there is no memory to parse it: {error}")),
        }
    })
}
