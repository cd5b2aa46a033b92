//! A limit on the resident memory of this process.

use super::{allocator, peak};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use train::MemoryLimit;

/// Headroom for operations under a limit on the resident memory.
pub struct ProcessMemoryLimit {
    bytes: usize,
    /// What is resident beside tensors: the program, the corpora, and what the allocator could not use again.
    beside_tensors: AtomicUsize,
    /// The most that tensors took at any time.
    max_in_use: AtomicUsize,
    /// What tensors took at the last check.
    last_in_use: AtomicUsize,
    /// The most that was taken from one check to the next, and `expected_growth` at least: so much should be left.
    max_growth: AtomicUsize,
    expected_growth: usize,
}

impl ProcessMemoryLimit {
    /// At most so many bytes; one operation is expected to take `expected_growth`, where none took more.
    pub fn new(bytes: usize, expected_growth: usize) -> Self {
        let (in_use, most) = allocator::in_use();
        ProcessMemoryLimit {
            bytes,
            beside_tensors: 0.into(),
            max_in_use: most.into(),
            last_in_use: in_use.into(),
            max_growth: expected_growth.into(),
            expected_growth,
        }
    }

    /// Measures what is resident beside tensors, which grows as the allocator finds no use for some of what was freed.
    fn measure_beside_tensors(&self) -> usize {
        let beside = peak().unwrap_or(0).saturating_sub(self.max_in_use.load(Relaxed));
        self.beside_tensors.store(beside, Relaxed);
        beside
    }
}

impl MemoryLimit for ProcessMemoryLimit {
    fn start_step(&self) {
        let (in_use, most) = allocator::in_use();
        self.max_in_use.fetch_max(most, Relaxed);
        self.last_in_use.store(in_use, Relaxed);
        self.measure_beside_tensors();
    }

    fn has_headroom(&self) -> bool {
        let (in_use, most) = allocator::in_use();
        self.max_in_use.fetch_max(most, Relaxed);
        let growth = most.saturating_sub(self.last_in_use.swap(in_use, Relaxed));
        let tensors = in_use + self.max_growth.fetch_max(growth, Relaxed).max(growth);
        // The system is read only where the limit is near.
        let near = tensors + self.beside_tensors.load(Relaxed) > self.bytes / 4 * 3;
        let fits = !near || tensors + self.measure_beside_tensors() <= self.bytes;
        if !fits {
            // What is tried next is smaller.
            self.max_growth.store(self.expected_growth, Relaxed);
        }
        fits
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::memory::{allocator::CountingAllocator, minor_page_faults};

    /// The programs set it in their `main.rs`; here it is that of the tests of this crate.
    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator::new();

    const MIB: usize = 1 << 20;

    #[test]
    fn touched_memory_is_reported() {
        let (before, faults) = (peak().unwrap(), minor_page_faults().unwrap());
        let touched = vec![1u8; before + 64 * MIB];
        assert!(peak().unwrap() >= touched.len() && minor_page_faults().unwrap() > faults);
        drop(touched);
        headroom_ends_where_the_next_operation_would_pass_the_limit();
    }

    /// Not a test of its own, because both take much at once; the others of this process do not.
    fn headroom_ends_where_the_next_operation_would_pass_the_limit() {
        let mut limit = ProcessMemoryLimit::new(0, MIB);
        limit.start_step();
        limit.bytes = allocator::in_use().0 + limit.beside_tensors.load(Relaxed) + 250 * MIB;
        assert!(limit.has_headroom());
        let first = vec![1u8; 100 * MIB];
        assert!(limit.has_headroom(), "100 MiB, and 100 more");
        let second = vec![1u8; 100 * MIB];
        assert!(!limit.has_headroom(), "200 MiB, and 100 more");
        drop(second);
        assert!(limit.has_headroom());
        drop(first);
    }
}
