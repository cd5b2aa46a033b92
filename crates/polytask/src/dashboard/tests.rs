use super::*;
use crate::commands;
use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

const STARTED: &str = r#"{"event":"started","step":0,"resumed":false,"steps":400,"epochs":[200,200],"tasks":["topic","a\u001b[31mb","東京"],"trunk_parameters":1,"head_parameters":{}}"#;

fn step(step: usize) -> String {
    let loss = 2.0 / (1.0 + step as f64 / 20.0);
    format!(
        r#"{{"event":"step","step":{step},"epoch":{},"losses":{{"topic":{loss},"a\u001b[31mb":0.5,"東京":1e-5}},"weights":{{"topic":1.0,"a\u001b[31mb":0.25}},"num_targets":{{"topic":2}},"learning_rate":0.1,"gradient_norm":2.0,"task_gradients":{{"norms":{{"topic":1.0}},"cosines":[{{"tasks":["topic","a\u001b[31mb"],"cosine":-0.5}}],"conflicts":0.75}},"rows":2,"tokens":100,"seconds":0.5,"elapsed":{}}}"#,
        1 + step / 200,
        0.5 * step as f64
    )
}

fn evaluated(step: usize, score: f64) -> String {
    format!(
        r#"{{"event":"evaluated","step":{step},"epoch":1,"split":"validation","scores":{{"topic":{{"accuracy":{score}}}}},"primary":{{"topic":"accuracy"}},"losses":{{"topic":0.7}},"mean":{score},"value":{score},"best":true,"rows":3,"seconds":0.1,"elapsed":{}}}"#,
        0.5 * step as f64
    )
}

/// A run of `steps` steps, with evaluations after 50 and 100 of them.
fn write_run(root: &Path, steps: usize) {
    fs::create_dir_all(root).unwrap();
    let mut lines = vec![STARTED.to_owned()];
    for at in 1..=steps {
        lines.push(step(at));
        match at {
            50 => lines.push(evaluated(50, 0.75)),
            100 => lines.push(evaluated(100, 0.7)),
            _ => {}
        }
    }
    fs::write(root.join("metrics.jsonl"), lines.join("\n") + "\n").unwrap();
    fs::write(root.join("config.toml"), "").unwrap();
}

fn append(root: &Path, line: &str) {
    let path = root.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text + line + "\n").unwrap();
}

/// The lines of a frame.
fn frame(app: &mut App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(app, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(line).collect()
}

fn opened(root: &Path, owner: Owner) -> App {
    let mut app = App::new(root, owner);
    app.refresh();
    app
}

fn press(app: &mut App, code: KeyCode) -> Action {
    app.take(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn interrupt(app: &mut App) -> Action {
    app.take(&Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)))
}

fn braille(lines: &[String]) -> usize {
    lines.iter().flat_map(|line| line.chars()).filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count()
}

#[test]
fn a_run_is_shown_on_screens_of_all_sizes() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), 120);
    let mut app = opened(dir.path(), Owner::Watch);
    let lines = frame(&mut app, 80, 24);
    let all = lines.join("\n");
    assert!(lines[0].contains("training"), "{all}");
    assert!(lines[1].contains("━") && lines[1].trim_end().ends_with("30 %"), "{all}");
    // 280 steps of half a second are left; 100 tokens in half a second.
    for piece in ["step 120/400", "epoch 1/2", "elapsed 1:00", "left 2:20", "200 tokens/s"] {
        assert!(all.contains(piece), "{piece}\n{all}");
    }
    let topic = lines.iter().find(|line| line.starts_with("topic ")).expect("a line of the task");
    let cells: Vec<&str> = topic.split_whitespace().collect();
    // The running mean of the losses; scores in points; the change since the evaluation before.
    let mut mean = crate::history::RunningMean::default();
    (1..=120).for_each(|at| mean.add(2.0 / (1.0 + f64::from(at) / 20.0)));
    let loss = format!("{:.3}", mean.value());
    assert_eq!(cells, ["topic", &loss, "accuracy", "70.00", "75.00", "-5.00", "1.000"], "{all}");
    assert!(all.contains("a\\u001b[31mb"), "escaped: {all}");
    assert!(all.contains("topic: loss") && braille(&lines) > 20, "{all}");
    // Small and smallest screens.
    let small = frame(&mut app, 40, 10);
    let text = small.join("\n");
    assert!(text.contains("step 120/400") && small.iter().any(|line| line.starts_with("topic ")), "{text}");
    assert_eq!(braille(&small), 0, "{text}");
    for (width, height) in [(1, 1), (2, 1), (8, 2), (9, 3), (12, 4), (20, 5), (30, 7), (300, 3), (5, 90)] {
        frame(&mut app, width, height);
    }
    // Where not all tasks fit, which do is told.
    let text = frame(&mut app, 60, 15).join("\n");
    assert!(text.contains("tasks 1–2 of 3"), "{text}");
    // A large one has the charts of all tasks beside each other.
    let large = frame(&mut app, 200, 60);
    let text = large.join("\n");
    let heads = large.iter().find(|line| line.contains("topic: loss")).expect("charts");
    assert!(heads.contains("a\\u001b[31mb: loss"), "{text}");
    assert!(braille(&large) > 100, "{text}");
}

