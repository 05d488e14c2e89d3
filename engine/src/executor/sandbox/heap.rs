//! The heap of one QuickJS: memory that can be put back to what it was at one moment.
//!
//! QuickJS carves small blocks out of larger ones itself, so that few requests come here, of some kilobytes each.
//!
//! Invariant: all that the heap knows of the blocks that stay at `restore` is in the bytes that `restore` writes, its own lists
//! of free ones among them; what is outside is given back then.

#![allow(unsafe_code)]

use std::{
    alloc::{Layout, alloc, dealloc},
    cell::RefCell,
    collections::HashMap,
    mem::{MaybeUninit, size_of},
    ptr::{self, NonNull},
    rc::Rc,
};

use keyway_storage::limits::{HEAP_BLOCK_BYTES_MAX, HEAP_CHUNK_BYTES};
use rquickjs::allocator::Allocator;

/// What stands before a block: its bytes. As long as the strictest alignment.
const HEADER: usize = 16;
/// Sizes of blocks: the powers of two, each in four steps.
const CLASSES: usize = 4 * (usize::BITS - HEAP_BLOCK_BYTES_MAX.leading_zeros()) as usize;

/// What stands at the beginning of the first chunk.
#[repr(C)]
struct Head {
    /// Where the next new block begins, and where its chunk ends.
    next: *mut u8,
    end: *mut u8,
    /// The first free block of each size; in each of them the next.
    free: [*mut u8; CLASSES],
}

/// The heap, as its owner and QuickJS share it.
#[derive(Clone)]
pub(super) struct Heap(Rc<RefCell<Chunks>>);

struct Chunks {
    first: NonNull<u8>,
    /// The used part of the first chunk as it shall be again.
    kept: Box<[MaybeUninit<u8>]>,
    /// All others, and blocks that are too large for one.
    others: HashMap<*mut u8, Layout>,
    others_bytes: usize,
    bytes_max: usize,
}

impl Heap {
    /// A heap that takes so many bytes beside its first chunk at most.
    pub fn new(bytes_max: usize) -> Option<Self> {
        let layout = first_chunk();
        // SAFETY: The layout has a size.
        let first = NonNull::new(unsafe { alloc(layout) })?;
        let next = first.as_ptr().wrapping_add(size_of::<Head>().next_multiple_of(HEADER));
        let head =
            Head { next, end: first.as_ptr().wrapping_add(layout.size()), free: [ptr::null_mut(); CLASSES] };
        // SAFETY: The chunk is ours, aligned to a header, and larger than a head.
        unsafe {
            first.cast::<Head>().write(head);
        }
        let kept = Box::default();
        let chunks = Chunks { first, kept, others: HashMap::new(), others_bytes: 0, bytes_max };
        Some(Self(Rc::new(RefCell::new(chunks))))
    }

    /// Notes what `restore` shall bring back; false when there is more of it than one chunk holds.
    pub fn keep(&self) -> bool {
        let mut chunks = self.0.borrow_mut();
        if !chunks.others.is_empty() {
            return false;
        }
        let (first, next) = (chunks.first.as_ptr(), chunks.head().next);
        let used = next as usize - first as usize;
        let mut kept = Box::new_uninit_slice(used);
        // SAFETY: `used` bytes from `first` on are in the first chunk; they are copied as they are, written or not.
        unsafe {
            ptr::copy_nonoverlapping(first.cast(), kept.as_mut_ptr(), used);
        }
        chunks.kept = kept;
        true
    }

    /// Puts all bytes back to what they were at `keep`, and gives back what came since.
    // SAFETY: The caller has no pointer left to a block that was taken since `keep`, nor relies on what was changed in others.
    pub unsafe fn restore(&self) {
        let mut chunks = self.0.borrow_mut();
        chunks.give_back_others();
        let first = chunks.first.as_ptr();
        // SAFETY: `kept` was copied from there, and the caller sees to the rest.
        unsafe { ptr::copy_nonoverlapping(chunks.kept.as_ptr(), first.cast(), chunks.kept.len()) };
    }
}

fn first_chunk() -> Layout {
    Layout::from_size_align(HEAP_CHUNK_BYTES, HEADER).expect("a chunk is smaller than memory")
}

/// The class whose blocks have at least so many bytes, and how many they have.
fn class_of(size: usize) -> (usize, usize) {
    let size = size.max(4 * HEADER);
    let power = (size - 1).ilog2();
    let step = 1 << (power - 2);
    let quarter = (size - 1 - (1 << power)) / step;
    (4 * power as usize + quarter, (1 << power) + (quarter + 1) * step)
}

impl Chunks {
    fn head(&mut self) -> &mut Head {
        // SAFETY: `new` wrote one there, `restore` an earlier one; the borrow of self keeps it to one at a time.
        unsafe { self.first.cast::<Head>().as_mut() }
    }

