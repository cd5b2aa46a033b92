//! Writes a page with every figure there is, to look at: `cargo run -p polytask-report --example gallery -- FILE`.

use polytask_report::page::{
    Align, Areas, Bar, Cell, Chart, Column, Confusion, Effect, HeatMap, Interval, Intervals, Page, Series,
    SignedCell, SignedHeatMap,
};

fn main() -> std::io::Result<()> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "gallery.html".into());
    let tasks = ["intent", "sentiment", "entities_of_the_news", "question answering"];
    let mut page = Page::new("Gallery", "every figure of a page");
    page.section(
        "Lines",
        "Of each task the loss in training, with what it is smoothed of, and on held-out rows.",
    );
    let noise = |i: usize, task: usize| ((i * 7919 + task * 104_729) % 1000) as f64 / 1000.0 - 0.5;
    let loss = |i: usize, task: usize| (2.0 + task as f64 * 0.4) * (-(i as f64) / 900.0).exp() + 0.1;
    let mut many = Chart::new("step", "loss").log_y();
    for (task, name) in tasks.iter().enumerate() {
        let mut chart = Chart::new("step", "loss");
        chart.line(
            Series::new(*name, (0..3000).map(|i| (i as f64, loss(i, task) * (1.0 + noise(i, task)))))
                .styled(task, 0)
                .pale(),
        );
        chart.line(
            Series::new("training", (0..3000).step_by(30).map(|i| (i as f64, loss(i, task)))).styled(task, 0),
        );
        chart.line(
            Series::new("validation", (0..3000).step_by(300).map(|i| (i as f64, loss(i, task) + 0.12)))
                .styled(task, 1),
        );
        chart.mark("best", 2400.0);
        page.lines(name, &chart);
        many.line(Series::new(*name, (0..3000).step_by(300).map(|i| (i as f64, loss(i, task)))));
    }
    page.lines("all tasks, logarithmic", &many);
    page.section("Shares", "");
    let at: Vec<f64> = (1..30).map(|i| f64::from(i) * 100.0).collect();
    let layer = |task: usize| at.iter().map(|step| 1.0 + task as f64 * step / 1500.0).collect();
    let layers = tasks.iter().enumerate().map(|(task, name)| ((*name).into(), layer(task))).collect();
    page.areas("share of computation", &Areas { x: "step".into(), at: at.clone(), layers });
    page.histogram(
        "lengths",
        "tokens",
        &(0..20)
            .map(|i| Column { label: (i * 10).to_string(), value: f64::from(20 - i), title: String::new() })
            .collect::<Vec<_>>(),
    );
    page.bars("labels", &[Bar::new("a", 3.0, "3 rows"), Bar::new("b", 1.0, "1 row")]);
    page.section("Matrices", "");
    let names: Vec<String> = tasks.iter().map(|name| (*name).to_owned()).collect();
    let cell = |value: f64| {
        Some(SignedCell {
            value,
            uncertain: value.abs() < 0.2,
            text: format!("{value:+.2}"),
            title: String::new(),
        })
    };
    let rows = (0..4).map(|r| {
        (
            names[r].clone(),
            (0..4).map(|c| if r == c { None } else { cell((r as f64 - 1.4 * c as f64) / 4.0) }).collect(),
        )
    });
    let ends = ("conflict".into(), "agreement".into());
    page.signed_heat_map("cosines", &SignedHeatMap { columns: names.clone(), rows: rows.collect(), ends });
    let rows = (0..3).map(|r| {
        (
            names[r].clone(),
            (0..3)
                .map(|c| {
                    Some(Cell {
                        strength: f64::from((r * c) as u8) / 4.0,
                        text: (r * c).to_string(),
                        title: String::new(),
                    })
                })
                .collect(),
        )
    });
    page.heat_map(
        "one side",
        &HeatMap { columns: ["a", "b", "c"].map(String::from).to_vec(), rows: rows.collect() },
    );
    let confusion = |n: usize| Confusion {
        labels: (0..n).map(|i| format!("label number {i}")).collect(),
        counts: (0..n)
            .flat_map(|g| (0..n).map(move |p| (g, p, if g == p { 80 } else { (g * 7 + p * 3) as u64 % 11 })))
            .collect(),
    };
    page.confusion("few labels", &confusion(4));
    page.confusion("fifteen labels", &confusion(15));
    page.confusion("many labels: the most confused pairs", &confusion(16));
    page.section("Intervals", "");
    let item = |label: &str, group: &str, value: f64, effect| Interval {
        label: label.into(),
        group: group.into(),
        value,
        interval: Some((value - 0.8, value + 0.8)),
        effect,
        title: String::new(),
    };
    let items = vec![
        item("intent", "pairs", 1.2, Effect::Helps),
        item("entities_of_the_news", "pairs", -1.3, Effect::Hurts),
        item("sentiment", "all tasks", 0.1, Effect::Unclear),
    ];
    let words = ["helps", "hurts", "unclear"].map(String::from);
    page.intervals("effect of other tasks", &Intervals { axis: "points of macro F1".into(), words, items });
    page.section("Texts", "");
    page.facts(&[
        ("command", "`polytask train config.toml --set train.epochs=3`".into()),
        ("threads", "2".into()),
    ]);
    page.table(&[("task", Align::Words), ("score", Align::Figures)], &[vec!["intent".into(), "93.1".into()]]);
    page.folded("config.toml", &"[train]\nepochs = 3 # a line that is long enough that it has to scroll in its own box at the width of a phone\n".repeat(8));
    std::fs::write(file, page.finish())
}
