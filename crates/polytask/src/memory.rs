//! Memory of this process, as Linux tells it, and a bound on it.

use crate::allocator;
use model::Parameters;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use train::Room;

/// The largest resident size so far in bytes; `None` where the system does not tell.
pub fn peak() -> Option<usize> {
    kib("/proc/self/status", "VmHWM:")
}

/// Bytes of so many GiB.
pub fn of_gib(gib: f64) -> usize {
    (gib * 1024.0 * 1024.0 * 1024.0) as usize
}

/// Bytes of the gradients of all trained parameters.
pub fn of_gradients(parameters: &Parameters) -> usize {
    parameters.iter().filter(|p| p.trainable).map(|p| 4 * p.size()).sum()
}

/// Bytes that this process may take: what the machine has, or less where its control group allows less. `None` where the system
/// does not tell.
pub fn allowed() -> Option<usize> {
    let machine = kib("/proc/meminfo", "MemTotal:")?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(groups.lines().filter_map(of_group).fold(machine, usize::min))
}

/// The least bound of a control group and those around it, from a line `number:controllers:path` of `/proc/self/cgroup`.
fn of_group(line: &str) -> Option<usize> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        v1 if v1.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // Inside of a container the path of outside may not exist, and the root is the container's own.
    let bound = |group: &Path| {
        fs::read_to_string(Path::new(root).join(group).join(file)).ok()?.trim().parse::<usize>().ok()
    };
    Path::new(path).ancestors().filter_map(bound).min()
}

/// Pages faulted in so far; `None` where the system does not tell.
pub fn faults() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; `minflt` is the eighth field after it.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(7)?.parse().ok()
}

fn kib(file: &str, key: &str) -> Option<usize> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Room for operations under a bound on the resident memory.
pub struct Bound {
    bytes: usize,
    /// What is resident beside tensors: the program, the corpora, and what the allocator could not use again.
    beside: AtomicUsize,
    /// The most that tensors took at any time.
    most: AtomicUsize,
    /// What they took when it was asked last.
    before: AtomicUsize,
    /// The most that was taken from one question to the next, and `at_once` at least: so much should be left.
    largest: AtomicUsize,
    at_once: usize,
}

impl Bound {
    /// At most so many bytes; one operation is expected to take `at_once`, where none took more.
    pub fn new(bytes: usize, at_once: usize) -> Self {
        let (in_use, most) = allocator::in_use();
        Bound {
            bytes,
            beside: 0.into(),
            most: most.into(),
            before: in_use.into(),
            largest: at_once.into(),
            at_once,
        }
    }

    /// Looks at what is resident beside tensors, which grows as the allocator finds no use for some of what was given back.
    fn look_beside(&self) -> usize {
        let beside = peak().unwrap_or(0).saturating_sub(self.most.load(Relaxed));
        self.beside.store(beside, Relaxed);
        beside
    }
}

impl Room for Bound {
    fn begin(&self) {
        let (in_use, most) = allocator::in_use();
        self.most.fetch_max(most, Relaxed);
        self.before.store(in_use, Relaxed);
        self.look_beside();
    }

    fn left(&self) -> bool {
        let (in_use, most) = allocator::in_use();
        self.most.fetch_max(most, Relaxed);
        let took = most.saturating_sub(self.before.swap(in_use, Relaxed));
        let tensors = in_use + self.largest.fetch_max(took, Relaxed).max(took);
        // The system is asked only where it matters.
        let near = tensors + self.beside.load(Relaxed) > self.bytes / 4 * 3;
        let left = !near || tensors + self.look_beside() <= self.bytes;
        if !left {
            // What is tried next is smaller.
            self.largest.store(self.at_once, Relaxed);
        }
        left
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn memory_that_is_touched_shows() {
        let (peak, faults) = (super::peak().unwrap(), super::faults().unwrap());
        let touched = vec![1u8; peak + 64 * MIB];
        assert!(super::peak().unwrap() >= touched.len() && super::faults().unwrap() > faults);
        drop(touched);
        room_ends_where_the_next_operation_would_pass_the_bound();
    }

    #[test]
    fn the_machine_tells_what_is_allowed() {
        assert!(allowed().unwrap() > 64 * MIB);
        assert_eq!(of_group("3:cpuset:/"), None);
        assert_eq!(of_group("nonsense"), None);
    }

    /// Not a test of its own, because both take much at once; the others of this process do not.
    fn room_ends_where_the_next_operation_would_pass_the_bound() {
        let mut bound = Bound::new(0, MIB);
        bound.begin();
        bound.bytes = allocator::in_use().0 + bound.beside.load(Relaxed) + 250 * MIB;
        assert!(bound.left());
        let first = vec![1u8; 100 * MIB];
        assert!(bound.left(), "100 MiB, and 100 more");
        let second = vec![1u8; 100 * MIB];
        assert!(!bound.left(), "200 MiB, and 100 more");
        drop(second);
        assert!(bound.left());
        drop(first);
    }
}