    fn take(&mut self, size: usize) -> *mut u8 {
        if size > HEAP_BLOCK_BYTES_MAX {
            let whole = self.take_other(size + HEADER);
            return if whole.is_null() { whole } else { headed(whole, size) };
        }
        let (class, bytes) = class_of(size);
        let head = self.head();
        let free = head.free[class];
        if !free.is_null() {
            // SAFETY: A free block holds where the next one is; it is aligned and has room for it.
            let next = unsafe { free.cast::<*mut u8>().read() };
            head.free[class] = next;
            return free;
        }
        if head.end as usize - (head.next as usize) < bytes + HEADER {
            let chunk = self.take_other(HEAP_CHUNK_BYTES);
            if chunk.is_null() {
                return chunk;
            }
            let head = self.head();
            (head.next, head.end) = (chunk, chunk.wrapping_add(HEAP_CHUNK_BYTES));
        }
        let head = self.head();
        let whole = head.next;
        head.next = whole.wrapping_add(bytes + HEADER);
        headed(whole, bytes)
    }

    fn take_other(&mut self, size: usize) -> *mut u8 {
        let Ok(layout) = Layout::from_size_align(size, HEADER) else { return ptr::null_mut() };
        if size > self.bytes_max - self.others_bytes {
            return ptr::null_mut();
        }
        // SAFETY: The layout has a size.
        let other = unsafe { alloc(layout) };
        if !other.is_null() {
            self.others_bytes += size;
            self.others.insert(other, layout);
        }
        other
    }

    // SAFETY: `block` was taken here, and is used no more.
    unsafe fn give_back(&mut self, block: *mut u8) {
        // SAFETY: It was taken here, so it has a header.
        let size = unsafe { bytes_of(block) };
        if size > HEAP_BLOCK_BYTES_MAX {
            let whole = block.wrapping_sub(HEADER);
            let layout = self.others.remove(&whole).expect("a large block is given back once");
            self.others_bytes -= layout.size();
            // SAFETY: It was taken with this layout.
            unsafe { dealloc(whole, layout) };
            return;
        }
        let (class, _) = class_of(size);
        let head = self.head();
        // SAFETY: Nobody uses the block, which is aligned and has room for where the next one is.
        unsafe { block.cast::<*mut u8>().write(head.free[class]) };
        head.free[class] = block;
    }

    fn give_back_others(&mut self) {
        for (other, layout) in self.others.drain() {
            // SAFETY: It was taken with this layout, and `drain` gives it once.
            unsafe { dealloc(other, layout) };
        }
        self.others_bytes = 0;
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.give_back_others();
        // SAFETY: It was taken with this layout, and is given back once.
        unsafe { dealloc(self.first.as_ptr(), first_chunk()) };
    }
}

/// Writes the header of a block, and returns where the block begins.
fn headed(whole: *mut u8, bytes: usize) -> *mut u8 {
    // SAFETY: Whoever calls has taken a header and the block behind it, aligned to a header.
    unsafe {
        whole.cast::<usize>().write(bytes);
    }
    whole.wrapping_add(HEADER)
}

// SAFETY: `block` was made by `headed`.
unsafe fn bytes_of(block: *mut u8) -> usize {
    // SAFETY: A block has its header before it.
    unsafe { block.sub(HEADER).cast::<usize>().read() }
}

// SAFETY: Blocks are aligned to a header, have at least the bytes that were asked for, and stay where they are until they
// are given back; null where there is no memory.
unsafe impl Allocator for Heap {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        self.0.borrow_mut().take(size)
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        let Some(size) = count.checked_mul(size) else { return ptr::null_mut() };
        let block = self.0.borrow_mut().take(size);
        if !block.is_null() {
            // SAFETY: The block has at least so many bytes.
            unsafe { block.write_bytes(0, size) };
        }
        block
    }

    // SAFETY: As the trait says.
    unsafe fn dealloc(&mut self, block: *mut u8) {
        // SAFETY: QuickJS gives back what it took, once.
        unsafe { self.0.borrow_mut().give_back(block) };
    }

    // SAFETY: As the trait says.
    unsafe fn realloc(&mut self, block: *mut u8, size: usize) -> *mut u8 {
        if block.is_null() {
            return self.alloc(size);
        }
        // SAFETY: QuickJS names what it took.
        let had = unsafe { bytes_of(block) };
        // One that shrinks by much makes room for others.
        if size <= had && size > had / 4 {
            return block;
        }
        let mut chunks = self.0.borrow_mut();
        let moved = chunks.take(size);
        if !moved.is_null() {
            // SAFETY: Both have at least so many bytes, and are two; the old one is used no more.
            unsafe {
                ptr::copy_nonoverlapping(block, moved, had.min(size));
                chunks.give_back(block);
            }
        }
        moved
    }

    // SAFETY: As the trait says.
    unsafe fn usable_size(block: *mut u8) -> usize {
        if block.is_null() {
            return 0;
        }
        // SAFETY: QuickJS names what it took.
        unsafe { bytes_of(block) }
    }
}
