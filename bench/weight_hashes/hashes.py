#!/usr/bin/env python3
"""Hashes of small training runs, to prove that a change keeps results bit for bit.

    hashes.py BINARY OUT.json [--keys old|new] [--only NAME[,NAME]] [--keep DIR] [--base BASE.json]
    hashes.py --compare A.json B.json
    hashes.py --list
    hashes.py --make-fixtures BINARY      once, with the old binary: target/weight-hashes/own-bert and own-t5

Every run writes its config (made from OLD key names and RENAMES) and trains with BINARY. Hashed are all tensors of
`model/*.safetensors`, and per-step losses and gradient norms of `metrics.jsonl`. Hashes depend on the processor
(SIMD level) and the toolchain: compare only files made on one machine. POLYTASK_DATA is the folder of corpora. Runs called
`chunk*` need a binary in which the environment variable POLYTASK_TEST_CHUNK bounds `StepPosition::chunk_tokens`; it is
patched in by hand (crates/train/src/run/retry.rs) and never committed.
"""

import argparse, copy, hashlib, json, os, shutil, signal, struct, subprocess, sys, tempfile, time
from pathlib import Path

from corpora import *
from names import *
from runs import *

CHUNK_VARIABLE = "POLYTASK_TEST_CHUNK"



def sha(data):
    return hashlib.sha256(data).hexdigest()


def tensors_of(path):
    """name -> (dtype, shape, bytes)"""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + length :]
    return {name: (t["dtype"], t["shape"], bytes(body[t["data_offsets"][0] : t["data_offsets"][1]]))
            for name, t in header.items()}


def hashes_of_model(folder):
    tensors, combined, values = {}, hashlib.sha256(), []
    for path in sorted(folder.rglob("*.safetensors")):
        file = str(path.relative_to(folder))
        tensors[file] = {}
        for name, (dtype, shape, data) in sorted(tensors_of(path).items()):
            digest = sha(data)
            tensors[file][name] = digest
            combined.update(f"{file}\0{name}\0{dtype}\0{shape}\0{digest}\n".encode())
            values.append(f"{dtype} {shape} {digest}")
    if not tensors:
        raise RuntimeError(f"no safetensors in {folder}")
    # `values` knows no names: it stays where tensors or files are only renamed.
    return {"combined": combined.hexdigest(), "values": sha("\n".join(sorted(values)).encode()), "tensors": tensors}


def field(event, name, keys):
    new = FIELDS[name]
    return event.get(new, event.get(name)) if keys == "new" else event.get(name)


