"""Writes crates/report/tests/fixtures/golden.tfevents with TensorBoard's own record writer and protobuf messages.

  pip install tensorboard
  python scripts/make_tensorboard_fixture.py
"""
import math
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

FILE = Path(__file__).resolve().parent.parent / "crates" / "report" / "tests" / "fixtures" / "golden.tfevents"


def scalar(tag, step, wall_time, value):
    return Event(wall_time=wall_time, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


FILE.parent.mkdir(parents=True, exist_ok=True)
with FILE.open("wb") as file:
    writer = RecordWriter(file)
    for event in [
        Event(wall_time=1_700_000_000.25, file_version="brain.Event:2"),
        scalar("loss/intent", 1, 1_700_000_001.5, 0.75),
        scalar("score/意図 😀", 300, 1_700_000_002.0, 0.1),
        scalar("zero", 0, 0.0, 0.0),
        scalar("", 1 << 40, 1.0, -math.inf),
        scalar("nan", -1, 1.0, math.nan),
        Event(wall_time=1_700_000_003.0, step=200, session_log=SessionLog(status=SessionLog.START)),
    ]:
        writer.write(event.SerializeToString())
