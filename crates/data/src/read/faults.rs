//! Errors of lines, of which those that many lines have alike are said once.

use std::collections::HashMap;

use crate::{DataError, ErrorList, Place};

/// A bad line.
pub struct Fault {
    /// Where it is.
    pub place: Place,
    /// What is wrong with it.
    pub reason: String,
    /// Whether the reason is one that many lines may have alike.
    pub common: bool,
}

/// The errors of bad lines; a common reason is said at the first line that has it, with the number of all that have it.
pub fn report(faults: &[Fault]) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut lines: HashMap<&str, usize> = HashMap::new();
    faults.iter().filter(|fault| fault.common).for_each(|f| *lines.entry(&f.reason).or_default() += 1);
    for fault in faults {
        errors.push(match lines.remove(fault.reason.as_str()) {
            _ if !fault.common => error(fault, ""),
            None => continue,
            Some(1) => error(fault, ""),
            Some(all) => error(fault, &format!(" (so are {all} lines in all)")),
        });
    }
    errors
}

fn error(fault: &Fault, more: &str) -> DataError {
    fault.place.error(format!("{}{more}", fault.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn common_reasons_are_said_once() {
        let fault = |line, reason: &str, common| Fault {
            place: Place { file: Path::new("a").into(), line },
            reason: reason.into(),
            common,
        };
        let faults = [fault(1, "x", true), fault(2, "y", false), fault(3, "x", true), fault(4, "y", false)];
        let said: Vec<String> =
            report(&faults).finish(()).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(said, ["a:1: x (so are 2 lines in all)", "a:2: y", "a:4: y"]);
    }
}
