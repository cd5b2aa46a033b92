//! The two-objective toy problem on which CAGrad, Nash-MTL and FAMO were shown: where do methods end from five starts?
//!
//! ```text
//! cargo run --release -p polytask-balance --example toy -- toy.svg
//! ```
//!
//! 50,000 steps of Adam (learning rate 1e-3) from each start. Prints where x1 ended beside the published implementations'
//! values and, where a file is named, draws the ways. The Pareto set is x1 within -7 and 7 at x2 of about -8.4; the sum of
//! the losses is least at x1 = -5.727.

use polytask_balance::{BalancerConfig, Gramian, StepStatistics};
use std::fmt::Write as _;

type Point = [f64; 2];

const STARTS: [Point; 5] = [[-8.5, 7.5], [0.0, 0.0], [9.0, 9.0], [-7.5, -0.5], [9.0, -1.0]];
const STEPS: usize = 50_000;
/// The first loss is in a unit ten times as large.
const UNIT: f64 = 0.1;

/// Settings of a method, and where the published implementations end. `None`: not at the front.
///
/// Ways through the valley from (9, 9) are sensitive to every rounding, and the published CAGrad, Nash-MTL and FAMO stop
/// their inner problems early or take other constants; where those decide, ours ends elsewhere on the front, or comes to
/// it later (CAGrad from (9, 9) after some 76,000 steps).
struct Row {
    method: &'static str,
    published: [Option<f64>; 5],
}

