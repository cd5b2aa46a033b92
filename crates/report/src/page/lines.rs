//! Lines over common axes.

use super::escape::escape;
use super::field::{
    FIELD, HEIGHT, LEFT, TOP, WIDTH, axes, dash_of, dashes, fill, legend, number, place, stroke,
};
use super::thin::thinned;
use crate::axis::{Axis, Scale};

/// Lines with fewer points have a dot at each, which tells its value.
const DOTS: usize = 32;

/// A chart of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What lies along it, such as `step`, and how.
    pub x: (String, Scale),
    /// What is drawn, such as `loss`, and how.
    pub y: (String, Scale),
    /// The lines.
    pub series: Vec<Series>,
    /// Places on the axis of x that are marked from top to bottom, with their names.
    pub marks: Vec<(String, f64)>,
}

impl Chart {
    /// A chart without lines, both axes linear.
    pub fn new(x: &str, y: &str) -> Chart {
        Chart {
            x: (x.into(), Scale::Linear),
            y: (y.into(), Scale::Linear),
            series: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// With a logarithmic axis of y.
    pub fn log_y(mut self) -> Chart {
        self.y.1 = Scale::Log;
        self
    }

    /// Adds a line.
    pub fn line(&mut self, series: Series) -> &mut Chart {
        self.series.push(series);
        self
    }

    /// Marks a place on the axis of x.
    pub fn mark(&mut self, name: &str, x: f64) -> &mut Chart {
        self.marks.push((name.into(), x));
        self
    }

    /// Whether no line has a point.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.iter().all(|(x, y)| !(x.is_finite() && y.is_finite())))
    }
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points, in the order of x. What is no finite number, or has no place on an axis, leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Its colour and how it is broken, counted from 0; by its place among the lines where nothing is said.
    pub colour: Option<usize>,
    /// See `colour`.
    pub dash: Option<usize>,
    /// Drawn thin and pale, without an entry in the legend: what lies behind a smoothed line.
    pub pale: bool,
}

impl Series {
    /// A line of a name and its points.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series {
            name: name.into(),
            points: points.into_iter().collect(),
            colour: None,
            dash: None,
            pale: false,
        }
    }

    /// With a colour and a way to be broken, each counted from 0.
    pub fn styled(mut self, colour: usize, dash: usize) -> Series {
        (self.colour, self.dash) = (Some(colour), Some(dash));
        self
    }

    /// Thin and pale.
    pub fn pale(mut self) -> Series {
        self.pale = true;
        self
    }
}

pub(super) fn render(caption: &str, chart: &Chart) -> String {
    let drawn: Vec<Vec<(f64, f64)>> = chart.series.iter().map(|series| thinned(&series.points)).collect();
    let finite = || drawn.iter().flatten().filter(|(x, y)| x.is_finite() && y.is_finite());
    let marks = chart.marks.iter().map(|(_, x)| *x);
    let x = Axis::over(chart.x.1, finite().map(|(x, _)| *x).chain(marks));
    let y = Axis::over(chart.y.1, finite().map(|(_, y)| *y)).rounded();
    let names: Vec<&str> = chart.series.iter().filter(|s| !s.pale).map(|s| s.name.as_str()).collect();
    let mut out = format!(
        "<svg class=\"chart\" width=\"{WIDTH}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" \
         data-x=\"{}\" data-y=\"{}\" data-field=\"{LEFT} {TOP} {} {}\" data-name=\"{}\">\n",
        escape(&format!("{caption}: {} by {}: {}", chart.y.0, chart.x.0, names.join(", "))),
        x.ends(),
        y.ends(),
        FIELD.0,
        FIELD.1,
        escape(&chart.x.0),
    );
    out += &axes((&chart.x.0, &x), (&chart.y.0, &y));
    for (i, (name, at)) in chart.marks.iter().enumerate() {
        if let Some(share) = x.position(*at) {
            let (px, bottom) = place(share, 0.0);
            out += &format!(
                "<g><title>{}: {}</title><path class=\"mark\" d=\"M{px:.1} {TOP}V{bottom}\"/>\
                 <text class=\"quiet middle\" x=\"{px:.1}\" y=\"{:.1}\">{}</text></g>\n",
                escape(name),
                number(*at),
                TOP - 3.0,
                letter(i),
            );
        }
    }
    let mut entries = Vec::new();
    let mut place_among = 0;
    for (series, points) in chart.series.iter().zip(&drawn) {
        let colour = series.colour.unwrap_or(place_among);
        let dash = dash_of(series.dash.unwrap_or(place_among));
        out += &line(series, points, [colour, dash], &x, &y);
        if !series.pale {
            place_among += 1;
            let sample = format!("<path class=\"line {}\" d=\"M0 6H26\"{}/>", stroke(colour), dashes(dash));
            entries.push((sample, series.name.clone()));
        }
    }
    let mark = |(i, (name, at)): (usize, &(String, f64))| {
        let sample = format!(
            "<path class=\"mark\" d=\"M20 0V12\"/><text class=\"quiet\" x=\"4\" y=\"10\">{}</text>",
            letter(i)
        );
        (sample, format!("{name} ({})", number(*at)))
    };
    entries.extend(chart.marks.iter().enumerate().map(mark));
    out + "</svg>\n" + &legend(&entries)
}

/// A, B, C, ...: of a mark, at its line and in the legend.
fn letter(mark: usize) -> char {
    char::from(b'A' + (mark % 26) as u8)
}

/// A line as a group, with what the script at the end of the page tells of its points.
fn line(series: &Series, points: &[(f64, f64)], style: [usize; 2], x: &Axis, y: &Axis) -> String {
    let places: Vec<Option<(f64, f64)>> =
        points.iter().map(|(px, py)| Some(place(x.position(*px)?, y.position(*py)?))).collect();
    let class = format!("line {}{}", stroke(style[0]), if series.pale { " pale" } else { "" });
    let mut out = match series.pale {
        true => "<g>".to_owned(),
        false => {
            let told: Vec<String> = points
                .iter()
                .zip(&places)
                .filter(|(_, place)| place.is_some())
                .map(|((px, py), _)| format!("{} {}", number(*px), number(*py)))
                .collect();
            format!("<g data-line=\"{}\" data-points=\"{}\">", escape(&series.name), told.join(" "))
        }
    };
    for piece in places.split(Option::is_none).filter(|piece| !piece.is_empty()) {
        let piece: Vec<String> = piece.iter().flatten().map(|(px, py)| format!("{px:.1},{py:.1}")).collect();
        match piece.as_slice() {
            // A point alone; where there are few, all have dots.
            [_] if places.len() <= DOTS => {}
            [alone] => {
                out += &format!("<path class=\"{class}\" d=\"M{alone}h.1\" stroke-linecap=\"round\"/>");
            }
            _ => {
                out += &format!(
                    "<polyline class=\"{class}\"{} points=\"{}\"/>",
                    dashes(style[1]),
                    piece.join(" ")
                );
            }
        }
    }
    if places.len() <= DOTS && !series.pale {
        for ((px, py), place) in points.iter().zip(&places) {
            if let Some((cx, cy)) = place {
                out += &format!(
                    "<circle class=\"dot {}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2.3\"><title>{}, {}: {}</title></circle>",
                    fill(style[0]),
                    escape(&series.name),
                    number(*px),
                    number(*py)
                );
            }
        }
    }
    out + "</g>\n"
}
