//! The read buffers of a thread: borrowed for one read, so that ten thousand idle connections hold none.
//!
//! Invariant: a buffer is lent to one read at a time; a read inside of a read, as under TLS, gets another one.

use std::cell::RefCell;

use keyway_storage::limits::READ_BUFFER_BYTES;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer to one read.
pub fn lend<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    let mut buffer = spare.unwrap_or_else(|| vec![0; READ_BUFFER_BYTES].into_boxed_slice());
    let result = read(&mut buffer);
    SPARE.with_borrow_mut(|spare| spare.push(buffer));
    result
}
