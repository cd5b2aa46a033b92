//! The same events as `scripts/make_tensorboard_fixture.py` writes with the Python package `tensorboard`, byte for byte.

use polytask_report::EventFile;

#[test]
fn the_bytes_are_those_of_tensorboard() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut events = EventFile::create(folder.path(), 1_700_000_000.25, "golden").expect("created");
    events.scalar("loss/intent", 1, 1_700_000_001.5, 0.75).expect("written");
    events.scalar("score/意図 😀", 300, 1_700_000_002.0, 0.1).expect("written");
    events.scalar("zero", 0, 0.0, 0.0).expect("written");
    events.scalar("", 1 << 40, 1.0, f32::NEG_INFINITY).expect("written");
    events.scalar("nan", -1, 1.0, f32::NAN).expect("written");
    events.resumed(200, 1_700_000_003.0).expect("written");
    events.flush().expect("flushed");
    let ours = std::fs::read(events.path()).expect("readable");
    assert_eq!(ours, include_bytes!("../fixtures/golden.tfevents"));
}
