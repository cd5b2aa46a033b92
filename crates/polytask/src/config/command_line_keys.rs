//! What people look for in the config and what stands on the command line.

/// The path of a table (empty for the root), a key, and the option that it is.
const KEYS: [(&str, &str, &str); 7] = [
    ("", "run", "--run DIR: the directory of the run"),
    ("", "name", "--run DIR: the directory of the run"),
    ("train", "run", "--run DIR: the directory of the run"),
    ("train", "name", "--run DIR: the directory of the run"),
    ("train", "output_dir", "--run DIR: the directory of the run"),
    ("train", "resume", "--resume DIR: goes on with a run"),
    ("train", "resume_from_checkpoint", "--resume DIR: goes on with a run"),
];

/// The remedy for a key that is an option of `polytask train`.
pub(super) fn option(path: &[String], key: &str) -> Option<String> {
    let found = KEYS.iter().find(|(table, name, _)| *name == key && *table == path.join("."));
    found.map(|(_, _, option)| format!("that stands on the command line, polytask train {option}"))
}
