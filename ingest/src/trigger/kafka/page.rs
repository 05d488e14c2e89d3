//! A page: memory for what many messages become, so that none of them needs an allocation of its own.
//!
//! Invariant: what was cut off a page never changes. The memory is used again, or given back, when nothing of it is left in
//! use; what holds it until then is on its way to a shard, and bounded there.

use std::{collections::VecDeque, mem};

use bytes::{Bytes, BytesMut};
use keyway_storage::limits::{KAFKA_PAGE_BYTES, KAFKA_PAGES_KEPT_MAX};

/// Memory that is written to at its end.
#[derive(Default)]
pub struct Page {
    memory: BytesMut,
    /// Whether that is a page: what is larger is not kept.
    is_page: bool,
    /// Full ones, the oldest first: the kernel clears new memory, and that cost more than the copy into it.
    full: VecDeque<BytesMut>,
}

impl Page {
    /// Room at the end, for what is cut off next.
    pub fn room(&mut self, bytes: usize) -> &mut BytesMut {
        assert!(self.memory.is_empty(), "what was written is cut off");
        if self.memory.capacity() < bytes {
            self.turn(bytes);
        }
        &mut self.memory
    }

    /// Goes on with the oldest full page if nothing of that is in use any more, else with a new one.
    fn turn(&mut self, bytes: usize) {
        let before = mem::take(&mut self.memory);
        if mem::replace(&mut self.is_page, bytes <= KAFKA_PAGE_BYTES) {
            self.full.push_back(before);
        }
        let oldest = self.full.pop_front_if(|oldest| oldest.try_reclaim(bytes.max(KAFKA_PAGE_BYTES)));
        self.memory = oldest.unwrap_or_else(|| BytesMut::with_capacity(bytes.max(KAFKA_PAGE_BYTES)));
        if self.full.len() > KAFKA_PAGES_KEPT_MAX {
            self.full.pop_front();
        }
    }

    /// Cuts off what was written.
    pub fn cut(&mut self) -> Bytes {
        self.memory.split().freeze()
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
    fn memory_is_used_again_once_nothing_of_it_is_in_use() {
        let mut page = Page::default();
        let fill =
            |page: &mut Page| (0..8).map(|_| page.copy(&[1; KAFKA_PAGE_BYTES / 8])).collect::<Vec<_>>();
        let [first, second] = [fill(&mut page), fill(&mut page)];
        let (places, in_use) = (first[0].as_ptr(), second[0].as_ptr());
        drop(first);
        let third = fill(&mut page);
        assert_eq!(third[0].as_ptr(), places);
        let fourth = fill(&mut page);
        assert_ne!(fourth[0].as_ptr(), in_use);
        assert_eq!(second, third);
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
