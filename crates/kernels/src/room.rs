//! Work that is given up where memory has no room for it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Who knows how much memory is left.
pub trait Room: Send + Sync {
    /// Work begins that asks before each operation.
    fn begin(&self);
    /// Whether there is room for one more operation.
    fn left(&self) -> bool;
}

/// There was no room for the next operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

thread_local! {
    static ROOM: RefCell<Option<Arc<dyn Room>>> = const { RefCell::new(None) };
}

/// Does some work, in which each fused operation on the processor, and whoever calls [`ask`], first asks for room. Where there is
/// none the work ends there. What it recorded for a backward pass stays with the engine until later passes forget it.
///
/// # Errors
/// [`NoRoom`], when it ended so.
pub fn within<T>(room: &Arc<dyn Room>, work: impl FnOnce() -> T) -> Result<T, NoRoom> {
    let before = Outer(ROOM.replace(Some(room.clone())));
    room.begin();
    let done = catch_unwind(AssertUnwindSafe(work));
    drop(before);
    done.map_err(|payload| match payload.downcast::<NoRoom>() {
        Ok(no_room) => *no_room,
        Err(panic) => resume_unwind(panic),
    })
}

/// Ends the work of [`within`] if there is no room left; outside of it nothing happens.
pub fn ask() {
    let room = ROOM.with_borrow(Clone::clone);
    if room.is_some_and(|room| !room.left()) {
        // No panic: no message, no hook.
        resume_unwind(Box::new(NoRoom));
    }
}

/// Whose room it was before.
struct Outer(Option<Arc<dyn Room>>);

impl Drop for Outer {
    fn drop(&mut self) {
        ROOM.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Room for so many operations.
    struct Some(AtomicUsize);

    impl Room for Some {
        fn begin(&self) {}
        fn left(&self) -> bool {
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        }
    }

    fn room(operations: usize) -> Arc<dyn Room> {
        Arc::new(Some(operations.into()))
    }

    fn three_operations() -> f32 {
        let x = Tensor::<2>::ones([2, 2], &Device::default());
        let y = (0..3).fold(x, |x, _| crate::pick(x, &[1, 0]));
        y.sum().into_scalar()
    }

    #[test]
    fn work_ends_at_the_first_operation_without_room() {
        assert_eq!(within(&room(3), three_operations), Ok(4.0));
        assert_eq!(within(&room(2), three_operations), Err(NoRoom));
    }

    #[test]
    fn nobody_is_asked_afterwards() {
        let _ = within(&room(0), three_operations);
        assert_eq!(three_operations(), 4.0);
        assert_eq!(
            within(&room(1), || within(&room(9), three_operations)),
            Ok(Ok(4.0)),
            "inside only the inner"
        );
    }

    #[test]
    #[should_panic(expected = "another matter")]
    fn other_panics_go_on() {
        let _ = within(&room(9), || panic!("another matter"));
    }
}
