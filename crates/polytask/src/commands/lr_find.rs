//! `polytask lr-find`: how the losses of a config move while the learning rate grows, and the rate that this proposes.

use super::train::{stop_flag, write};
use crate::cli;
use crate::config::Config;
use crate::distill::answers;
use crate::failure::{FAILED, Failure};
use crate::job::assemble::{Assembled, assemble};
use crate::terminal::{figures::count, output, table::Table};
use report::{LinePlot, Scale};
use serde_json::{Value, json};
use train::{LrRange, LrRangeTest, TrainError};

/// Rows of the table, but for those with a remark.
const SHOWN: usize = 16;

/// Tries the rates and prints what was found; exit code 1 where it proposes nothing.
pub fn lr_find(args: &cli::LrFind) -> Result<u8, Failure> {
    let config = super::load(&args.file, &args.overrides)?;
    let device = super::open_device(config.train.device)?;
    super::check_writable(args.svg.as_deref())?;
    let range = LrRange { steps: args.steps, from: args.from, to: args.to };
    let (test, tasks) = super::with_threads(config.train.threads, || {
        let Assembled { mut job, .. } = assemble(&config, &device)?;
        answers::learn(&config, &mut job, None, &device, (!args.json, stop_flag()))?;
        let test = train::lr_range_test(&mut job, &config.settings(), &range).map_err(refused)?;
        let tasks: Vec<String> = job.model.tasks.iter().map(|slot| slot.name.clone()).collect();
        Ok((test, tasks))
    })?;
    if let Some(file) = &args.svg {
        write(file, plot(&test, &tasks).svg().as_bytes())?;
    }
    if args.json {
        output::line(as_json(&test));
    } else {
        output::line(format_args!("\n{}\n{}", as_table(&test, &tasks), proposal(&test, args, &config)));
        if let Some(file) = &args.svg {
            output::line(format_args!("  drawn in {}", file.display()));
        }
    }
    Ok(if test.proposed().is_some() { 0 } else { FAILED })
}

/// Settings out of range are reported as the options that they are.
fn refused(error: TrainError) -> Failure {
    match error {
        TrainError::Settings(errors) => {
            Failure::refused(errors.into_iter().map(|error| format!("--{error}")))
        }
        other => Failure::refused([other]),
    }
}

/// Rates at equal distances, and those that something is said of.
fn as_table(test: &LrRangeTest, tasks: &[String]) -> String {
    let mut header = vec!["learning rate", "smoothed loss"];
    header.extend(tasks.iter().map(String::as_str));
    header.push("");
    let mut table = Table::new(&header);
    let every = test.trials.len().div_ceil(SHOWN).max(1);
    for (i, trial) in test.trials.iter().enumerate() {
        let remark = match trial.rate {
            rate if test.steepest == Some(rate) => "steepest descent",
            rate if test.diverged == Some(rate) => "diverged",
            _ if i % every == 0 => "",
            _ => continue,
        };
        let mut cells = vec![format!("{:.2e}", trial.rate), format!("{:.4}", trial.mean)];
        let smoothed = |task| trial.smoothed.get(task).map_or("-".into(), |loss| format!("{loss:.4}"));
        cells.extend(tasks.iter().map(smoothed));
        cells.push(remark.into());
        table.row(cells);
    }
    table.render()
}

/// What the test says, and the command that follows from it.
fn proposal(test: &LrRangeTest, args: &cli::LrFind, config: &Config) -> String {
    let diverged = match test.diverged {
        Some(rate) => format!("training diverged at {rate:.2e}, a tenth of which is {:.2e}", rate / 10.0),
        None => format!("training did not diverge up to {:.2e}: raise --to to see where it does", args.to),
    };
    let steepest = match test.steepest {
        Some(rate) => format!("the loss fell most steeply at {rate:.2e}"),
        None => "the loss never fell".into(),
    };
    let told = format!("  {} steps: {steepest}; {diverged}\n", count(test.trials.len()));
    let Some(rate) = test.proposed() else {
        return format!(
            "{told}  nothing to propose: look at the data (polytask check), or give more --steps\n"
        );
    };
    let (file, name) = (args.file.display(), config.optimizer.name());
    let own = config.optimizer.rates([]);
    let heads = match own.heads / own.trunk {
        1.0 => String::new(),
        ratio => format!(" --set optimizer.{name}.head_learning_rate={:.1e}", rate * ratio),
    };
    let adapters = match own.adapters / own.trunk {
        ratio if own.adapters != own.heads => {
            format!(" --set optimizer.{name}.adapter_learning_rate={:.1e}", rate * ratio)
        }
        _ => String::new(),
    };
    let fixed: Vec<&str> = config
        .task
        .iter()
        .filter(|(_, task)| task.training.head_learning_rate.is_some())
        .map(|(name, _)| name.as_str())
        .collect();
    let fixed = match fixed[..] {
        [] => String::new(),
        _ => format!(
            "\n  (heads with a rate of their own, {}, kept their ratio to the trunk's in the test)",
            fixed.join(", ")
        ),
    };
    format!(
        "{told}  try: polytask train {file} --set optimizer.{name}.learning_rate={rate:.1e}{heads}{adapters}{fixed}\n"
    )
}

fn as_json(test: &LrRangeTest) -> Value {
    let trials = test.trials.iter().map(|trial| {
        json!({ "rate": trial.rate, "losses": trial.losses, "smoothed": trial.smoothed, "mean": trial.mean })
    });
    json!({
        "steepest": test.steepest, "diverged": test.diverged, "proposed": test.proposed(),
        "trials": trials.collect::<Vec<_>>(),
    })
}

/// The smoothed loss of every task, and their mean where there are several.
fn plot(test: &LrRangeTest, tasks: &[String]) -> LinePlot {
    let title = "smoothed loss while the learning rate grows";
    let mut plot = LinePlot::new(title, ("learning rate of the trunk", Scale::Log), ("loss", Scale::Linear));
    if tasks.len() > 1 {
        plot.line("weighted mean", test.trials.iter().map(|trial| (trial.rate, trial.mean)));
    }
    for task in tasks {
        let points = test.trials.iter().filter_map(|trial| Some((trial.rate, *trial.smoothed.get(task)?)));
        plot.line(task, points);
    }
    let tenth = test.diverged.map(|rate| rate / 10.0);
    let marks =
        [("steepest descent", test.steepest), ("tenth of divergence", tenth), ("diverged", test.diverged)];
    for (name, rate) in marks {
        if let Some(rate) = rate {
            plot.mark(name, rate);
        }
    }
    plot
}
