//! The allocator: free lists by size, powers of two.
//!
//! The standard library's is 5 KB of code, a twentieth of the module; this is a tenth of that. No byte of a file is in this
//! memory, so there is little of it: rows, texts, tasks. A block that was freed serves the next one of its size; memory is
//! never given back, nor would a page take it back.
//!
//! Invariant: a block is in one free list or in use, never both; blocks do not overlap, for [`Blocks::fresh`] gives out each
//! address once.

use std::alloc::Layout;
use std::ptr;

/// Every block is at least so large and so aligned: room for the link of a free list.
const LEAST: usize = 16;
const PAGE: usize = 1 << 16;
/// Sizes up to 2^31.
const CLASSES: usize = 28;

struct Blocks {
    /// The first free block of each size; each begins with the address of the next.
    free: [*mut u8; CLASSES],
    /// What is left of the last pages that were taken.
    from: usize,
    to: usize,
    /// Takes so many pages more; their address, 0 where there are none.
    more_pages: fn(usize) -> usize,
}

/// Which free list, and how large its blocks are. A block is aligned to its size, up to a page.
fn class(layout: Layout) -> (usize, usize) {
    let size = layout.size().max(layout.align()).max(LEAST);
    let size = size.checked_next_power_of_two().unwrap_or(usize::MAX);
    let class = size.trailing_zeros() - LEAST.trailing_zeros();
    (class as usize, size)
}

impl Blocks {
    const fn new(more_pages: fn(usize) -> usize) -> Self {
        Blocks {
            free: [ptr::null_mut(); CLASSES],
            from: 0,
            to: 0,
            more_pages,
        }
    }

    /// A block, or null.
    fn take(&mut self, layout: Layout) -> *mut u8 {
        let (class, size) = class(layout);
        match self.free.get_mut(class) {
            None => ptr::null_mut(),
            Some(first) if first.is_null() => self.fresh(size),
            Some(first) => {
                let block = *first;
                // SAFETY: a free block begins with the address of the next.
                *first = unsafe { block.cast::<*mut u8>().read() };
                block
            }
        }
    }

    /// # Safety
    /// The block is from [`take`](Self::take) with this layout, and in use no more.
    unsafe fn give_back(&mut self, block: *mut u8, layout: Layout) {
        if let Some(first) = self.free.get_mut(class(layout).0) {
            // SAFETY: the block is the caller's no more, and at least `LEAST` bytes long.
            unsafe { block.cast::<*mut u8>().write(*first) };
            *first = block;
        }
    }

    /// # Safety
    /// As [`give_back`](Self::give_back), and a layout of `size` with the same alignment is valid.
    unsafe fn resize(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller vouches for `size`.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if class(wanted) == class(layout) {
            return block;
        }
        let other = self.take(wanted);
        if !other.is_null() {
            // SAFETY: both blocks hold the smaller of the two sizes, and they are different ones.
            unsafe {
                ptr::copy_nonoverlapping(block, other, size.min(layout.size()));
                self.give_back(block, layout);
            }
        }
        other
    }

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
        let start = (self.more_pages)(pages);
        if start != 0 {
            // What was left of the pages before is too small for this one, and is forgotten.
            (self.from, self.to) = (start + size, start + pages * PAGE);
        }
        start as *mut u8
    }
}

#[cfg(target_arch = "wasm32")]
mod global {
    use super::{Blocks, PAGE};
    use std::alloc::{GlobalAlloc, Layout};
    use std::cell::UnsafeCell;

    struct Memory(UnsafeCell<Blocks>);

    // SAFETY: this target has one thread.
    unsafe impl Sync for Memory {}

    #[global_allocator]
    static MEMORY: Memory =
        Memory(UnsafeCell::new(Blocks::new(
            |pages| match core::arch::wasm32::memory_grow(0, pages) {
                usize::MAX => 0,
                before => before * PAGE,
            },
        )));