const ROWS: &[Row] = &[
    Row {
        method: r#"{ "equal": {} }"#,
        published: [Some(-5.727), Some(-5.727), None, Some(-5.727), Some(-5.727)],
    },
    Row { method: r#"{ "cagrad": { "c": 0.4 } }"#, published: [Some(-5.727); 5] },
    Row {
        method: r#"{ "mgda": {} }"#,
        published: [Some(-1.98), Some(6.10), Some(6.98), Some(-4.26), Some(6.99)],
    },
    Row {
        method: r#"{ "pcgrad": {} }"#,
        published: [Some(-4.44), Some(-3.35), None, Some(-3.82), Some(5.02)],
    },
    Row {
        method: r#"{ "nash_mtl": {} }"#,
        published: [Some(-3.10), Some(-2.31), Some(1.87), Some(-3.46), Some(3.33)],
    },
    Row {
        method: r#"{ "famo": { "gamma": 0.0 } }"#,
        published: [Some(-0.49), Some(0.08), Some(0.34), Some(-0.95), Some(1.76)],
    },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut drawing = String::new();
    println!("x1 after {STEPS} steps, ours and published; `-`: not at the front");
    for (at, row) in ROWS.iter().enumerate() {
        let method: BalancerConfig = serde_json::from_str(row.method)?;
        println!("{}", row.method);
        let mut ends = String::new();
        draw_front(&mut drawing, at)?;
        for (start, published) in STARTS.into_iter().zip(row.published) {
            let way = descend(&method, start)?;
            let end = way[way.len() - 1];
            let ours = ((end[1] + 8.4).abs() < 0.3 && end[0].abs() < 7.1).then_some(end[0]);
            let show = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.2}"));
            write!(ends, "  {:>6} /{:>6}", show(ours), show(published))?;
            draw(&mut drawing, at, &way)?;
        }
        println!("{ends}");
        let (x, y) = corner(at);
        writeln!(drawing, r#"<text x="{}" y="{}">{}</text>"#, x + 6.0, y + 16.0, method.name())?;
    }
    if let Some(path) = std::env::args().nth(1) {
        let head = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 480" font-family="sans-serif" font-size="12">"#;
        std::fs::write(
            &path,
            format!("{head}\n<rect width=\"720\" height=\"480\" fill=\"white\"/>\n{drawing}</svg>\n"),
        )?;
        println!("drawn in {path}");
    }
    Ok(())
}

/// The way from a start, every hundredth step and the last.
fn descend(method: &BalancerConfig, start: Point) -> Result<Vec<Point>, Box<dyn std::error::Error>> {
    let mut balancer = method.build(&["first", "second"], &[1.0, 1.0])?;
    let (mut x, mut mean, mut square) = (start, [0.0; 2], [0.0; 2]);
    let mut way = vec![x];
    for step in 1..=STEPS {
        let losses = losses(x);
        let gradients = gradients(x);
        let gramian = Gramian::of_rows(&gradients.each_ref().map(|row| row.as_slice()));
        // FAMO takes logarithms: as in the authors' code, losses are measured from the least they can be.
        let lift = if method.name() == "famo" { 20.0 } else { 0.0 };
        let losses = [losses[0] + UNIT * lift, losses[1] + lift].map(Some);
        let weights = balancer.weights(&StepStatistics {
            losses: &losses,
            gramian: Some(&gramian),
            ..StepStatistics::default()
        });
        for k in 0..2 {
            let slope = weights[0] * gradients[0][k] + weights[1] * gradients[1][k];
            mean[k] = 0.9 * mean[k] + 0.1 * slope;
            square[k] = 0.999 * square[k] + 0.001 * slope * slope;
            let (mean, square) =
                (mean[k] / (1.0 - 0.9f64.powi(step as i32)), square[k] / (1.0 - 0.999f64.powi(step as i32)));
            x[k] -= 1e-3 * mean / (square.sqrt() + 1e-8);
        }
        if step % 100 == 0 {
            way.push(x);
        }
    }
    Ok(way)
}

fn losses([x1, x2]: Point) -> Point {
    let (valley, bowl) = ((0.5 * x2).tanh().max(0.0), (-0.5 * x2).tanh().max(0.0));
    let cliff = |u: f64| u.abs().max(5e-6).ln() + 6.0;
    let round = |x: f64| (x * x + 0.1 * (x2 + 8.0).powi(2)) / 10.0 - 20.0;
    let first = cliff(-0.5 * x1 - 3.5 + x2.tanh()) * valley + round(7.0 - x1) * bowl;
    let second = cliff(-0.5 * x1 + 3.5 - x2.tanh()) * valley + round(x1 + 7.0) * bowl;
    [UNIT * first, second]
}

/// The derivatives, by hand.
fn gradients([x1, x2]: Point) -> [Point; 2] {
    let half = (0.5 * x2).tanh();
    let (valley, bowl) = (half.max(0.0), (-half).max(0.0));
    let steep = 0.5 * (1.0 - half * half);
    let (valley_slope, bowl_slope) = if half > 0.0 { (steep, 0.0) } else { (0.0, -steep) };
    let bend = 1.0 - x2.tanh().powi(2);
    let one = |u: f64, u_slope: f64, x: f64| {
        let (height, inverse) =
            if u.abs() > 5e-6 { (u.abs().ln() + 6.0, 1.0 / u) } else { (5e-6f64.ln() + 6.0, 0.0) };
        let round = (x * x + 0.1 * (x2 + 8.0).powi(2)) / 10.0 - 20.0;
        let along = -0.5 * inverse * valley + 0.2 * x * bowl;
        let across = u_slope * inverse * valley
            + height * valley_slope
            + 0.02 * (x2 + 8.0) * bowl
            + round * bowl_slope;
        [along, across]
    };
    let first = one(-0.5 * x1 - 3.5 + x2.tanh(), bend, x1 - 7.0);
    let second = one(-0.5 * x1 + 3.5 - x2.tanh(), -bend, x1 + 7.0);
    [first.map(|slope| UNIT * slope), second]
}

/// The upper left corner of a method's picture: three in a row.
fn corner(at: usize) -> (f64, f64) {
    ((at % 3) as f64 * 240.0, (at / 3) as f64 * 240.0)
}

/// Where a point is in a method's picture.
fn to_canvas(at: usize, [x1, x2]: Point) -> (f64, f64) {
    let (left, top) = corner(at);
    (left + 120.0 + 10.0 * x1, top + 120.0 - 10.0 * x2)
}

fn draw_front(drawing: &mut String, at: usize) -> std::fmt::Result {
    let ((x1, y1), (x2, y2)) = (to_canvas(at, [-7.0, -8.4]), to_canvas(at, [7.0, -8.4]));
    writeln!(drawing, r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="silver" stroke-width="5"/>"#)
}

fn draw(drawing: &mut String, at: usize, way: &[Point]) -> std::fmt::Result {
    let mut points = Vec::new();
    let mut drawn = (f64::NAN, f64::NAN);
    for (x, y) in way.iter().map(|&point| to_canvas(at, point)) {
        // Less than a pixel on nobody would see.
        if (x - drawn.0).hypot(y - drawn.1) < 1.0 {
            continue;
        }
        points.push(format!("{x:.1},{y:.1}"));
        drawn = (x, y);
    }
    let end = to_canvas(at, way[way.len() - 1]);
    writeln!(drawing, r#"<polyline points="{}" fill="none" stroke="teal"/>"#, points.join(" "))?;
    writeln!(drawing, r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="black"/>"#, end.0, end.1)
}
