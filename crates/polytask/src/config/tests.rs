//! Broken configs and what the user reads, the starter, the way back through TOML, and thousands of mutilated files.

use super::*;
use std::fs;

const FOLDER: &str = "/home/ada/project";

fn parse_with(text: &str, set: &[&str], define: &[&str]) -> Result<Loaded, Report> {
    let owned = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let (set, define) = (owned(set), owned(define));
    let context = Context {
        name: "job.toml",
        folder: Path::new(FOLDER),
        current: Path::new("/tmp/here"),
        set: &set,
        define: &define,
    };
    parse(text, &context)
}

fn good(text: &str, set: &[&str], define: &[&str]) -> Config {
    parse_with(text, set, define).unwrap_or_else(|report| panic!("{report}")).config
}

fn json(config: &Config) -> serde_json::Value {
    serde_json::to_value(config).unwrap()
}

const SMALL: &str = "\
[model]
backbone = \"models/mini\"
[corpus.c]
train = \"c.jsonl\"
[task.z]
corpus = \"c\"
classification = { text = \"text\", label = \"label\" }
[task.a]
corpus = \"c\"
tagging = {}
";

/// `tests/config/*.toml`, each with what the user reads in the `.txt` beside it. Lines `#set X` and `#define X` stand for
/// the command line. `UPDATE=1 cargo test -p polytask config` writes the texts anew, to be read before they are kept.
#[test]
fn broken_configs_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(files.len() >= 15, "{files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let given = |what: &str| -> Vec<&str> { text.lines().filter_map(|l| l.strip_prefix(what)).collect() };
        let shown = match parse_with(&text, &given("#set "), &given("#define ")) {
            Ok(loaded) => loaded.warnings.to_string(),
            Err(report) => report.to_string(),
        };
        let expected = file.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &shown).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.push(format!("{}:\n{shown}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a line of the starter offers: a key or table behind `#`, with no blank between.
fn offered(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|l| l.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
}

/// The starter with line `i`, which offers something, put in force, and what contradicts it taken out.
fn with_offer(lines: &[&str], i: usize) -> String {
    let mut changed: Vec<&str> = lines.to_vec();
    let open = offered(lines[i]).unwrap();
    changed[i] = open;
    if open.starts_with('[') {
        // Another variant takes the place of the one above, if there is one, and brings its keys.
        let family = open.split('.').next().unwrap();
        if let Some(active) = (0..i).rev().find(|&k| lines[k].starts_with(family)) {
            changed[active] = "";
        }
        for k in i + 1..lines.len() {
            match offered(lines[k]) {
                Some(key) if !key.starts_with('[') => changed[k] = key,
                _ => break,
            }
        }
    } else {
        // Another value of a key that is there already takes its place.
        let key = |line: &str| line.split('=').next().unwrap().trim().to_string();
        let start = (0..i).rev().find(|&k| lines[k].starts_with('[')).unwrap();
        if let Some(written) = (start..i).find(|&k| key(lines[k]) == key(open)) {
            changed[written] = "";
        }
        let is_pretrained = |line: &str| line.starts_with("backbone") && !line.contains('{');
        if open.starts_with("dropout") {
            // The dropout of a pretrained backbone comes with one.
            let backbone = lines.iter().position(|l| l.starts_with("backbone")).unwrap();
            let offers = lines.iter().filter_map(|&line| offered(line));
            changed[backbone] = offers.into_iter().find(|line| is_pretrained(line)).unwrap();
        }
        if changed.iter().any(|line| is_pretrained(line)) {
            changed.retain(|l| !["[tokenizer]", "size =", "lowercase ="].iter().any(|t| l.starts_with(t)));
        }
    }
    changed.join("\n")
}

#[test]
fn the_starter_is_clean_and_so_is_every_line_that_it_offers() {
    let clean = |text: &str, what: &str| {
        let loaded = parse_with(text, &[], &[]).unwrap_or_else(|report| panic!("{what}\n{report}"));
        assert_eq!(loaded.warnings.diagnostics, [], "{what}");
    };
    clean(starter(), "as it is");
    let lines: Vec<&str> = starter().lines().collect();
    let mut tried = 0;
    for (i, line) in lines.iter().enumerate() {
        // The keys of a table that is only offered come with it.
        let below = (0..i).rev().find(|&k| offered(lines[k]).is_none_or(|o| o.starts_with('[')));
        let of_an_offer = below.is_some_and(|k| lines[k].starts_with("#["));
        if offered(line).is_some_and(|open| open.starts_with('[') || !of_an_offer) {
            clean(&with_offer(&lines, i), line);
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn the_resolved_config_reads_as_the_same_config() {
    let more = "[sampling.temperature]\ntemperature = 3\n[balance.static]\nweights = { a = 0.5 }\n[train.early_stopping]\npatience = 2\n";
    let valid = SMALL
        .replace("c.jsonl\"", "c.jsonl\"\nvalidation = ['x.csv', '日本/$${y}.csv']\ndelimiter = \"\\t\"");
    for text in [starter().to_string(), SMALL.to_string(), format!("{valid}{more}")] {
        let config = good(&text, &[], &[]);
        let resolved = config.resolved_toml();
        let again = parse_with(&resolved, &[], &[]).unwrap_or_else(|report| panic!("{report}\n{resolved}"));
        assert_eq!(json(&again.config), json(&config), "{resolved}");
        assert_eq!(again.config.resolved_toml(), resolved);
        for default in ["epochs = ", "[optimizer.adamw]", "beta1 = 0.9", "max_length = 128", "dropout = 0.1"]
        {
            assert!(resolved.contains(default), "{default} is not in\n{resolved}");
        }
    }
}

#[test]
fn the_examples_are_clean() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for file in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if file.extension().is_some_and(|e| e == "toml") {
            let loaded = open(&file, &[], &[]).unwrap_or_else(|report| panic!("{report}"));
            assert_eq!(loaded.warnings.diagnostics, []);
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn tasks_keep_their_order() {
    let config = good(SMALL, &[], &[]);
    assert_eq!(config.task.keys().collect::<Vec<_>>(), ["z", "a"]);
    let resolved = config.resolved_toml();
    assert!(resolved.find("[task.z]").unwrap() < resolved.find("[task.a]").unwrap());
}

#[test]
fn overrides_reach_every_key() {
    let config = good(
        SMALL,
        &[
            "train.epochs=7",
            "optimizer.adamw.learning_rate = 1e-4",
            "balance.uncertainty.learning_rate=0.5",
            "balance.equal={}",
            "model.backbone.bag.width=32",
            "task.z.classification.label=intent",
            "task.\"z\".importance=2",
            "corpus.c.train=[\"a.jsonl\", '/b.jsonl']",
            "corpus.c.validation=2026-01-01",
            "train.export=last",
        ],
        &[],
    );
    assert_eq!(config.train.epochs, 7);
    assert!(matches!(config.balance, balance::BalancerConfig::Equal(_)));
    assert!(
        matches!(&config.model.backbone, model::BackboneConfig::FromScratch(model::FromScratch::Bag(b)) if b.width == 32)
    );
    assert_eq!(config.task.get("z").unwrap().training.importance, 2.0);
    // What is typed at a shell is relative to where the shell is.
    assert_eq!(config.corpus["c"].train.iter().collect::<Vec<_>>(), ["/tmp/here/a.jsonl", "/b.jsonl"]);
    assert_eq!(config.corpus["c"].validation.as_ref().unwrap().to_string(), "/tmp/here/2026-01-01");
    assert_eq!(config.tokenizer, Some(data::TokenizerConfig::default()));
}

/// What begins untrained beside a pretrained backbone learns faster, unless the config says otherwise; the rate is in the resolved
/// config, so that a run goes on with it.
#[test]
fn learning_rates_depend_on_the_backbone_by_default() {
    let heads = |set: &[&str]| {
        let config = good(SMALL, set, &[]);
        let rates = config.settings().rates([]);
        assert_eq!(rates.heads, rates.adapters);
        let again = good(&config.resolved_toml(), &[], &[]).settings().rates([]);
        assert_eq!(again, rates);
        (rates.trunk, rates.heads, rates.decoder)
    };
    let (scratch, decoder) = ("model.backbone={bag={}}", "model.decoder={layers=1}");
    assert_eq!(heads(&[scratch]), (1e-2, 1e-2, 1e-2));
    assert_eq!(heads(&["model.backbone={bert={}}"]), (3e-3, 3e-3, 3e-3));
    assert_eq!(heads(&[scratch, "optimizer.adamw.learning_rate=5e-5"]), (5e-5, 5e-5, 5e-5));
    assert_eq!(heads(&[]), (5e-5, 20.0 * 5e-5, 5e-5));
    let found = heads(&[decoder, "optimizer.adamw.learning_rate=1e-4"]);
    assert_eq!(found, (1e-4, 20.0 * 1e-4, 20.0 * 1e-4));
    assert_eq!(heads(&["optimizer.adamw.head_learning_rate=1e-4"]), (5e-5, 1e-4, 5e-5));
    // Of other optimizers no factor is known.
    assert_eq!(heads(&["optimizer.sgd.learning_rate=0.1"]), (0.1, 0.1, 0.1));
}

#[test]
fn names_are_replaced_and_paths_made_absolute() {
    let text = SMALL.replace(
        "\"c.jsonl\"",
        "['${data}/a.jsonl', '${deep}/b.jsonl', './c.jsonl', 'x-${size}.jsonl', '$${a}$']",
    );
    let paths = "[paths]\ndata = '/mnt'\ndeep = \"${data}/deep\"\nsize = \"big\"\n";
    let train = |define: &[&str]| {
        let config = good(&format!("{text}{paths}"), &[], define);
        config.corpus["c"].train.iter().map(str::to_string).collect::<Vec<_>>()
    };
    let here = |path: &str| format!("{FOLDER}/{path}");
    let end = [here("c.jsonl"), here("x-big.jsonl"), here("${a}$")];
    assert_eq!(train(&[]), [&["/mnt/a.jsonl".to_string(), "/mnt/deep/b.jsonl".into()], &end[..]].concat());
    // A name from the command line comes first; a relative path that begins with it starts at the current folder.
    let first = ["/tmp/here/d/a.jsonl".to_string(), "/tmp/here/d/deep/b.jsonl".into()];
    assert_eq!(train(&["data=d"]), [&first, &end[..]].concat());
    assert_eq!(train(&["data=d", "size=small"])[3], here("x-small.jsonl"));
    let defined = good(SMALL, &[], &["a=${b}"]);
    assert_eq!(defined.paths["a"], "${b}");
    assert_eq!(json(&good(&defined.resolved_toml(), &[], &[])), json(&defined));

    let backbone = |name: &str| match good(&SMALL.replace("models/mini", name), &[], &["m=x"]).model.backbone
    {
        model::BackboneConfig::Pretrained(name) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(backbone("hf:a/b@main"), "hf:a/b@main");
    assert_eq!(backbone("hf:a/${m}"), "hf:a/x");
    assert_eq!(backbone("models/mini"), here("models/mini"));
    assert_eq!(backbone("../mini"), "/home/ada/mini");
    assert_eq!(backbone("/mini"), "/mini");
}

#[test]
fn a_file_that_cannot_be_read_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    let report = open(&file, &[], &[]).unwrap_err().to_string();
    assert!(report.contains("cannot read") && report.contains("polytask init"), "{report}");
    fs::write(&file, b"[model]\nbackbone = \"\xff\"\n").unwrap();
    let report = open(&file, &[], &[]).unwrap_err().to_string();
    assert!(report.contains("a.toml:2:13") && report.contains("UTF-8"), "{report}");
    fs::write(&file, SMALL).unwrap();
    let (config, warnings) = load(&file, &["train.epochs=1".into()], &[]).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(config.corpus["c"].train.to_string(), folder.path().join("c.jsonl").to_string_lossy());
}

#[test]
fn the_schema_describes_every_key() {
    let schema = Schema::of::<Config>();
    let mut bare = Vec::new();
    let mut way = vec![(String::new(), schema.root())];
    let mut seen = 0;
    let mut met = Vec::new();
    while let Some((path, table)) = way.pop() {
        // A method that wraps another one contains the family again.
        let definition = std::ptr::from_ref(schema.resolve(table));
        if met.contains(&definition) {
            continue;
        }
        met.push(definition);
        for (key, found) in schema.keys(table) {
            seen += 1;
            let path = format!("{path}.{key}");
            if schema.description(found).is_none() {
                bare.push(path.clone());
            }
            way.push((path, found));
        }
        way.extend(
            schema
                .variants(table)
                .into_iter()
                .filter_map(|v| Some((format!("{path}.{v}"), schema.child(table, v)?))),
        );
        way.extend(schema::additional(schema.resolve(table)).map(|inner| (format!("{path}.NAME"), inner)));
    }
    assert!(bare.is_empty(), "without a description: {bare:?}");
    assert!(seen > 60, "{seen}");
    let text = json_schema();
    assert!(
        serde_json::from_str::<serde_json::Value>(&text).is_ok()
            && text.contains("\"title\": \"Polytask config\"")
    );
}

/// What is put into configs to break them.
const PIECES: [&str; 39] = [
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    "\n",
    "#",
    "${",
    "}",
    "$${",
    "-1",
    "1e999",
    "nan",
    "0x",
    "999999999999999999999",
    "true",
    "\"日本\"",
    "\u{1b}",
    "\u{feff}",
    "\r\n",
    "[[task]]",
    "[task]",
    "[balance]",
    "[train.early_stopping]",
    "model.x = 1",
    "{}",
    "[]",
    "1979-05-27",
    "\"\"\"",
    "\\",
    "\\u0000",
    ",",
    "é",
    "[schedule.cosine]\n",
    "epochs",
    "[task.intent.tagging]",
];

/// Cuts, doubles, swaps and replaces pieces of good configs: never a panic, and what is taken reads again as the same.
#[test]
fn mutilated_configs_never_panic() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % n.max(1)
    };
    let (mut taken, mut refused) = (0, 0);
    for round in 0..3000 {
        let mut text = if round % 3 == 0 { SMALL } else { starter() }.to_string();
        for _ in 0..1 + below(4) {
            let at = text.floor_char_boundary(below(text.len()));
            let end = text.floor_char_boundary((at + below(12)).min(text.len())).max(at);
            match below(4) {
                0 => text.replace_range(at..end, ""),
                1 => text.insert_str(at, PIECES[below(PIECES.len())]),
                2 => text.replace_range(at..end, PIECES[below(PIECES.len())]),
                _ => {
                    let lines: Vec<&str> = text.split('\n').collect();
                    let (from, to) = (below(lines.len()), below(lines.len()));
                    let mut moved = lines.clone();
                    moved.insert(to, lines[from]);
                    text = moved.join("\n");
                }
            }
        }
        let (set, define) = match below(4) {
            0 => (text[..text.floor_char_boundary(below(60))].to_string(), "data=/x".to_string()),
            1 => (
                format!("train{}epochs={}", PIECES[below(PIECES.len())], PIECES[below(PIECES.len())]),
                "a".into(),
            ),
            _ => ("train.epochs=2".into(), "data=x".into()),
        };
        match parse_with(&text, &[&set], &[&define]) {
            Ok(loaded) => {
                taken += 1;
                let resolved = loaded.config.resolved_toml();
                let again =
                    parse_with(&resolved, &[], &[]).unwrap_or_else(|report| panic!("{report}\n{resolved}"));
                assert_eq!(json(&again.config), json(&loaded.config), "{text}");
            }
            Err(report) => {
                refused += 1;
                assert!(report.errors() > 0 && report.render(true).contains("error"));
            }
        }
    }
    assert!(taken > 100 && refused > 1000, "{taken} taken, {refused} refused");
}
