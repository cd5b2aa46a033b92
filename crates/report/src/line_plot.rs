//! Lines over a common axis, as one SVG image that needs nothing beside it.
//!
//! ```
//! use polytask_report::{LinePlot, Scale};
//!
//! let mut plot = LinePlot::new("loss by learning rate", ("learning rate", Scale::Log), ("loss", Scale::Linear));
//! plot.line("intent", [(1e-5, 2.0), (1e-4, 1.5), (1e-3, 0.7)]);
//! plot.mark("proposed", 1e-4);
//! assert!(plot.svg().starts_with("<svg"));
//! ```

use crate::axis::{Axis, Scale};
use crate::page::escape;
use std::fmt::Write;

/// The image, the field within it that lines are drawn in, and what stands right of it, in pixels.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 44.0;
const FIELD: (f64, f64) = (590.0, 340.0);
const LEGEND: f64 = LEFT + FIELD.0 + 18.0;
/// From the top of one name to that of the next.
const ROW: f64 = 20.0;

/// Colours that people with any colour vision tell apart (Okabe and Ito 2008), dark enough for lines on white.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// How lines are broken, once all colours are in use.
const DASHES: [&str; 3] = ["", "7 4", "2 3"];
/// Longer names are cut in the legend; the whole name shows when pointed at.
const LONGEST: usize = 22;

/// A plot that is filled line by line and drawn once.
#[derive(Debug)]
pub struct LinePlot {
    title: String,
    x: (String, Scale),
    y: (String, Scale),
    lines: Vec<(String, Vec<(f64, f64)>)>,
    marks: Vec<(String, f64)>,
}

impl LinePlot {
    /// An empty plot, with what its axes are called and how values lie on them.
    pub fn new(title: &str, x: (&str, Scale), y: (&str, Scale)) -> LinePlot {
        let axis = |(name, scale): (&str, Scale)| (name.to_owned(), scale);
        LinePlot { title: title.into(), x: axis(x), y: axis(y), lines: Vec::new(), marks: Vec::new() }
    }

