//! A page from texts of every sort: well formed, nothing of them markup, nothing loaded from elsewhere.

use polytask_report::page::{
    Align, Areas, Bar, Cell, Chart, Column, Confusion, Effect, HeatMap, Interval, Intervals, Page, Series,
    SignedCell, SignedHeatMap,
};

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
    figures(&mut page, text);
    page.paragraph(text);
    page.facts(&[(text, text.into()), ("", String::new())]);
    page.heading(text);
    page.folded(text, text);
    page.section("second", "");
    page.bars("none", &[]);
    page.histogram("none", "", &[]);
    page.heat_map("none", &HeatMap::default());
    page.signed_heat_map("none", &SignedHeatMap::default());
    page.lines("none", &Chart::new("", ""));
    page.areas("none", &Areas::default());
    page.intervals("none", &Intervals::default());
    page.confusion("none", &Confusion::default());
    page.finish()
}

/// Every figure of runs and comparisons, its numbers broken where they can be.
fn figures(page: &mut Page, text: &str) {
    let broken = [(0.0, 1.0), (1.0, f64::NAN), (f64::INFINITY, 2.0), (3.0, -4.0), (4.0, 5.0)];
    let mut chart = Chart::new(text, text).log_y();
    chart
        .line(Series::new(text, broken))
        .line(Series::new(text, broken).styled(77, 77).pale())
        .mark(text, 2.0);
    page.lines(text, &chart);
    let layers = vec![(text.into(), vec![1.0, f64::NAN, -1.0, 2.0]), (text.into(), vec![3.0, 1.0])];
    page.areas(text, &Areas { x: text.into(), at: vec![0.0, 1.0, 2.0, f64::NAN, 4.0], layers });
    page.areas(text, &Areas { x: text.into(), at: vec![7.0], layers: vec![(text.into(), vec![0.5])] });
    let cell =
        |value, uncertain| Some(SignedCell { value, uncertain, text: text.into(), title: text.into() });
    let rows = vec![(text.into(), vec![cell(-0.5, true), cell(f64::NAN, false), None, cell(-9.0, false)])];
    let (columns, ends) = (vec![text.into(); 4], (text.into(), text.into()));
    page.signed_heat_map(text, &SignedHeatMap { columns, rows, ends });
    let item = |value: f64, interval, effect| Interval {
        label: text.into(),
        group: text.into(),
        value,
        interval,
        effect,
        title: text.into(),
    };
    let items = vec![
        item(0.5, Some((0.2, 0.9)), Effect::Helps),
        item(-0.5, Some((f64::NEG_INFINITY, 0.9)), Effect::Hurts),
        item(f64::NAN, None, Effect::Unclear),
    ];
    page.intervals(
        text,
        &Intervals { axis: text.into(), words: [text, text, text].map(String::from), items },
    );
    for labels in [2, 20] {
        let counts = vec![(0, 0, 5), (0, 1, 2), (0, 1, 2), (99, 0, 1), (0, 99, 1)];
        page.confusion(text, &Confusion { labels: vec![text.into(); labels], counts });
    }
}

/// The names of the tags in their order, `/name` where one closes.
fn tags(html: &str) -> Vec<&str> {
    // Signs of comparison in the script are no tags.
    let (drawn, _) = html.split_once("<script").expect("a script at the end");
    drawn
        .split('<')
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
    assert!(!html.contains("<script>alert") && !html.contains("onload='"), "{html}");
    assert_eq!(html.matches("<script").count(), 1, "its own");
    assert!(!html.chars().any(|c| c.is_control() && c != '\n') && !html.contains('\u{202e}'));
    assert!(html.contains("&lt;/title&gt;&lt;script&gt;") && html.contains("東京"));
    let (drawn, _) = html.split_once("<script").expect("a script at the end");
    assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "numbers are numbers");
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
    assert_eq!(open, ["html", "body"], "but what the script stands in");
    assert!(html.ends_with("</script>\n</body>\n</html>\n"));
}

#[test]
fn nothing_is_loaded() {
    let html = page("plain");
    for outside in ["http:", "https:", "src=", "url(", "@import", "<link", "fetch", "import("] {
        // The name of a language of markup is no address.
        assert!(!html.replace("http://www.w3.org/2000/svg", "").contains(outside), "{outside}");
    }
    let mut plain = Page::new("a page without lines", "");
    plain.bars("bars", &[Bar::new("a", 1.0, "1")]);
    assert!(!plain.finish().contains("<script"), "what has no lines needs no script");
    assert!(html.contains("prefers-color-scheme: dark"));
}

/// The text of all elements that have a class.
fn of_class<'a>(html: &'a str, class: &str) -> Vec<&'a str> {
    let opening = format!("class=\"{class}\"");
    html.split('<')
        .filter(|piece| piece.contains(&opening))
        .filter_map(|piece| piece.split('>').nth(1))
        .collect()
}