    impl Memory {
        #[expect(clippy::mut_from_ref, reason = "nobody else has it: see below")]
        fn blocks(&self) -> &mut Blocks {
            // SAFETY: one thread, and nothing that `Blocks` does allocates.
            unsafe { &mut *self.0.get() }
        }
    }

    // SAFETY: `Blocks` keeps to it.
    unsafe impl GlobalAlloc for Memory {
        #[inline(never)]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            self.blocks().take(layout)
        }

        #[inline(never)]
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the caller vouches for the block.
            unsafe { self.blocks().give_back(block, layout) }
        }

        #[inline(never)]
        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: the caller vouches for the block and the size.
            unsafe { self.blocks().resize(block, layout, size) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::{alloc, handle_alloc_error};
    use std::cell::Cell;

    thread_local! {
        static PAGES: Cell<usize> = const { Cell::new(0) };
    }

    /// Pages for a test; they are never freed, as those of a module.
    fn pages(count: usize) -> usize {
        PAGES.set(PAGES.get() + count);
        let layout = Layout::from_size_align(count * PAGE, PAGE).unwrap();
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        start as usize
    }

    struct Block {
        at: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Block {
        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: it is in use, and marked to its end below.
            unsafe { std::slice::from_raw_parts_mut(self.at, self.layout.size()) }
        }

        fn marked(at: *mut u8, layout: Layout, mark: u8) -> Block {
            assert_eq!(at as usize % layout.align(), 0);
            // SAFETY: the block is as long as its layout says.
            unsafe { ptr::write_bytes(at, mark, layout.size()) };
            Block { at, layout, mark }
        }
    }

    /// Numbers that only look random.
    fn next(state: &mut u64) -> usize {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*state >> 33) as usize
    }

    #[test]
    fn blocks_keep_what_is_written_to_them_whatever_else_is_taken_and_given_back() {
        let (mut blocks, mut state) = (Blocks::new(pages), 1);
        let mut used: Vec<Block> = Vec::new();
        for step in 0..20_000 {
            let size = 1 + next(&mut state) % (1 << (next(&mut state) % 18));
            let layout = Layout::from_size_align(size, 1 << (next(&mut state) % 5)).unwrap();
            let index = next(&mut state) % (used.len() + 1);
            if next(&mut state).is_multiple_of(2) || index == used.len() {
                let at = blocks.take(layout);
                used.push(Block::marked(at, layout, step as u8));
                continue;
            }
            let mut block = used.swap_remove(index);
            let mark = block.mark;
            assert!(block.bytes().iter().all(|byte| *byte == mark));
            // SAFETY: the block was taken with this layout, and is not used again.
            unsafe {
                if next(&mut state).is_multiple_of(2) {
                    blocks.give_back(block.at, block.layout);
                } else {
                    let kept = size.min(block.layout.size());
                    let at = blocks.resize(block.at, block.layout, size);
                    let layout = Layout::from_size_align(size, block.layout.align()).unwrap();
                    assert!((0..kept).all(|byte| at.add(byte).read() == mark));
                    used.push(Block::marked(at, layout, mark));
                }
            }
        }
        assert!(used.len() > 50);
    }

    #[test]
    fn what_was_given_back_serves_the_next_one() {
        let mut blocks = Blocks::new(pages);
        let layout = Layout::from_size_align(300, 8).unwrap();
        for round in 0..1000 {
            let taken: Vec<_> = (0..200).map(|_| blocks.take(layout)).collect();
            for block in taken {
                // SAFETY: it was taken just now.
                unsafe { blocks.give_back(block, layout) };
            }
            assert_eq!(PAGES.get(), 2, "round {round}");
        }
    }

    #[test]
    fn where_there_are_no_pages_there_is_no_block() {
        let mut blocks = Blocks::new(|_| 0);
        let layout = Layout::from_size_align(10, 1).unwrap();
        assert!(blocks.take(layout).is_null());
    }
}
