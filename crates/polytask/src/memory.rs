//! Memory of this process, as Linux tells it.

/// The largest resident size so far in bytes; `None` where the system does not tell.
pub fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Pages faulted in so far; `None` where the system does not tell.
pub fn faults() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; `minflt` is the eighth field after it.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(7)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn memory_that_is_touched_shows() {
        let (peak, faults) = (super::peak().unwrap(), super::faults().unwrap());
        let touched = vec![1u8; peak + (64 << 20)];
        assert!(super::peak().unwrap() >= touched.len() && super::faults().unwrap() > faults);
    }
}
