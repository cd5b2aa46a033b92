"""Reads a folder of event files as TensorBoard does and prints every curve; fails when there is none.

  pip install tensorboard
  python scripts/check_tensorboard.py FOLDER
"""
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

if len(sys.argv) != 2:
    sys.exit(__doc__)
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
tags = sorted(events.Tags()["scalars"])
for tag in tags:
    values = events.Scalars(tag)
    steps = [v.step for v in values]
    order = "in order" if steps == sorted(set(steps)) else "OUT OF ORDER OR REPEATED"
    ends = ", ".join(f"{v.step}: {v.value:.6g}" for v in ([values[0], values[-1]] if len(values) > 1 else values))
    print(f"{tag}  {len(values)} values, {order}; {ends}")
if not tags:
    sys.exit(f"{sys.argv[1]}: no scalars")
