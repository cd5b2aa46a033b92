"""A tokenizer.json from a stranger: refused, or used; no panic, no abort, no hang."""

import json
import shutil

from bench import CONFIG, flip, leaves, replaced, without_hashes
from models import QUESTIONS, copied

VALUES = [
    None, True, 0, -1, 1, 600, 319, 320, 4294967295, 4294967296, 1.5, "", "x", " ", "e", "[CLS]", "(a+)+$", "(?<=a)b", "[", "\\",
    ".*", "(?:)", "\x00", "é" * 50, "x" * 5000, [], [1], {}, {"Regex": "(a|a)*b"}, {"Regex": ""}, {"String": ""},
]
PARTS = {
    "normalizer": [
        {"type": "Replace", "pattern": {"String": ""}, "content": "x"}, {"type": "Replace", "pattern": {"Regex": ""}, "content": "xx"},
        {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, {"type": "Precompiled", "precompiled_charsmap": "/////w=="},
        {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 100}] * 4},
        {"type": "Prepend", "prepend": "x" * 100000}, {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "NFKC"},
        {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}, {"type": "BertNormalizer"}, {"type": "Nmt"},
    ],
    "pre_tokenizer": [
        {"type": "Split", "pattern": {"Regex": "(a|aa)+$"}, "behavior": "Isolated", "invert": False},
        {"type": "Split", "pattern": {"String": ""}, "behavior": "Removed", "invert": True}, {"type": "Digits", "individual_digits": True},
        {"type": "CharDelimiterSplit", "delimiter": "a"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, {"type": "UnicodeScripts"},
        {"type": "Sequence", "pretokenizers": []}, {"type": "FixedLength", "length": 0}, {"type": "FixedLength", "length": 1},
    ],
    "post_processor": [
        {"type": "BertProcessing", "sep": ["[SEP]", 600], "cls": ["[CLS]", 2]}, {"type": "BertProcessing", "sep": ["", 0], "cls": ["", 0]},
        {"type": "RobertaProcessing", "sep": ["x", 4294967295], "cls": ["x", 0], "trim_offsets": True, "add_prefix_space": True},
        {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}], "pair": [], "special_tokens": {}},
        {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B", "type_id": 0}}], "pair": [{"Sequence": {"id": "B", "type_id": 9}}], "special_tokens": {}},
        {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}, {"type": "Sequence", "processors": []},
    ],
    "decoder": [
        {"type": "WordPiece", "prefix": "", "cleanup": True}, {"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": True},
        {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 100000}, {"type": "Strip", "content": "a", "start": 1 << 40, "stop": 1},
    ],
    "model": [
        {"type": "WordLevel", "vocab": {}, "unk_token": "x"}, {"type": "WordLevel", "vocab": {"x": 0}, "unk_token": "y"},
        {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]}, {"type": "Unigram", "unk_id": 0, "vocab": []},
        {"type": "BPE", "vocab": {"a": 0, "b": 4294967295}, "merges": []}, {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]},
        {"type": "BPE", "vocab": {"a": 0, "aa": 5}, "merges": ["a a"], "byte_fallback": True},
        {"type": "WordPiece", "vocab": {"x": 0}, "unk_token": "x", "continuing_subword_prefix": "x" * 100000, "max_input_chars_per_word": 1 << 60},
    ],
}


def attack(bench, tally):
    whole = bench.copy(bench.base)
    if bench.run(whole, "train", "job.toml", "--run", "run").code != 0:
        raise SystemExit("tokenizers: no model")
    without_hashes(whole / "run/model")
    text = (whole / "run/model/tokenizer.json").read_text()
    value = json.loads(text)
    random = bench.random("tokenizers")
    tries = [(replaced(value, (part,), new), f"{part} {str(new)[:80]}") for part, all in PARTS.items() for new in all]
    places = list(leaves(value))
    # Of a vocabulary each entry is like the others.
    few = [path for path in places if path[:2] not in (("model", "vocab"), ("model", "merges"))]
    places = few * 4 + random.sample(places, min(len(places), 2 * len(few)))
    for _ in range(bench.size(10000)):
        path, new = random.choice(places), random.choice(VALUES)
        tries.append((replaced(value, path, new), f"{list(path)} = {str(new)[:40]!r}"))
    tries = [(json.dumps(changed).encode(), what) for changed, what in tries]
    tries += [flip(text.encode(), random) for _ in range(bench.size(5000))]
    tries += [(text.encode()[:length], f"cut to {length}") for length in range(0, len(text), max(1, len(text) // bench.size(2000)))]
    tries += [(b"[" * 200000, "deep"), (b'{"model":' * 5000, "deep objects"), (b"\xff" * 10, "not UTF-8")]
    parts = [(part, new) for part, all in PARTS.items() for new in all]
    tries = [(tried, *one) for one in tries] + [(as_backbone, *one) for one in parts]
    bench.each(lambda one: one[0](bench, tally, whole, *one[1:]), tries)


def tried(bench, tally, whole, data, what):
    folder = copied(bench, whole)
    (folder / "run/model/tokenizer.json").write_bytes(data)
    ran = bench.run(folder, "predict", "run", "--threads", "1", stdin=QUESTIONS * 3 + b"a" * 40 + b"!\n", timeout=20)
    tally.add(ran.crash() or ("equal" if ran.code in (0, 3) else "refused"), what)
    shutil.rmtree(folder)


def as_backbone(bench, tally, whole, part, new):
    """What `check` takes must be trained without a fault."""
    value = json.loads((whole / "run/model/tokenizer.json").read_text())
    folder = copied(bench, whole)
    (folder / "run/model/tokenizer.json").write_text(json.dumps(replaced(value, (part,), new)))
    backbone = CONFIG.replace("{ bag = { width = 8, window = 1, dropout = 0.1 } }", '"run/model"')
    (folder / "job.toml").unlink()
    (folder / "job.toml").write_text(backbone.replace("[tokenizer]\nsize = 320\n", ""))
    checked = bench.run(folder, "check", "job.toml", timeout=30)
    trained = bench.run(folder, "train", "job.toml", "--run", "new", timeout=60)
    crash = checked.crash() or trained.crash()
    if not crash and checked.code != trained.code:
        crash = f"check ends with {checked.code}, train with {trained.code}"
    tally.add(crash or ("equal" if checked.code == 0 else "refused"), f"backbone, {part} {str(new)[:80]}")
    shutil.rmtree(folder)
