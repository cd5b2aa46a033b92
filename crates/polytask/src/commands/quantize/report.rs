//! What `quantize` says at the end.

use super::Quantized;
use crate::distill::teachers::shown;
use crate::job::measured::{ModelRow, changes_table, models_table};
use crate::terminal::{figures::change, table::Table};
use ::model::quantization::WeightType;
use ::train::RunDir;

pub fn text(record: &Quantized, out: &RunDir) -> String {
    let mut text = String::new();
    let least = record.weight_type.name();
    if let Some(first) = record.sensitivity.first() {
        let alone = format!("{least} alone");
        let mut header = vec![alone.as_str()];
        header.extend(first.lost.keys().map(String::as_str));
        let mut table = Table::new(&header);
        for part in &record.sensitivity {
            let mut cells = vec![part.part.clone()];
            cells.extend(part.lost.values().map(|lost| change((0.0 - lost) / 100.0)));
            table.row(cells);
        }
        text +=
            &format!("  change of each task's score when a part alone is {least}\n\n{}\n", table.render());
    }
    for more in [WeightType::Int8, WeightType::F32].into_iter().filter(|more| *more > record.weight_type) {
        let of_type = record.parts.iter().filter(|part| part.weight_type == more);
        let names: Vec<&str> = of_type.map(|part| part.name.as_str()).collect();
        if !names.is_empty() {
            text += &format!("  {}: {}\n\n", more.name(), names.join(", "));
        }
    }
    if record.without_groups > 0 {
        text += &format!(
            "  {} matrices are int8 in place of int4: their rows are no multiple of 32 numbers\n\n",
            record.without_groups
        );
    }
    text += &match record.tasks.is_empty() {
        true => "  no task has labelled validation rows: nothing was scored\n".to_owned(),
        false => {
            format!("  validation split, scores in points of a hundred\n\n{}", changes_table(&record.tasks))
        }
    };
    let Quantized { before, after, .. } = record;
    let name = |row: &ModelRow| shown(row.folder.parent().unwrap_or(&row.folder));
    let speed = match (before.rows_per_second(), after.rows_per_second()) {
        (Some(before), Some(after)) => format!(", {:.2} of its rows per second", after / before),
        _ => String::new(),
    };
    text += &format!(
        "\n{}  {least} takes {:.2} of the size on disk, {:.2} of the memory{speed}\n  next: polytask evaluate {}\n",
        models_table([(name(before), before), (name(after), after)]),
        after.bytes as f64 / before.bytes.max(1) as f64,
        after.memory as f64 / before.memory.max(1) as f64,
        out.root().display()
    );
    text
}
