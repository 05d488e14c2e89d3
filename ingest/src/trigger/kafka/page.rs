//! A page: memory for what many messages become, so that none of them needs an allocation of its own.
//!
//! Invariant: what was cut off a page never changes. The memory is given back when nothing of it is left in use; what holds
//! it until then is on its way to a shard, and bounded there.

use bytes::{Bytes, BytesMut};
use keyway_storage::limits::KAFKA_PAGE_BYTES;

/// Memory that is written to at its end.
#[derive(Default)]
pub struct Page(BytesMut);

impl Page {
    /// Room at the end, for what is cut off next.
    pub fn room(&mut self, bytes: usize) -> &mut BytesMut {
        assert!(self.0.is_empty(), "what was written is cut off");
        if self.0.capacity() < bytes {
            // It takes the old memory again if nothing of that is in use any more.
            self.0.reserve(bytes.max(KAFKA_PAGE_BYTES));
        }
        &mut self.0
    }

    /// Cuts off what was written.
    pub fn cut(&mut self) -> Bytes {
        self.0.split().freeze()
    }

    /// A copy of these bytes, in this page if they are not too many.
    pub fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > KAFKA_PAGE_BYTES / 4 {
            return Bytes::copy_from_slice(bytes);
        }
        self.room(bytes.len()).extend_from_slice(bytes);
        self.cut()
    }
}

#[cfg(test)]
mod tests {
    use super::Page;
    use keyway_storage::limits::KAFKA_PAGE_BYTES;

    #[test]
    fn pieces_stay_as_they_were_cut_over_the_end_of_a_page() {
        let mut page = Page::default();
        let made: Vec<Vec<u8>> =
            (0..2 * KAFKA_PAGE_BYTES / 1_000).map(|n| vec![n as u8; n % 2_000]).collect();
        let copies: Vec<_> = made.iter().map(|bytes| page.copy(bytes)).collect();
        assert_eq!(copies, made);
    }

    #[test]
    fn what_is_large_leaves_the_page_alone() {
        let mut page = Page::default();
        page.copy(b"small");
        let left = page.room(0).capacity();
        assert_eq!(page.copy(&vec![1; KAFKA_PAGE_BYTES]).len(), KAFKA_PAGE_BYTES);
        assert_eq!(page.room(0).capacity(), left);
    }
}
