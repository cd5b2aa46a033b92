//! Standard output that nobody reads, or that has no space: a training goes on, other commands end with a word or none.

use crate::bench::Bench;
use std::fs::{File, read_to_string};
use std::process::{Command, Output, Stdio};

/// The command with its standard output closed by the reader before it is written.
fn unread(command: &mut Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_training_needs_no_reader() {
    let bench = Bench::new();
    let trained = unread(&mut bench.command(&["train", "job.toml", "--run", "run"]));
    assert_eq!(trained.status.code(), Some(0), "{}", err(&trained));
    assert_eq!(err(&trained), "");
    let metrics = read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    assert!(metrics.lines().last().unwrap().contains("\"finished\""));

    for arguments in [
        &["evaluate", "run"][..],
        &["evaluate", "run", "--json"],
        &["check", "job.toml"],
        &["plan", "job.toml", "--no-timing"],
        &["inspect", "job.toml", "--no-states"],
        &["list"],
        &["explain", "uncertainty"],
        &["schema"],
        &["init", "new.toml"],
    ] {
        let ended = unread(&mut bench.command(arguments));
        assert_eq!((ended.status.code(), err(&ended)), (Some(0), String::new()), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_told() {
    let bench = Bench::new();
    let full = |arguments: &[&str]| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        bench.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap()
    };
    let trained = full(&["train", "job.toml", "--run", "run"]);
    assert_eq!(trained.status.code(), Some(0), "{}", err(&trained));
    assert!(
        err(&trained).contains("warning: not all that was to be read here was written"),
        "{}",
        err(&trained)
    );
    assert!(bench.path("run/model/polytask.json").is_file());
    let scored = full(&["evaluate", "run"]);
    assert_eq!(scored.status.code(), Some(1));
    assert!(err(&scored).starts_with("error: writing standard output: No space left"), "{}", err(&scored));
}
