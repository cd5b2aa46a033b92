//! A page of tables and figures as one HTML file that needs nothing else: no fonts, no network. A script of its own shows the values
//! of lines at the pointer; without it the page says the same.
//!
//! A [`Page`] is filled from top to bottom and written once. Every text given is shown as it is: signs that mean something in
//! HTML are escaped, control characters become `�`. Colours follow the reader's light or dark setting, and are light on paper.
//!
//! ```
//! use polytask_report::page::{Bar, Page};
//!
//! let mut page = Page::new("Corpora", "two corpora");
//! page.section("Labels", "how often each occurs");
//! page.bars("a < b", &[Bar::new("a", 3.0, "3 rows"), Bar::new("b", 1.0, "1 row")]);
//! let html = page.finish();
//! assert!(html.contains("a &lt; b") && html.ends_with("</html>\n"));
//! ```

mod areas;
mod bars;
mod confusion;
mod escape;
mod field;
mod heat_map;
mod histogram;
mod intervals;
mod lines;
mod notes;
mod table;
mod thin;

pub use areas::Areas;
pub use bars::Bar;
pub use confusion::Confusion;
pub use heat_map::{Cell, HeatMap, SignedCell, SignedHeatMap};
pub use histogram::Column;
pub use intervals::{Effect, Interval, Intervals};
pub use lines::{Chart, Series};
pub use table::Align;

use confusion::Rendered;
pub(crate) use escape::escape;
use escape::marked;

/// A page that is being filled.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    subtitle: String,
    /// Headings, for the list at the top.
    sections: Vec<String>,
    body: String,
    /// Whether a row of figures is open.
    figures: bool,
    /// Whether it has lines, whose values a script shows.
    lines: bool,
}

impl Page {
    /// An empty page.
    pub fn new(title: &str, subtitle: &str) -> Page {
        Page {
            title: escape(title),
            subtitle: escape(subtitle),
            sections: Vec::new(),
            body: String::new(),
            figures: false,
            lines: false,
        }
    }

    /// Begins a section, with a sentence or two on how to read it.
    pub fn section(&mut self, heading: &str, about: &str) {
        self.close_figures();
        if !self.sections.is_empty() {
            self.body.push_str("</section>\n");
        }
        let heading = escape(heading);
        self.body += &format!("<section id=\"s{}\">\n<h2>{heading}</h2>\n", self.sections.len());
        self.sections.push(heading);
        if !about.is_empty() {
            self.paragraph(about);
        }
    }

    /// A paragraph. What stands between backticks is code, here and in [`Page::points`].
    pub fn paragraph(&mut self, text: &str) {
        self.close_figures();
        self.body += &format!("<p>{}</p>\n", marked(text));
    }

    /// Numbered points, each with examples that unfold below it.
    pub fn points<'a>(&mut self, points: impl IntoIterator<Item = (&'a str, &'a [String])>) {
        self.close_figures();
        self.body.push_str("<ol class=\"points\">\n");
        for (text, lines) in points {
            self.body += &format!("<li>{}", marked(text));
            if !lines.is_empty() {
                let lines: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
                let folded = "<details><summary>for example</summary><ul>";
                self.body += &format!("{folded}{lines}</ul></details>");
            }
            self.body.push_str("</li>\n");
        }
        self.body.push_str("</ol>\n");
    }

    /// A table: its header with how each column is set, and its rows, which may be shorter.
    pub fn table(&mut self, header: &[(&str, Align)], rows: &[Vec<String>]) {
        self.close_figures();
        self.body += &table::render(header, rows);
    }

    /// Columns that stand side by side on an axis, such as a histogram. `axis` names what the columns' labels count.
    pub fn histogram(&mut self, caption: &str, axis: &str, columns: &[Column]) {
        let svg = histogram::render(caption, axis, columns);
        self.figure(caption, &svg);
    }

    /// Bars below each other, each with its label.
    pub fn bars(&mut self, caption: &str, bars: &[Bar]) {
        let svg = bars::render(caption, bars);
        self.figure(caption, &svg);
    }

    /// A matrix of coloured cells.
    pub fn heat_map(&mut self, caption: &str, map: &HeatMap) {
        let svg = heat_map::render(caption, map);
        self.figure(caption, &svg);
    }

    /// A matrix of cells coloured to both sides of 0.
    pub fn signed_heat_map(&mut self, caption: &str, map: &SignedHeatMap) {
        let svg = heat_map::render_signed(caption, map);
        self.figure(caption, &svg);
    }

    /// Lines over common axes, with a legend. Long lines are drawn by fewer points that keep their extremes.
    pub fn lines(&mut self, caption: &str, chart: &Chart) {
        let svg = lines::render(caption, chart);
        self.lines = true;
        self.figure(caption, &svg);
    }

    /// Shares that add up to 100 %, stacked over an axis.
    pub fn areas(&mut self, caption: &str, areas: &Areas) {
        let svg = areas::render(caption, areas);
        self.figure(caption, &svg);
    }

    /// Estimates with their confidence intervals, a line each.
    pub fn intervals(&mut self, caption: &str, intervals: &Intervals) {
        let svg = intervals::render(caption, intervals);
        self.figure(caption, &svg);
    }

    /// A confusion matrix: a row for each true label, a column for each answer. Of more than 15 labels a table names the pairs that are
    /// confused most often.
    pub fn confusion(&mut self, caption: &str, confusion: &Confusion) {
        match confusion::render(caption, confusion) {
            Rendered::Figure(svg) => self.figure(caption, &svg),
            Rendered::Table(table) => {
                self.close_figures();
                self.body += &format!("<h3>{}</h3>\n{table}", escape(caption));
            }
        }
    }

    /// Names and what they are. What stands between backticks is code.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        self.close_figures();
        self.body += &notes::facts(facts);
    }

    /// A heading within a section.
    pub fn heading(&mut self, text: &str) {
        self.close_figures();
        self.body += &format!("<h3>{}</h3>\n", escape(text));
    }

    /// A long text as it is, such as a config, which unfolds below its name.
    pub fn folded(&mut self, name: &str, text: &str) {
        self.close_figures();
        self.body += &notes::folded(name, text);
    }

    /// Figures that follow each other stand side by side where there is room.
    fn figure(&mut self, caption: &str, svg: &str) {
        if !self.figures {
            self.body.push_str("<div class=\"figures\">\n");
            self.figures = true;
        }
        self.body += &format!("<figure>\n<figcaption>{}</figcaption>\n{svg}</figure>\n", escape(caption));
    }

    fn close_figures(&mut self) {
        if std::mem::take(&mut self.figures) {
            self.body.push_str("</div>\n");
        }
    }

    /// The page as HTML.
    pub fn finish(mut self) -> String {
        self.close_figures();
        if !self.sections.is_empty() {
            self.body.push_str("</section>\n");
        }
        let link = |(i, heading): (usize, &String)| format!("<a href=\"#s{i}\">{heading}</a>\n");
        let links: String = self.sections.iter().enumerate().map(link).collect();
        let (title, subtitle, body, style) =
            (&self.title, &self.subtitle, &self.body, include_str!("style.css"));
        let script = match self.lines {
            true => format!("<script>\n{}</script>\n", include_str!("hover.js")),
            false => String::new(),
        };
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>\n{style}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n<p>{subtitle}</p>\n\
             <nav>\n{links}</nav>\n</header>\n<main>\n{body}</main>\n{script}</body>\n</html>\n"
        )
    }
}
