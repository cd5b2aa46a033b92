//! A bound on memory that operations check before they allocate.

use burn::tensor::{Device, Tensor};
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
/// where it would be exceeded. The autograd graph of aborted work stays allocated: see [`release_autograd_graph`].
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

/// The most operations, one after the other, of a graph that [`release_autograd_graph`] frees: more than any network here has.
const MAX_GRAPH_DEPTH: usize = 2048;

/// Frees the autograd graphs that nobody can run backward any more. After an aborted pass the engine keeps its graph as long as one
/// of the graph's tensors is alive, and then releases one operation at the end of every other backward pass. So the leaves, such as
/// parameters, have to be new tensors already; here are the backward passes, each of one multiplication.
pub fn release_autograd_graph(device: &Device) {
    for _ in 0..2 * MAX_GRAPH_DEPTH {
        let one = Tensor::<1>::ones([1], device).require_grad();
        drop((one * 2.0).backward());
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
    fn the_graph_of_an_aborted_pass_is_freed() {
        let device = Device::flex().autodiff();
        let first = Tensor::<2>::ones([2, 2], &device).require_grad();
        let first = crate::relu(first);
        let saved = crate::flex::as_flex(&first.clone().inner()).unwrap();
        let all = MAX_GRAPH_DEPTH - 1;
        let chain = || (0..all + 1).fold(first, |y, _| crate::relu(y)).sum().into_scalar::<f32>();
        assert_eq!(with_memory_limit(&memory_limit(all), chain), Err(OutOfMemory));
        assert!(!saved.is_unique(), "the graph of the aborted pass is still there");
        release_autograd_graph(&device);
        assert!(saved.is_unique(), "the first operation of the graph still holds its result");
    }

    #[test]
    #[should_panic(expected = "another matter")]
    fn other_panics_go_on() {
        let _ = with_memory_limit(&memory_limit(9), || panic!("another matter"));
    }
}