    /// Adds a line through points, in their order. One that is not finite, or has no place on an axis, leaves a gap.
    pub fn line(&mut self, name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> &mut LinePlot {
        self.lines.push((name.into(), points.into_iter().collect()));
        self
    }

    /// Marks a place on the axis of x by a dashed line from top to bottom.
    pub fn mark(&mut self, name: &str, x: f64) -> &mut LinePlot {
        self.marks.push((name.into(), x));
        self
    }

    /// The image.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let marks = self.marks.iter().map(|(_, x)| *x);
        let x = Axis::over(self.x.1, points().map(|(x, _)| *x).chain(marks));
        let y = Axis::over(self.y.1, points().map(|(_, y)| *y)).rounded();
        let rows = self.lines.len() + self.marks.len();
        let height = (TOP + FIELD.1 + 56.0).max(TOP + ROW * rows as f64 + 10.0);
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <title>{}</title>\n<desc>{}</desc>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"600\">{}</text>\n",
            escape(&self.title),
            escape(&self.description()),
            escape(&self.title),
        );
        self.axes(&mut out, &x, &y);
        for (i, (name, points)) in self.lines.iter().enumerate() {
            let style = style(i);
            for piece in pieces(points, &x, &y) {
                let _ = writeln!(out, "{}", drawn(&piece, &style));
            }
            legend(&mut out, i, name, &style);
        }
        for (i, (name, at)) in self.marks.iter().enumerate() {
            let style = "stroke=\"#666\" stroke-width=\"1.2\" stroke-dasharray=\"3 3\"";
            if let Some(share) = x.position(*at) {
                let (px, bottom) = (LEFT + share * FIELD.0, TOP + FIELD.1);
                let _ = writeln!(
                    out,
                    "<line x1=\"{px:.1}\" y1=\"{TOP}\" x2=\"{px:.1}\" y2=\"{bottom}\" {style}/>"
                );
                // The same letter at the line and in the legend.
                let letter = letter(i);
                let _ = writeln!(
                    out,
                    "<text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{letter}</text>",
                    TOP - 5.0
                );
            }
            legend(&mut out, self.lines.len() + i, &format!("{}: {name}", letter(i)), style);
        }
        out.push_str("</svg>\n");
        out
    }

    /// What is drawn, in words.
    fn description(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(|(name, _)| name.as_str()).collect();
        let marks: Vec<String> = self.marks.iter().map(|(name, x)| format!("; {name} at {x:.3e}")).collect();
        format!("{} by {}: {}{}", self.y.0, self.x.0, lines.join(", "), marks.concat())
    }

    fn axes(&self, out: &mut String, x: &Axis, y: &Axis) {
        let (right, bottom) = (LEFT + FIELD.0, TOP + FIELD.1);
        for (value, written) in x.ticks() {
            let px = LEFT + x.position(value).unwrap_or(0.0) * FIELD.0;
            let _ = writeln!(
                out,
                "<line x1=\"{px:.1}\" y1=\"{TOP}\" x2=\"{px:.1}\" y2=\"{bottom}\" stroke=\"#e4e4e4\"/>\
                 <text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{written}</text>",
                bottom + 17.0
            );
        }
        for (value, written) in y.ticks() {
            let py = bottom - y.position(value).unwrap_or(0.0) * FIELD.1;
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" y1=\"{py:.1}\" x2=\"{right}\" y2=\"{py:.1}\" stroke=\"#e4e4e4\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{written}</text>",
                LEFT - 7.0,
                py + 4.0
            );
        }
        let (middle_x, middle_y) = (LEFT + FIELD.0 / 2.0, TOP + FIELD.1 / 2.0);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#444\"/>\n\
             <text x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(18 {middle_y}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            bottom + 40.0,
            escape(&self.x.0),
            escape(&self.y.0),
        );
    }
}

/// The colour and the dashes of a line.
fn style(line: usize) -> String {
    let (colour, dashes) = (COLOURS[line % COLOURS.len()], DASHES[line / COLOURS.len() % DASHES.len()]);
    let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
    format!("stroke=\"{colour}\" stroke-width=\"1.8\"{dashes}")
}

/// A, B, C, ...
fn letter(mark: usize) -> char {
    char::from(b'A' + (mark % 26) as u8)
}

/// The pieces of a line without gaps, in pixels.
fn pieces(points: &[(f64, f64)], x: &Axis, y: &Axis) -> Vec<Vec<(f64, f64)>> {
    let place = |&(px, py): &(f64, f64)| {
        Some((LEFT + x.position(px)? * FIELD.0, TOP + (1.0 - y.position(py)?) * FIELD.1))
    };
    let places: Vec<Option<(f64, f64)>> = points.iter().map(place).collect();
    let pieces = places.split(Option::is_none).map(|piece| piece.iter().flatten().copied().collect());
    pieces.filter(|piece: &Vec<_>| !piece.is_empty()).collect()
}

/// A piece of a line; a point alone is a dot.
fn drawn(piece: &[(f64, f64)], style: &str) -> String {
    let points: Vec<String> = piece.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    match piece {
        [(x, y)] => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"none\" {style}/>"),
        _ => format!(
            "<polyline points=\"{}\" fill=\"none\" stroke-linejoin=\"round\" {style}/>",
            points.join(" ")
        ),
    }
}

