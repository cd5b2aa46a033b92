//! A folder with a small corpus and a config, and the binary to run in it.

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What the program did.
#[allow(dead_code, reason = "each test file reads what it needs")]
pub struct Ran {
    /// Exit code 0.
    pub ok: bool,
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// The folder.
pub struct Bench(tempfile::TempDir);

const CONFIG: &str = r#"[model]
backbone = { bag = { width = 16, window = 1, dropout = 0.1 } }

[tokenizer]
size = 400

[data]
max_length = 32

[corpus.news]
train = "train.jsonl"
validation = "valid.jsonl"
test = "test.jsonl"

[task.topic]
corpus = "news"
classification = { text = "text", label = "topic" }

[task.tags]
corpus = "news"
tagging = { tokens = "tokens", tags = "tags" }

[optimizer.adamw]
learning_rate = 1e-2

[train]
epochs = 3
tokens_per_batch = 128
threads = 1
"#;

#[allow(dead_code, reason = "each test file uses what it needs")]
impl Bench {
    /// A corpus of two easy topics with one entity each.
    pub fn new() -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        bench.write("job.toml", CONFIG);
        for (file, from, to) in [("train.jsonl", 0, 120), ("valid.jsonl", 120, 150), ("test.jsonl", 150, 180)]
        {
            let rows: Vec<String> = (from..to).map(row).collect();
            bench.write(file, &(rows.join("\n") + "\n"));
        }
        bench
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a piece of a file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, text.replacen(from, to, 1));
    }

    /// The binary in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polytask"));
        command.current_dir(self.0.path()).args(arguments).env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.feed(arguments, b"")
    }

    /// Runs it with something on standard input.
    pub fn feed(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        let out = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let ran = Ran {
            ok: out.status.success(),
            code: out.status.code().unwrap_or(-1),
            out: text(out.stdout),
            err: text(out.stderr),
        };
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }
}

fn row(i: usize) -> String {
    let name = ["Ada", "Boris", "Chloé", "東京", "Дмитрий"][i % 5];
    let (topic, words) = match i % 2 {
        0 => ("sport", vec![name, "scored", "a", "goal", "in", "match", ["one", "two", "three"][i % 3]]),
        _ => ("money", vec!["shares", "of", name, "fell", "on", "the", ["market", "exchange"][i / 2 % 2]]),
    };
    let tags: Vec<&str> = words.iter().map(|w| if *w == name { "B-name" } else { "O" }).collect();
    let row = serde_json::json!({ "text": words.join(" "), "tokens": words, "tags": tags, "topic": topic });
    row.to_string()
}

/// What a command that succeeds prints.
pub fn succeed(bench: &Bench, arguments: &[&str]) -> String {
    let ran = bench.run(arguments);
    assert!(ran.ok, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.out
}

/// A file of JSON.
pub fn json(bench: &Bench, path: &str) -> Value {
    let bytes = fs::read(bench.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_slice(&bytes).unwrap()
}

/// What a command is refused for.
pub fn refused(bench: &Bench, arguments: &[&str]) -> String {
    let ran = bench.run(arguments);
    assert_eq!(ran.code, 2, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.err
}

/// A folder with `whole`, a run of its job on a backbone.
pub fn trained(backbone: &str, more: &[&str]) -> Bench {
    let bench = Bench::new();
    let backbone = format!("model.backbone={backbone}");
    succeed(&bench, &[&["train", "job.toml", "--run", "whole", "--set", &backbone], more].concat());
    bench
}