#[test]
fn lines_tell_their_values_and_differ_in_more_than_colour() {
    let mut page = Page::new("t", "");
    let mut chart = Chart::new("step", "loss");
    chart.line(Series::new("train", [(1.0, 2.5), (2.0, 1.25)])).line(Series::new("held out", [(2.0, 1.5)]));
    page.lines("loss", &chart);
    let html = page.finish();
    assert!(
        html.contains("<title>train, 2: 1.250</title>") && html.contains("<title>held out, 2: 1.500</title>")
    );
    assert!(html.contains("data-line=\"train\" data-points=\"1 2.500 2 1.250\""));
    assert!(html.contains("class=\"line s0\" d=\"M0 6H26\"/>"), "the first is whole");
    assert!(
        html.contains("class=\"line s1\" d=\"M0 6H26\" stroke-dasharray=\"7 3\"/>"),
        "the second is broken"
    );
}

#[test]
fn a_long_line_is_short_on_the_page() {
    let mut page = Page::new("t", "");
    let mut chart = Chart::new("step", "loss");
    let spike = |i: i32| if i == 54_321 { 17.5 } else { 1.0 + f64::from(i % 7) };
    chart.line(Series::new("train", (0..100_000).map(|i| (f64::from(i), spike(i)))));
    page.lines("loss", &chart);
    let html = page.finish();
    assert!(html.len() < 60_000, "{}", html.len());
    assert!(html.contains("54321 17.50"), "the one extreme is there");
}

#[test]
fn shares_add_up() {
    let mut page = Page::new("t", "");
    let layers = vec![("a".into(), vec![1.0, 3.0]), ("b".into(), vec![1.0, 1.0])];
    page.areas("shares", &Areas { x: "step".into(), at: vec![10.0, 20.0], layers });
    let html = page.finish();
    assert!(html.contains("<title>a: 50.0 % at first, 75.0 % at last</title>"));
    assert!(html.contains("<title>b: 50.0 % at first, 25.0 % at last</title>"));
    assert_eq!(of_class(&html, "end onarea"), ["a 75 %", "b 25 %"]);
}

#[test]
fn effects_are_said_by_signs_and_words() {
    let mut page = Page::new("t", "");
    let item = |value: f64, effect| Interval {
        label: "a".into(),
        group: "pairs".into(),
        value,
        interval: Some((value - 0.1, value + 0.1)),
        effect,
        title: String::new(),
    };
    let items = vec![item(0.2, Effect::Helps), item(-0.2, Effect::Hurts), item(0.01, Effect::Unclear)];
    let words = ["helps", "hurts", "unclear"].map(String::from);
    page.intervals("effects", &Intervals { axis: "points".into(), words, items });
    let html = page.finish();
    assert_eq!(of_class(&html, "plus").last(), Some(&"▲"));
    assert_eq!(of_class(&html, "minus").last(), Some(&"▼"));
    assert!(html.contains("+0.2000") && html.contains("</tspan> helps") && html.contains("-0.2000"));
    assert_eq!(of_class(&html, "strong"), ["pairs"], "a group is named once");
}

#[test]
fn what_may_be_chance_is_pale_and_has_a_broken_border() {
    let mut page = Page::new("t", "");
    let cell =
        |value, uncertain| Some(SignedCell { value, uncertain, text: "x".into(), title: String::new() });
    let rows = vec![("a".into(), vec![cell(-1.0, false), cell(1.0, true)])];
    let (columns, ends) = (vec!["a".into(), "b".into()], ("hurts".into(), "helps".into()));
    page.signed_heat_map("effects", &SignedHeatMap { columns, rows, ends });
    let html = page.finish();
    assert!(
        html.contains("class=\"minus\" fill-opacity=\"1.00\"")
            && html.contains("class=\"plus\" fill-opacity=\"0.30\"")
    );
    assert!(html.contains("class=\"none uncertain\"") && html.contains("may be chance"));
}

#[test]
fn a_confusion_matrix_counts_and_many_labels_are_pairs() {
    let counts = vec![(0, 0, 8), (0, 1, 2), (1, 1, 5)];
    let labels = |n: usize| (0..n).map(|i| format!("l{i}")).collect();
    let mut page = Page::new("t", "");
    page.confusion("few", &Confusion { labels: labels(2), counts: counts.clone() });
    let few = page.finish();
    assert!(few.contains("<title>gold l0, predicted l1: 2, 20.0 % of 10</title>"));
    let mut page = Page::new("t", "");
    page.confusion("many", &Confusion { labels: labels(16), counts });
    let many = page.finish();
    assert!(many.contains("<td>l0</td><td>l1</td><td class=\"n\">2</td><td class=\"n\">20.0 %</td>"));
    assert_eq!(many.matches("<tr>").count(), 2, "the header and the one pair that was confused");
}
