//! Curves as tidy CSV: a line for each point.

use super::run_files::RunFiles;

/// The first line.
pub const HEADER: &str = "run,step,epoch,kind,task,metric,value\n";

/// The points of a run, without the first line.
pub fn lines(run: &RunFiles) -> String {
    let mut out = String::new();
    for (key, points) in run.history.curves.iter() {
        let [name, kind, task, metric] = [&run.name, key.kind.name(), &key.task, &key.metric].map(field);
        for point in points {
            out += &format!("{name},{},{},{kind},{task},{metric},{}\n", point.step, point.epoch, point.value);
        }
    }
    out
}

/// A field as RFC 4180 has it.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(
            [super::field("a b"), super::field("a,\"b\"")],
            ["a b", "\"a,\"\"b\"\"\""].map(String::from)
        );
    }
}