def exact(value):
    """JSON as text, floats to the bit."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{exact(v)}" for k, v in sorted(value.items())) + "}"
    return repr(value)


def hashes_of_metrics(path, keys):
    steps, evaluations, weights = [], [], []
    is_event = lambda event, name: field(event, "event", keys) in ({EVENTS[name], name} if keys == "new" else {name})
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if is_event(event, "step"):
            found = {name: field(event, name, keys) for name in ("step", "losses", "gradient_norm")}
            if None in found.values():
                raise RuntimeError(f"a step without {[k for k, v in found.items() if v is None]}: edit FIELDS")
            steps.append(found)
            weights.append(exact(field(event, "weights", keys)))
        elif is_event(event, "evaluated"):
            evaluations.append(exact([field(event, name, keys) for name in ("step", "scores", "losses", "value")]))
    if not steps:
        raise RuntimeError(f"no steps in {path}: edit EVENTS")
    return {
        "steps": sha("\n".join(f"{s['step']} {exact(s['losses'])} {s['gradient_norm']!r}" for s in steps).encode()),
        "weights": sha("\n".join(weights).encode()),
        "evaluations": sha("\n".join(evaluations).encode()),
        "trace": [[s["step"], s["losses"], s["gradient_norm"]] for s in steps],
    }


# ---------------------------------------------------------------------------------------------------------------------
# Running
# ---------------------------------------------------------------------------------------------------------------------


class Failed(Exception):
    pass


def command(table, keys, **names):
    return [part.format(**names) for part in table.get(keys, table["old"])]


def steps_done(path):
    try:
        return sum(b'"step"' in line and b"gradient_norm" in line or b'"event":"step"' in line
                   for line in path.read_bytes().splitlines())
    except FileNotFoundError:
        return 0


def execute(words, log, chunk, interrupt=None, metrics=None):
    environment = {k: v for k, v in os.environ.items() if k != CHUNK_VARIABLE}
    if chunk:
        environment[CHUNK_VARIABLE] = str(chunk)
    with open(log, "ab") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=environment, stdin=subprocess.DEVNULL)
        while interrupt and process.poll() is None:
            if steps_done(metrics) >= interrupt:
                process.send_signal(signal.SIGINT)
                break
            time.sleep(0.001)
        return process.wait(timeout=300)


def one_run(name, binary, keys, folder, folders):
    config, how = RUNS[name]
    place = folder / name
    place.mkdir()
    run_dir, file, log = place / "run", place / "config.toml", place / "log"
    file.write_text(config_text(config, keys, {**folders, "run": place}), encoding="utf-8")
    names = {"binary": binary, "config": file, "run": run_dir}
    chunk, note = how.get("chunk"), ""
    began = time.monotonic()
    words = command(TRAIN, keys, **names)
    if interrupt := how.get("interrupt"):
        code = execute(words, log, chunk, interrupt, run_dir / METRICS)
        at = steps_done(run_dir / METRICS)
        if code != INTERRUPTED:
            raise Failed(f"was to be interrupted at step {interrupt}, but ended with {code} after step {at}; {tail(log)}")
        note = f"interrupted after step {at}"
        code = execute(command(RESUME, keys, **names), log, chunk)
    else:
        code = execute(words, log, chunk)
    if code != 0:
        raise Failed(f"exit code {code}; {tail(log)}")
    result = {**hashes_of_model(run_dir / MODEL), **hashes_of_metrics(run_dir / METRICS, keys)}
    return {**result, "seconds": round(time.monotonic() - began, 2), **({"note": note} if note else {})}


def tail(log):
    return "".join(log.read_text(encoding="utf-8", errors="replace")[-1500:])


# ---------------------------------------------------------------------------------------------------------------------
# Comparing
# ---------------------------------------------------------------------------------------------------------------------

COMPARED = ("combined", "steps", "weights", "evaluations")


def difference(a, b, metrics=True):
    """What differs between two results, in words; empty where nothing does."""
    out = []
    if a["combined"] != b["combined"]:
        flat = lambda r: {(f, n): h for f, names in r["tensors"].items() for n, h in names.items()}
        x, y = flat(a), flat(b)
        changed = [n for n in x if n in y and x[n] != y[n]]
        gone, new = [n for n in x if n not in y], [n for n in y if n not in x]
        text = "names alone differ: " if a["values"] == b["values"] else ""
        parts = [f"{len(l)} {w} ({', '.join('/'.join(n) for n in l[:3])}{', ...' if len(l) > 3 else ''})"
                 for l, w in [(changed, f"of {len(x)} tensors changed"), (gone, "gone"), (new, "new")] if l]
        out.append(text + ("; ".join(parts) or "shapes or types"))
    if metrics and a["steps"] != b["steps"]:
        for one, other in zip(a["trace"], b["trace"]):
            if one != other:
                off = [abs(p - q) / max(abs(p), 1e-30) for p, q in
                       zip([*one[1].values(), one[2]], [*other[1].values(), other[2]])]
                out.append(f"first other step {one[0]} (largest relative difference {max(off, default=0):.1e})")
                break
        else:
            out.append(f"{len(a['trace'])} steps, then {len(b['trace'])}")
    for key in ("weights", "evaluations") if metrics else ():
        if a.get(key) != b.get(key):
            out.append(key)
    return "; ".join(out)


def compare(a, b, only=None):
    bad = 0
    for name in a["runs"]:
        if only and name not in only:
            continue
        if name not in b["runs"]:
            print(f"{name:28} MISSING")
            bad += 1
            continue
        one, other = a["runs"][name], b["runs"][name]
        if "error" in one or "error" in other:
            found = "FAILED"
        else:
            found = difference(one, other)
        bad += bool(found)
        print(f"{name:28} {'DIFFERS: ' + found if found else 'same'}")
    for name in [n for n in b["runs"] if n not in a["runs"]]:
        print(f"{name:28} only in the second")
    print(f"{bad} differ" if bad else "all the same")
    return bad


def check_equal(runs):
    bad = 0
    for name, other in EQUAL.items():
        if name in runs and other in runs and "error" not in runs[name] and "error" not in runs[other]:
            # A resumed run tells the same steps; its evaluations too.
            if found := difference(runs[other], runs[name]):
                print(f"NOT EQUAL: {name} and {other}: {found}")
                bad += 1
    return bad


def make_fixtures(binary):
    with tempfile.TemporaryDirectory(prefix="hashes-") as place:
        folder = Path(place)
        write_corpora(folder / "data")
        for name in ["own-bert", "own-t5"]:
            source = "make_" + name.replace("-", "_")
            one_run(source, binary, "old", folder, {"data": folder / "data"})
            target = OWN / name
            target.mkdir(parents=True)  # never over an older one
            for file in ["config.json", "model.safetensors", "tokenizer.json"]:
                shutil.copy(folder / source / "run" / MODEL / file, target / file)
            print(f"made {target}")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="?", type=Path)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--keys", choices=["old", "new"], default="old")
    parser.add_argument("--only", help="names, with commas; `chunk*` for all that begin so")
    parser.add_argument("--keep", type=Path, help="work in this (new) folder and leave it")
    parser.add_argument("--base", type=Path, help="compare with these hashes")
    parser.add_argument("--compare", nargs=2, type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--make-fixtures", type=Path, metavar="BINARY")
    args = parser.parse_args()
    if args.list:
        for name, (config, how) in RUNS.items():
            print(name, {k: v for k, v in how.items()}, f"= {EQUAL[name]}" if name in EQUAL else "")
        return 0
    if args.compare:
        a, b = (json.loads(path.read_text()) for path in args.compare)
        return 1 if compare(a, b) else 0
    if args.make_fixtures:
        return make_fixtures(str(args.make_fixtures.resolve()))
    if not args.binary or not args.out:
        parser.error("BINARY and OUT.json")
    binary = args.binary.resolve()
    patched = CHUNK_VARIABLE.encode() in binary.read_bytes()
    wanted = args.only.split(",") if args.only else ["*"]
    fits = lambda name: any(name == w or w.endswith("*") and name.startswith(w[:-1]) for w in wanted)
    names = [name for name in RUNS if fits(name)]
    skipped = [name for name in names if RUNS[name][1].get("chunk") and not patched]
    if skipped:
        print(f"{binary} does not read {CHUNK_VARIABLE} (see the head comment): left out {', '.join(skipped)}")
    folder = args.keep.resolve() if args.keep else Path(tempfile.mkdtemp(prefix="hashes-"))
    folder.mkdir(exist_ok=True)
    runs, began = {}, time.monotonic()
    try:
        folders = {"data": folder / "data", "fixtures": folder / "fixtures"}
        write_corpora(folders["data"])
        folders["fixtures"].mkdir()
        write_fixtures(folders["fixtures"])
        for name in names:
            if name in skipped:
                continue
            try:
                runs[name] = one_run(name, str(binary), args.keys, folder, folders)
                r = runs[name]
                print(f"{name:28} {r['combined'][:16]} {r['steps'][:8]} {r['seconds']:6.2f} s  {r.get('note', '')}", flush=True)
            except (Failed, RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                runs[name] = {"error": str(error)}
                print(f"{name:28} FAILED: {error}", flush=True)
            if not args.keep:
                shutil.rmtree(folder / name, ignore_errors=True)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    document = {"binary": str(binary), "sha256": sha(binary.read_bytes()), "keys": args.keys, "runs": runs}
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    failed = sum("error" in r for r in runs.values())
    unequal = check_equal(runs)
    print(f"{len(runs)} runs, {failed} failed, {unequal} pairs unequal, {time.monotonic() - began:.0f} s -> {args.out}")
    if args.base:
        failed += compare(json.loads(args.base.read_text()), document, set(runs))
    return 1 if failed or unequal else 0


if __name__ == "__main__":
    sys.exit(main())
