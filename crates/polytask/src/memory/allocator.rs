//! The allocator: how it treats the memory of a step, and how much is in use.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// `mi_option_purge_delay` of `mimalloc.h`, which the Rust bindings leave out.
const PURGE_DELAY: c_int = 15;

/// Smaller allocations are not counted: what a step takes is tensors, and everything else should not pay for it.
const MIN_COUNTED: usize = 64 << 10;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MAX_IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Keeps freed memory for the next step instead of returning it to the system after some milliseconds: every step
/// needs the same buffers, and clearing their pages anew cost a tenth of a step.
pub fn disable_purge() {
    // SAFETY: sets one number, which the allocator reads atomically; -1 is its documented "never".
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}

/// Bytes in large allocations: now, and at most since the last call. Both are 0 in a program whose global allocator is
/// not a [`CountingAllocator`].
pub fn in_use() -> (usize, usize) {
    let now = IN_USE.load(Relaxed);
    (now, MAX_IN_USE.swap(now, Relaxed).max(now))
}

/// mimalloc, with large allocations counted. glibc returns large buffers to the system after every step, and the next
/// step faults them in again. A program sets it with `#[global_allocator]`.
pub struct CountingAllocator(MiMalloc);

impl CountingAllocator {
    /// The allocator.
    pub const fn new() -> CountingAllocator {
        CountingAllocator(MiMalloc)
    }
}

impl Default for CountingAllocator {
    fn default() -> Self {
        CountingAllocator::new()
    }
}

fn count_allocation(bytes: usize) {
    if bytes >= MIN_COUNTED {
        let now = IN_USE.fetch_add(bytes, Relaxed) + bytes;
        MAX_IN_USE.fetch_max(now, Relaxed);
    }
}

fn count_deallocation(bytes: usize) {
    if bytes >= MIN_COUNTED {
        IN_USE.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: every call goes to the allocator inside as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_allocation(layout.size());
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_allocation(layout.size());
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_deallocation(layout.size());
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_deallocation(layout.size());
        count_allocation(size);
        // SAFETY: as the caller promises.
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}
