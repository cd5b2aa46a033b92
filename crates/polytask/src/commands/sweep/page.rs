//! A sweep as a page: `report.html`.

use super::text::rows;
use super::{Found, Tried};
use crate::config::Config;
use crate::run_report::{environment::Environment, origin};
use crate::terminal::figures::{count, counted, points};
use report::Scale;
use report::page::{Align, Bar, Chart, Page, Series};
use std::collections::BTreeMap;

use Align::{Figures, Words};

/// Trials of the figure of the best.
const BARS: usize = 15;

/// The page as HTML.
pub(super) fn page(found: &Found, config: &Config, environment: Option<&Environment>) -> String {
    let subtitle = format!(
        "{}, by {} on the validation split",
        counted(found.trials.len(), "training"),
        found.criterion
    );
    let mut page = Page::new("Sweep", &subtitle);
    page.section("Trials", "The best first: by how long they were trained, then by their best validation value, in points of a hundred.");
    let bar =
        |one: &Tried| Some(Bar::new(one.name.trim_start_matches("trial-"), one.value?, points(one.value?)));
    page.bars("Best validation values", &found.trials.iter().take(BARS).filter_map(bar).collect::<Vec<_>>());
    let (header, rows) = rows(found);
    let words = found.keys.len();
    let header: Vec<(&str, Align)> = header
        .iter()
        .enumerate()
        .map(|(i, name)| (name.as_str(), if i <= words { Words } else { Figures }))
        .collect();
    page.table(&header, &rows);
    page.section(
        "Keys",
        "What each key does by itself: of numbers the value of every trial, of others the mean and the best.",
    );
    for (index, key) in found.keys.iter().enumerate() {
        by_key(&mut page, key, index, &found.trials);
    }
    origin(&mut page, environment, &config.resolved_toml());
    page.finish()
}

fn by_key(page: &mut Page, key: &str, index: usize, trials: &[Tried]) {
    // Trials of a lower rung were trained for a shorter time: they are drawn apart.
    let mut by_epochs: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
    let mut choices: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut numbers = true;
    for one in trials {
        let Some(value) = one.value else { continue };
        match one.settings[index].parse::<f64>() {
            Ok(at) => by_epochs.entry(one.epochs).or_default().push((at, 100.0 * value)),
            Err(_) => numbers = false,
        }
        choices.entry(&one.settings[index]).or_default().push(value);
    }
    if numbers && choices.len() > 3 {
        let wide = |(low, high): (f64, f64)| low > 0.0 && high / low > 50.0;
        let all = by_epochs.values().flatten().map(|(at, _)| *at);
        let range = (all.clone().fold(f64::INFINITY, f64::min), all.fold(0.0, f64::max));
        let mut chart = Chart::new(key, "points of a hundred");
        chart.x.1 = if wide(range) { Scale::Log } else { Scale::Linear };
        for (epochs, mut points) in by_epochs {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            chart.line(Series::new(counted(epochs, "epoch"), points));
        }
        page.lines(key, &chart);
        return;
    }
    let row = |(name, values): (&&str, &Vec<f64>)| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        vec![(*name).to_owned(), count(values.len()), points(mean), points(best)]
    };
    page.table(
        &[(key, Words), ("trials", Figures), ("mean", Figures), ("best", Figures)],
        &choices.iter().map(row).collect::<Vec<_>>(),
    );
}
