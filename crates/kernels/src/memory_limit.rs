//! A bound on memory that operations check before they allocate.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

// The work is aborted by unwinding: see [`with_memory_limit`].
#[cfg(panic = "abort")]
compile_error!("the memory limit aborts work by unwinding, which needs panic = \"unwind\"");

/// What bounds memory.
pub trait MemoryLimit: Send + Sync {
    /// Work begins that checks the limit before each operation.
    fn start_step(&self);
    /// Whether memory suffices for one more operation.
    fn has_headroom(&self) -> bool;
}

/// The next operation would have exceeded the memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

thread_local! {
    static LIMIT: RefCell<Option<Arc<dyn MemoryLimit>>> = const { RefCell::new(None) };
}

/// Does some work under a limit: each fused operation on the processor, and [`check_memory`], checks it first, and aborts the work
/// where it would be exceeded. The autograd graph of aborted work stays allocated until later backward passes release it.
///
/// # Errors
/// [`OutOfMemory`], when it was aborted.
pub fn with_memory_limit<T>(
    memory_limit: &Arc<dyn MemoryLimit>,
    work: impl FnOnce() -> T,
) -> Result<T, OutOfMemory> {
    let before = Outer(LIMIT.replace(Some(memory_limit.clone())));
    memory_limit.start_step();
    let done = catch_unwind(AssertUnwindSafe(work));
    drop(before);
    done.map_err(|payload| match payload.downcast::<OutOfMemory>() {
        Ok(out_of_memory) => *out_of_memory,
        Err(panic) => resume_unwind(panic),
    })
}

/// Aborts the work of [`with_memory_limit`] if memory does not suffice for another operation; outside of it nothing happens.
pub fn check_memory() {
    let memory_limit = LIMIT.with_borrow(Clone::clone);
    if memory_limit.is_some_and(|memory_limit| !memory_limit.has_headroom()) {
        // No panic: no message, no hook.
        resume_unwind(Box::new(OutOfMemory));
    }
}

/// The limit that held before.
struct Outer(Option<Arc<dyn MemoryLimit>>);

impl Drop for Outer {
    fn drop(&mut self) {
        LIMIT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Memory for so many operations.
    struct Some(AtomicUsize);

    impl MemoryLimit for Some {
        fn start_step(&self) {}
        fn has_headroom(&self) -> bool {
            self.0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |has_headroom| {
                    has_headroom.checked_sub(1)
                })
                .is_ok()
        }
    }

    fn memory_limit(operations: usize) -> Arc<dyn MemoryLimit> {
        Arc::new(Some(operations.into()))
    }

    fn three_operations() -> f32 {
        let x = Tensor::<2>::ones([2, 2], &Device::default());
        let y = (0..3).fold(x, |x, _| crate::gather_rows(x, &[1, 0]));
        y.sum().into_scalar()
    }

    #[test]
    fn work_is_aborted_at_the_first_operation_beyond_the_limit() {
        assert_eq!(with_memory_limit(&memory_limit(3), three_operations), Ok(4.0));
        assert_eq!(with_memory_limit(&memory_limit(2), three_operations), Err(OutOfMemory));
    }

    #[test]
    fn nobody_is_asked_afterwards() {
        let _ = with_memory_limit(&memory_limit(0), three_operations);
        assert_eq!(three_operations(), 4.0);
        assert_eq!(
            with_memory_limit(&memory_limit(1), || with_memory_limit(&memory_limit(9), three_operations)),
            Ok(Ok(4.0)),
            "inside only the inner"
        );
    }

    #[test]
    #[should_panic(expected = "another matter")]
    fn other_panics_go_on() {
        let _ = with_memory_limit(&memory_limit(9), || panic!("another matter"));
    }
}
