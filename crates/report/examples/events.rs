//! Writes a folder of TensorBoard events of a run that was interrupted after step 60 and resumed from step 50.
//!
//! ```text
//! cargo run -p polytask-report --example events -- FOLDER
//! python scripts/check_tensorboard.py FOLDER
//! ```

use polytask_report::EventFile;
use std::ops::Range;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: events FOLDER")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;

    let mut events = EventFile::create(folder, 1_700_000_000.0, "example")?;
    train(&mut events, 0..60, 1_700_000_000.0)?;
    let mut events = EventFile::create(folder, 1_700_001_000.0, "example")?;
    events.resumed(50, 1_700_001_000.0)?;
    train(&mut events, 50..100, 1_700_001_000.0)?;
    Ok(())
}

fn train(events: &mut EventFile, steps: Range<i64>, wall_time: f64) -> std::io::Result<()> {
    for step in steps {
        let now = wall_time + step as f64;
        events.scalar("loss/intent", step, now, 2.0 / (1.0 + step as f32))?;
        events.scalar("loss/slots", step, now, 4.0 / (2.0 + step as f32))?;
        if step % 20 == 19 {
            events.scalar("validation/slots/span_f1", step, now, 1.0 - 1.0 / step as f32)?;
        }
    }
    events.flush()
}