/// A name right of the field, beside a piece of its line.
fn legend(out: &mut String, row: usize, name: &str, style: &str) {
    let y = TOP + 8.0 + ROW * row as f64;
    let shown: String = match name.chars().count() > LONGEST {
        true => name.chars().take(LONGEST - 1).chain(['…']).collect(),
        false => name.into(),
    };
    let _ = writeln!(
        out,
        "<g><title>{}</title><line x1=\"{LEGEND}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" {style}/>\
         <text x=\"{}\" y=\"{}\">{}</text></g>",
        escape(name),
        LEGEND + 22.0,
        LEGEND + 28.0,
        y + 4.0,
        escape(&shown),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> LinePlot {
        LinePlot::new("a <plot> & more", ("rate", Scale::Log), ("loss", Scale::Linear))
    }

    /// The points of every line, in pixels.
    fn lines(svg: &str) -> Vec<Vec<(f64, f64)>> {
        let points =
            svg.lines().filter_map(|line| line.strip_prefix("<polyline points=\"")?.split('"').next());
        let pair = |pair: &str| {
            let (x, y) = pair.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        points.map(|points| points.split(' ').map(pair).collect()).collect()
    }

    /// Every tag that is opened is closed, in order.
    fn is_balanced(svg: &str) {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("a tag ends");
            let name: String =
                tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphabetic).collect();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn points_lie_where_the_axes_say() {
        let mut plot = plot();
        plot.line("one", [(1e-4, 0.0), (1e-2, 2.0), (1.0, 4.0)]).line("two", [(1e-4, 4.0), (1.0, 4.0)]);
        let svg = plot.svg();
        is_balanced(&svg);
        let (left, right, top, bottom) = (LEFT, LEFT + FIELD.0, TOP, TOP + FIELD.1);
        let middle = ((left + right) / 2.0, (top + bottom) / 2.0);
        assert_eq!(
            lines(&svg),
            [vec![(left, bottom), middle, (right, top)], vec![(left, top), (right, top)]]
        );
        assert!(svg.contains(">1e-2</text>") && svg.contains(">4.0</text>"));
        assert!(svg.contains(COLOURS[0]) && svg.contains(COLOURS[1]));
    }

    #[test]
    fn it_has_a_title_names_and_marks_for_people_and_machines() {
        let mut plot = plot();
        plot.line("a & b", [(0.1, 1.0), (1.0, 2.0)])
            .line(&"long ".repeat(10), [(0.1, 1.0)])
            .mark("best", 0.5);
        let svg = plot.svg();
        is_balanced(&svg);
        assert!(svg.contains("role=\"img\"") && svg.contains("<title>a &lt;plot&gt; &amp; more</title>"));
        assert!(svg.contains("<desc>loss by rate: a &amp; b, long"), "{svg}");
        assert!(svg.contains("; best at 5.000e-1</desc>") && svg.contains(">A: best</text>"));
        assert!(svg.contains("…</text>") && svg.contains(&format!("<title>{}</title>", "long ".repeat(10))));
        assert!(!svg.contains("href") && !svg.contains("<script"));
    }

    #[test]
    fn what_has_no_place_leaves_a_gap() {
        let mut plot = plot();
        let points = [
            (0.0, 1.0),
            (0.1, 1.0),
            (0.2, f64::NAN),
            (0.3, 2.0),
            (0.4, 3.0),
            (0.5, f64::INFINITY),
            (0.6, 1.0),
            (0.7, 1.5),
        ];
        plot.line("gaps", points);
        let svg = plot.svg();
        is_balanced(&svg);
        assert_eq!(lines(&svg).iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(svg.matches("<circle").count(), 1, "the point alone at 0.1");
    }

    #[test]
    fn nothing_one_value_and_many_lines_are_drawn_too() {
        is_balanced(&plot().svg());
        let mut flat = plot();
        flat.line("flat", (1..4).map(|i| (f64::from(i), 7.0)));
        is_balanced(&flat.svg());
        let mut many = LinePlot::new("many", ("step", Scale::Linear), ("share", Scale::Linear));
        for i in 0..30 {
            many.line(&format!("line {i}"), [(0.0, f64::from(i)), (1e6, 1.0)]);
        }
        let svg = many.svg();
        is_balanced(&svg);
        let styles: std::collections::BTreeSet<String> = (0..21).map(style).collect();
        assert_eq!((styles.len(), svg.matches("<polyline").count()), (21, 30));
    }
}
