//! The allocator: free lists by size, powers of two. A few hundred bytes of code where the standard one has five thousand.
//!
//! No byte of a file is in this memory, so there is little of it: rows, texts, tasks. A block that was freed serves the next
//! one of its size; memory is never given back, nor would a page take it back.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;

/// Every block is at least so large and so aligned: room for the link of a free list.
const LEAST: usize = 16;
const PAGE: usize = 1 << 16;
/// Sizes up to 2^31.
const CLASSES: usize = 28;

struct Memory(UnsafeCell<State>);

struct State {
    /// The first free block of each size; each begins with the address of the next.
    free: [*mut u8; CLASSES],
    /// What is left of the last pages that were taken.
    from: usize,
    to: usize,
}

// SAFETY: this target has one thread.
unsafe impl Sync for Memory {}

#[global_allocator]
static MEMORY: Memory = Memory(UnsafeCell::new(State {
    free: [ptr::null_mut(); CLASSES],
    from: 0,
    to: 0,
}));

/// Which free list, and how large its blocks are. A block is aligned to its size, up to a page.
fn class(layout: Layout) -> (usize, usize) {
    let size = layout.size().max(layout.align()).max(LEAST);
    let size = size.checked_next_power_of_two().unwrap_or(usize::MAX);
    (
        (size.trailing_zeros() - LEAST.trailing_zeros()) as usize,
        size,
    )
}

// SAFETY: a block is in one free list or in use, never both; blocks do not overlap, for `State::fresh` gives out each
// address once.
unsafe impl GlobalAlloc for Memory {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and nothing in here allocates.
        let state = unsafe { &mut *self.0.get() };
        let (class, size) = class(layout);
        match state.free.get_mut(class) {
            None => ptr::null_mut(),
            Some(first) if first.is_null() => state.fresh(size),
            Some(first) => {
                let block = *first;
                // SAFETY: a free block begins with the address of the next.
                *first = unsafe { block.cast::<*mut u8>().read() };
                block
            }
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        let state = unsafe { &mut *self.0.get() };
        if let Some(first) = state.free.get_mut(class(layout).0) {
            // SAFETY: the block is the caller's no more, and at least `LEAST` bytes long.
            unsafe { block.cast::<*mut u8>().write(*first) };
            *first = block;
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller vouches for `size`.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if class(wanted) == class(layout) {
            return block;
        }
        // SAFETY: both blocks hold the smaller of the two sizes, and they are different ones.
        unsafe {
            let other = self.alloc(wanted);
            if !other.is_null() {
                ptr::copy_nonoverlapping(block, other, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            other
        }
    }
}

impl State {
    /// A block that was never given out.
    fn fresh(&mut self, size: usize) -> *mut u8 {
        let start = self.from.next_multiple_of(size.min(PAGE));
        if start == 0 || start.saturating_add(size) > self.to {
            return self.grown(size);
        }
        self.from = start + size;
        start as *mut u8
    }

    fn grown(&mut self, size: usize) -> *mut u8 {
        let pages = size.div_ceil(PAGE);
        let before = core::arch::wasm32::memory_grow(0, pages);
        if before == usize::MAX {
            return ptr::null_mut();
        }
        let start = before * PAGE;
        // What was left of the pages before is too small for this one, and is forgotten.
        (self.from, self.to) = (start + size, start + pages * PAGE);
        start as *mut u8
    }
}