#[test]
fn keys_turn_views_and_leave() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), 120);
    let mut app = opened(dir.path(), Owner::Watch);
    let expected = [
        (View::Scores, "topic: accuracy"),
        (View::Balance, "weight"),
        (View::Compute, "learning rate: 0.100"),
        (View::Losses, "topic: loss"),
    ];
    for (view, title) in expected {
        assert_eq!(press(&mut app, KeyCode::Tab), Action::Stay);
        assert_eq!(app.view(), view);
        let text = frame(&mut app, 120, 50).join("\n");
        assert!(text.contains(title), "{title}\n{text}");
    }
    press(&mut app, KeyCode::Left);
    press(&mut app, KeyCode::Left);
    assert_eq!(app.view(), View::Balance);
    let text = frame(&mut app, 120, 50).join("\n");
    assert!(text.contains("cosine of gradients") && text.contains("pairs of tasks in conflict"), "{text}");
    // Scrolling ends at the last task and chart.
    for _ in 0..100 {
        press(&mut app, KeyCode::Down);
    }
    frame(&mut app, 60, 20);
    assert!(app.scroll <= 4, "{}", app.scroll);
    for key in [KeyCode::Esc, KeyCode::Char('q')] {
        assert_eq!(press(&mut app, key), Action::Leave);
    }
    assert_eq!(interrupt(&mut app), Action::Leave);
}

#[test]
fn a_training_is_asked_before_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), 10);
    let mut app = opened(dir.path(), Owner::Training);
    assert_eq!(press(&mut app, KeyCode::Char('q')), Action::Stay);
    assert!(frame(&mut app, 80, 24)[23].contains("stop after this step"));
    assert_eq!(press(&mut app, KeyCode::Char('n')), Action::Stay);
    assert!(!frame(&mut app, 80, 24)[23].contains("stop after this step"));
    press(&mut app, KeyCode::Char('q'));
    assert_eq!(press(&mut app, KeyCode::Char('q')), Action::Stop);
    assert!(frame(&mut app, 80, 24)[23].contains("stopping after this step"));
    // Further keys do not lose what is being saved; only Ctrl-C does.
    assert_eq!(press(&mut app, KeyCode::Char('q')), Action::Stay);
    assert_eq!(interrupt(&mut app), Action::Stop);
}

#[test]
fn where_a_run_stands_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::write(root.join("config.toml"), "").unwrap();
    let mut run = LiveRun::new(root);
    run.refresh();
    assert_eq!(run.standing(), RunStanding::NotBegun(false));
    let text = frame(&mut opened(root, Owner::Watch), 80, 24).join("\n");
    assert!(text.contains("not begun"), "{text}");
    write_run(root, 3);
    run.refresh();
    assert_eq!(run.standing(), RunStanding::Training);
    // An hour ago, by a process that is none.
    fs::write(root.join("lock"), "0\n").unwrap();
    let ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(root.join("metrics.jsonl")).unwrap().set_modified(ago).unwrap();
    run.refresh();
    assert_eq!(run.standing().short(), "killed?");
    assert!(run.describe().contains("no new event for 1:00:0"), "{}", run.describe());
    append(root, r#"{"event":"interrupted","step":3,"steps":400,"checkpoint":"c"}"#);
    run.refresh();
    assert_eq!(run.standing(), RunStanding::Interrupted);
    append(root, "\0damaged");
    append(root, r#"{"event":"finished","step":3,"result":3,"model":"m","tokens":1,"elapsed":2.0}"#);
    run.refresh();
    assert_eq!(run.standing(), RunStanding::Finished(false));
    let text = frame(&mut opened(root, Owner::Watch), 80, 24).join("\n");
    assert!(text.contains("1 line is damaged") && text.contains("100 %"), "{text}");
    // The run is removed while it is watched.
    fs::remove_file(root.join("metrics.jsonl")).unwrap();
    run.refresh();
    assert_eq!(run.standing(), RunStanding::NotBegun(false));
}

#[test]
fn a_directory_is_a_list_and_enter_opens_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write_run(&root.join("one"), 100);
    let study = root.join("two");
    for folder in ["configs", "trials"] {
        fs::create_dir_all(study.join(folder)).unwrap();
    }
    for file in ["study.json", "config.toml"] {
        fs::write(study.join(file), "{}").unwrap();
    }
    for trial in ["a", "b"] {
        fs::write(study.join(format!("configs/{trial}.toml")), "").unwrap();
    }
    write_run(&study.join("trials/a"), 40);
    fs::create_dir(root.join("unrelated")).unwrap();
    assert!(is_folder(root) && is_folder(&study) && !is_folder(&root.join("one")));
    assert!(!is_folder(&root.join("unrelated")));
    let mut app = opened(root, Owner::Watch);
    let lines = frame(&mut app, 90, 12);
    let text = lines.join("\n");
    assert!(lines.iter().any(|line| line.starts_with("one ") && line.contains("100/400")), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("two ") && line.contains("2 runs")), "{text}");
    assert!(!text.contains("unrelated"), "{text}");
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    app.refresh();
    let lines = frame(&mut app, 90, 12);
    let text = lines.join("\n");
    assert!(lines.iter().any(|line| line.starts_with("a ") && line.contains("10 %")), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("b ") && line.contains("waiting")), "{text}");
    press(&mut app, KeyCode::Enter);
    assert!(frame(&mut app, 90, 30).join("\n").contains("step 40/400"));
    // What is waiting is not opened.
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    assert!(frame(&mut app, 90, 12).join("\n").contains("waiting"));
    assert_eq!(press(&mut app, KeyCode::Esc), Action::Stay);
    assert_eq!(press(&mut app, KeyCode::Esc), Action::Leave);
    for (width, height) in [(8, 2), (20, 3), (40, 10), (200, 60)] {
        frame(&mut opened(root, Owner::Watch), width, height);
    }
}

#[test]
fn what_is_no_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let args = |path: &Path| crate::cli::Watch { path: path.to_path_buf(), once: true };
    for path in [dir.path(), &dir.path().join("missing")] {
        let refused = commands::watch::watch(&args(path)).unwrap_err();
        assert!(refused.code == 2 && refused.messages[0].contains("is no run"), "{refused:?}");
    }
}
