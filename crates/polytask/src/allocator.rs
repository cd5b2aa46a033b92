//! The allocator: how it treats the memory of a step, and how much is in use.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// glibc gives large buffers back to the system after every step, and the next step faults them in again.
#[global_allocator]
static ALLOCATOR: Counting = Counting(MiMalloc);

/// `mi_option_purge_delay` of `mimalloc.h`, which the Rust bindings leave out.
const PURGE_DELAY: c_int = 15;

/// Smaller pieces are not counted: what a step takes is tensors, and everything else should not pay for it.
const COUNTED: usize = 64 << 10;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Keeps freed memory for the next step instead of giving it back to the system after some milliseconds: every step
/// needs the same buffers, and clearing their pages anew cost a tenth of a step.
pub fn keep_memory() {
    // SAFETY: sets one number, which the allocator reads atomically; -1 is its documented "never".
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}

/// Bytes in large pieces: now, and at most since the last call.
pub fn in_use() -> (usize, usize) {
    let now = IN_USE.load(Relaxed);
    (now, MOST.swap(now, Relaxed).max(now))
}

/// An allocator that counts large pieces.
struct Counting(MiMalloc);

fn taken(bytes: usize) {
    if bytes >= COUNTED {
        let now = IN_USE.fetch_add(bytes, Relaxed) + bytes;
        MOST.fetch_max(now, Relaxed);
    }
}

fn given_back(bytes: usize) {
    if bytes >= COUNTED {
        IN_USE.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: every call goes to the allocator inside as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        given_back(layout.size());
        taken(size);
        // SAFETY: as the caller promises.
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}
