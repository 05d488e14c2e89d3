//! Memory that is freed: how much of it stays ours.
//!
//! Invariant: what is given back to the kernel is cleared by it for whoever takes it next. As much as a flush of the log
//! frees at once is kept, for the blocks that come then.

#![allow(unsafe_code)]

use keyway_storage::limits::{HEAP_KEPT_BYTES, HEAP_MAPPED_BYTES_MIN};

/// Keeps freed memory, as far as the limits say: each heap of the allocator does, of which threads share a few.
pub fn keep() {
    // Both are numbers of at most 32 MiB, which glibc takes; an allocator that does not goes on as it does.
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in
        [(libc::M_MMAP_THRESHOLD, HEAP_MAPPED_BYTES_MIN), (libc::M_TRIM_THRESHOLD, HEAP_KEPT_BYTES)]
    {
        // SAFETY: It sets a number of the allocator under its own lock, and touches no memory of ours.
        let _ = unsafe { libc::mallopt(parameter, bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::keep;
    use std::{fs, hint::black_box};

    const PAGE_BYTES: usize = 4_096;
    const VALUE_BYTES: usize = 2 << 20;
    /// As many as a flush frees.
    const VALUES: usize = 8;
    const ROUNDS: usize = 20;

    /// Pages that the kernel gave this process so far.
    fn pages() -> usize {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn memory_that_a_flush_frees_is_not_taken_from_the_kernel_again() {
        keep();
        let fill_and_flush = || {
            let values: Vec<_> = (0..VALUES).map(|_| black_box(vec![1u8; VALUE_BYTES])).collect();
            drop(values);
        };
        fill_and_flush();
        let before = pages();
        (0..ROUNDS).for_each(|_| fill_and_flush());
        let taken = pages() - before;
        // Other tests take some meanwhile; without it is what all rounds fill.
        assert!(taken < ROUNDS / 4 * VALUES * VALUE_BYTES / PAGE_BYTES, "{taken} pages");
    }
}
