//! Why a line is not JSON, in words that name the way out.

use super::value::{Problem, parse};

/// A cause, with the test for it: the line, and what the parser says of it.
struct Cause {
    applies: fn(&str, &Problem) -> bool,
    reason: &'static str,
}

/// Known causes, the first that applies counts.
const CAUSES: [Cause; 6] = [
    Cause {
        applies: |line, _| line.strip_suffix(',').is_some_and(|line| parse(line).is_ok()),
        reason: "a comma follows the object; JSON Lines has one object a line and no commas between them",
    },
    Cause {
        applies: |line, problem| NUMBERS.iter().any(|word| rest(line, problem).starts_with(word)),
        reason: "NaN and Infinity are no JSON; write null where a value is missing (pandas: df.to_json, not json.dumps)",
    },
    Cause {
        applies: |line, problem| is_surrogate(problem) && line.to_ascii_lowercase().contains("\\ud"),
        reason: "half of a surrogate pair (\\ud800 to \\udfff stand in pairs); the text was cut inside of a character, remove that half",
    },
    Cause {
        applies: |line, problem| line.starts_with("{'") || rest(line, problem).starts_with('\''),
        reason: "Python's notation and no JSON: single quotes; write the line with json.dumps(row)",
    },
    Cause {
        applies: |line, problem| {
            ["True", "False", "None"].iter().any(|word| rest(line, problem).starts_with(word))
        },
        reason: "Python's notation and no JSON: True, False or None; write the line with json.dumps(row)",
    },
    Cause {
        applies: |line, _| !line.starts_with(['{', '[', '"']),
        reason: "the line begins with no brace; JSON Lines has one object in braces a line (other formats: set the corpus's `format`)",
    },
];

/// What Python writes for floats that JSON does not have. The parser stops inside of the word, so that its ends are here, too.
const NUMBERS: [&str; 6] = ["NaN", "aN", "Infinity", "nfinity", "-Infinity", "nan"];

/// The cause of a problem, if it is a known one.
pub fn cause(line: &str, problem: &Problem) -> Option<&'static str> {
    let line = line.trim_ascii();
    CAUSES.iter().find(|cause| (cause.applies)(line, problem)).map(|cause| cause.reason)
}

/// The line from where the parser stopped.
fn rest<'a>(line: &'a str, problem: &Problem) -> &'a str {
    line.get(problem.at..).unwrap_or_default()
}

fn is_surrogate(problem: &Problem) -> bool {
    problem.reason.contains("surrogate") || problem.reason.contains("hex escape")
}
