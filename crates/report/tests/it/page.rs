//! A page from texts of every sort: well formed, nothing of them markup, nothing loaded from elsewhere.

use polytask_report::page::{Align, Bar, Cell, Column, HeatMap, Page};

const HOSTILE: &str = "</title><script>alert(1)</script>\u{0}\u{1b}[2J\u{202e}\" onload='x' & 東京";

fn page(text: &str) -> String {
    let mut page = Page::new(text, text);
    page.section(text, text);
    page.points([(text, [text.to_owned()].as_slice()), (text, [].as_slice())]);
    page.table(&[(text, Align::Words), ("n", Align::Figures)], &[vec![text.into(), "1".into()], vec![]]);
    let column = |value| Column { label: text.into(), value, title: text.into() };
    page.histogram(text, text, &[column(0.0), column(3.0), column(f64::NAN), column(-1.0)]);
    page.bars(text, &[Bar::new(text, 2.0, text), Bar::new("", f64::INFINITY, "")]);
    let cell = |strength| Some(Cell { strength, text: text.into(), title: text.into() });
    let rows = vec![(text.into(), vec![None, cell(0.3)]), (text.into(), vec![cell(f64::NAN), cell(7.0)])];
    page.heat_map(text, &HeatMap { columns: vec![text.into(), text.into()], rows });
    page.paragraph(text);
    page.section("second", "");
    page.bars("none", &[]);
    page.histogram("none", "", &[]);
    page.heat_map("none", &HeatMap::default());
    page.finish()
}

/// The names of the tags in their order, `/name` where one closes.
fn tags(html: &str) -> Vec<&str> {
    html.split('<')
        .skip(1)
        .filter_map(|piece| {
            let (tag, _) = piece.split_once('>').expect("every tag ends");
            let name = tag.split([' ', '\n']).next().unwrap_or_default();
            (!tag.ends_with('/') && !tag.starts_with('!')).then_some(name)
        })
        .collect()
}

#[test]
fn hostile_text_stays_text() {
    let html = page(HOSTILE);
    assert!(!html.contains("<script") && !html.contains("onload='"), "{html}");
    assert!(!html.chars().any(|c| c.is_control() && c != '\n') && !html.contains('\u{202e}'));
    assert!(html.contains("&lt;/title&gt;&lt;script&gt;") && html.contains("東京"));
    assert!(!html.contains("NaN") && !html.contains("inf"), "numbers are numbers");
    assert_eq!(tags(&html), tags(&page("plain")), "no text changes what the page is made of");
}

#[test]
fn every_element_is_closed() {
    let html = page("a < b");
    let mut open = Vec::new();
    for tag in tags(&html) {
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "closed in their order"),
            None if tag == "meta" => {}
            None => open.push(tag),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn nothing_is_loaded() {
    let html = page("plain");
    for outside in ["http:", "https:", "src=", "url(", "@import", "<link", "<script"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("prefers-color-scheme: dark"));
}
