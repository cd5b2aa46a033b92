//! What the system reports of this process's memory, as Linux does.

use model::Parameters;
use std::fs;
use std::path::Path;

/// The largest resident size so far in bytes; `None` where the system does not report it.
pub fn peak() -> Option<usize> {
    kib("/proc/self/status", "VmHWM:")
}

/// The present resident size of a process in bytes, by its number; `None` where the system does not report it.
pub fn resident(process: u32) -> Option<usize> {
    kib(&format!("/proc/{process}/status"), "VmRSS:")
}

/// Bytes of so many GiB.
pub fn bytes_of_gib(gib: f64) -> usize {
    (gib * 1024.0 * 1024.0 * 1024.0) as usize
}

/// Bytes of the gradients of all trained parameters.
pub fn gradient_bytes(parameters: &Parameters) -> usize {
    parameters.iter().filter(|p| p.trainable).map(|p| 4 * p.size()).sum()
}

/// Bytes that this process may take: what the machine has, or less where its control group allows less. `None` where the system
/// does not report it.
pub fn allowed() -> Option<usize> {
    let machine = kib("/proc/meminfo", "MemTotal:")?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(groups.lines().filter_map(control_group_limit).fold(machine, usize::min))
}

/// The lowest limit of a control group and those around it, from a line `number:controllers:path` of `/proc/self/cgroup`.
fn control_group_limit(line: &str) -> Option<usize> {
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
    let limit = |group: &Path| {
        fs::read_to_string(Path::new(root).join(group).join(file)).ok()?.trim().parse::<usize>().ok()
    };
    Path::new(path).ancestors().filter_map(limit).min()
}

/// Pages faulted in so far without reading a disk; `None` where the system does not report it.
pub fn minor_page_faults() -> Option<u64> {
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn the_machine_reports_what_is_allowed() {
        assert!(allowed().unwrap() > 64 * MIB);
        assert_eq!(control_group_limit("3:cpuset:/"), None);
        assert_eq!(control_group_limit("nonsense"), None);
    }
}
