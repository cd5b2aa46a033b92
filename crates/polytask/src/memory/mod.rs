//! Memory of this process: the allocator, what the system reports, a limit on it, and batches that fit into it.

#[allow(unsafe_code)]
pub mod allocator;
pub(crate) mod memory_plan;
mod process;
mod process_memory_limit;

pub use process::{allowed, bytes_of_gib, gradient_bytes, minor_page_faults, peak, resident};
pub use process_memory_limit::ProcessMemoryLimit;
