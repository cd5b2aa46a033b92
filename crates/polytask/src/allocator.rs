//! The allocator, and how it treats the memory of a step.

use std::ffi::c_int;

/// glibc gives large buffers back to the system after every step, and the next step faults them in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`, which the Rust bindings leave out.
const PURGE_DELAY: c_int = 15;

/// Keeps freed memory for the next step instead of giving it back to the system after some milliseconds: every step
/// needs the same buffers, and clearing their pages anew cost a tenth of a step.
pub fn keep_memory() {
    // SAFETY: sets one number, which the allocator reads atomically; -1 is its documented "never".
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}
