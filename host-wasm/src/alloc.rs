//! The module's memory: a free list for each power of two. The standard library's allocator for this target is 5 KB of code, and
//! little is allocated here, since no byte of a file enters this memory.
//!
//! Invariant: a block belongs to the list of its size for ever. So blocks are never joined, and the memory never needs more than each
//! size did at its peak.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::memory_grow;
use std::cell::Cell;
use std::ptr;

#[global_allocator]
static MEMORY: Memory = Memory { free: [const { Cell::new(ptr::null_mut()) }; 32], unused: Cell::new((0, 0)) };

const PAGE_BYTES: usize = 65_536;
/// Of all blocks, whose sizes are multiples of it.
const ALIGNMENT: usize = 16;

struct Memory {
    /// By the logarithm of the size. A free block begins with a pointer to the next one.
    free: [Cell<*mut u8>; 32],
    /// Memory that was in no block yet: where it begins and ends.
    unused: Cell<(usize, usize)>,
}

// SAFETY: the module has one thread.
unsafe impl Sync for Memory {}

impl Memory {
    /// The list of a layout; `None` if it asks for an alignment that no block has.
    fn list(&self, layout: Layout) -> Option<(usize, &Cell<*mut u8>)> {
        let bytes = layout.size().max(ALIGNMENT).next_power_of_two();
        let list = self.free.get(bytes.trailing_zeros() as usize)?;
        (layout.align() <= ALIGNMENT).then_some((bytes, list))
    }

    /// A new block; null if there is no more memory.
    fn block(&self, bytes: usize) -> *mut u8 {
        let (mut begin, mut end) = self.unused.get();
        if end - begin < bytes {
            let pages = bytes.div_ceil(PAGE_BYTES);
            let first = memory_grow::<0>(pages);
            if first == usize::MAX {
                return ptr::null_mut();
            }
            let grown = first * PAGE_BYTES;
            if grown != end {
                begin = grown;
            }
            end = grown + pages * PAGE_BYTES;
        }
        self.unused.set((begin + bytes, end));
        ptr::with_exposed_provenance_mut(begin)
    }
}

// SAFETY: a block is in a list only while it is free, and is at least as large as its layout.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((bytes, list)) = self.list(layout) else {
            return ptr::null_mut();
        };
        let first = list.get();
        if first.is_null() {
            return self.block(bytes);
        }
        // SAFETY: a free block begins with a pointer.
        list.set(unsafe { first.cast::<*mut u8>().read() });
        first
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some((_, list)) = self.list(layout) {
            // SAFETY: a block has room for a pointer and is aligned to more than one.
            unsafe { block.cast::<*mut u8>().write(list.get()) };
            list.set(block);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size fits.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if self.list(wanted).map(|(bytes, _)| bytes) == self.list(layout).map(|(bytes, _)| bytes) {
            return block;
        }
        // SAFETY: the old block is at least as large as the smaller of both sizes, and the new one is another one.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
