"""Small corpora out of the real ones and drawn ones, and tokenizers for the checkpoints of the tests."""

import json, os, shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "crates/model/tests/fixtures"
# What --make-fixtures makes.
OWN = ROOT / "target/weight-hashes"
# The corpora as bench/README.md lays them out.
DATA = Path(os.environ.get("POLYTASK_DATA", ROOT / "data"))



def jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def take(file, n, stride=1, start=0):
    """Every `stride`th line of a JSON Lines file, n of them."""
    rows = []
    with open(DATA / file, encoding="utf-8") as lines:
        for i, line in enumerate(lines):
            if i >= start and (i - start) % stride == 0:
                rows.append(json.loads(line))
                if len(rows) == n:
                    break
    return rows


def sentences(file, n):
    blocks = (DATA / file).read_text(encoding="utf-8").split("\n\n")
    blocks = [b for b in blocks if 3 <= sum(not line.startswith("#") for line in b.splitlines()) <= 18]
    return "\n\n".join(blocks[:n]) + "\n\n"


class Numbers:
    """A generator of its own, so that no Python version draws otherwise."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n

    def one(self, items):
        return items[self.below(len(items))]


NAMES = "Ada Ben Cleo Dan Eva Finn Gia Hugo Ida Jon Kim Leo Mia Ned Ola Pia".split()
CITIES = "Paris Rome Oslo Lima Cairo Delhi Quito Sofia Tunis Berlin Dublin Lisbon".split()
JOBS = "baker painter doctor sailor teacher farmer pilot judge".split()
SORTS = {
    "colour": "red blue green yellow purple orange".split(),
    "animal": "cat dog horse tiger mouse whale".split(),
    "fruit": "apple plum cherry lemon grape pear".split(),
}


def questions(n, seed):
    draw, rows = Numbers(seed), []
    for i in range(n):
        people = []
        while len(people) < 3:
            name = draw.one(NAMES)
            if name not in people:
                people.append(name)
        context, starts, places = "", {}, {}
        for name in people:
            place, job = draw.one(CITIES), draw.one(JOBS)
            context += f"{name} is a {job} and lives in "
            starts[name], places[name] = len(context), place
            context += f"{place}. "
        who = draw.one(people)
        row = {"question": f"Where does {who} live?", "context": context.strip(),
               "answers": {"text": [places[who]], "answer_start": [starts[who]]}}
        if i % 5 == 4:  # nobody of that name
            row["question"], row["answers"] = "Where does Zoe live?", {"text": [], "answer_start": []}
        if i % 11 == 7:
            del row["answers"]
        rows.append(row)
    return rows


def choices(n, seed):
    draw, rows = Numbers(seed), []
    for _ in range(n):
        sort = draw.one(sorted(SORTS))
        others = [s for s in sorted(SORTS) if s != sort]
        options = [draw.one(SORTS[sort])] + [draw.one(SORTS[other]) for other in others[: 1 + draw.below(2)]]
        right = draw.below(len(options))
        options[0], options[right] = options[right], options[0]
        rows.append({"question": f"Which of these is a {sort}?", "choices": options, "label": right})
    return rows


def write_corpora(folder):
    folder.mkdir()

    def both(name, file, n, stride, validation=24):
        jsonl(folder / f"{name}-train.jsonl", take(f"{file}/train.jsonl", n, stride))
        jsonl(folder / f"{name}-validation.jsonl", take(f"{file}/validation.jsonl", validation, 7))

    both("snips", "snips", 300, 13)
    both("clinc", "clinc150", 300, 50)
    both("vader", "vader_sentiment", 300, 50)
    both("goemotions", "goemotions", 300, 7)
    both("semeval", "semeval2010_task8", 200, 11)
    both("crossre", "crossre", 80, 5, 12)
    both("tatoeba", "tatoeba_spa_eng", 300, 170)
    both("tv", "rnnlg_tv", 200, 9, 16)
    # Partial labels: some rows lack one of both, some the other, some both.
    rows = take("snips/train.jsonl", 300, 13)
    for i, row in enumerate(rows):
        if i % 3 == 1:
            del row["intent"]
        if i % 4 == 2:
            del row["tags"]
    jsonl(folder / "partial-train.jsonl", rows)
    shutil.copy(folder / "snips-validation.jsonl", folder / "partial-validation.jsonl")
    for split, n in [("train", 160), ("validation", 24)]:
        (folder / f"ewt-{split}.conllu").write_text(sentences(f"ud_english_ewt/{split}.conllu", n), encoding="utf-8")
        jsonl(folder / f"qa-{split}.jsonl", questions(n, n))
        jsonl(folder / f"choice-{split}.jsonl", choices(n, n + 1))


def corpus(name, suffix="jsonl", **more):
    files = {split: f"${{data}}/{name}-{split}.{suffix}" for split in ("train", "validation")}
    return {**files, **more}


CORPORA = {name: corpus(name) for name in
           ["snips", "clinc", "vader", "goemotions", "semeval", "crossre", "tatoeba", "tv", "partial", "qa", "choice"]}
CORPORA["ewt"] = corpus("ewt", "conllu")



def letters_tokenizer(specials, unk, begin, end, pairs_type):
    """A WordPiece tokenizer of single letters. `specials` by id; `begin` may be None (T5)."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = {token: i for i, token in enumerate(specials)}
    for token in list(letters) + ["##" + c for c in letters]:
        if len(vocabulary) < 60:
            vocabulary[token] = len(vocabulary)
    special = lambda token, kind=0: {"SpecialToken": {"id": token, "type_id": kind}}
    text = lambda name, kind=0: {"Sequence": {"id": name, "type_id": kind}}
    before = [special(begin)] if begin else []
    used = {token: {"id": token, "ids": [vocabulary[token]], "tokens": [token]} for token in [begin, end] if token}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i, token in enumerate(specials)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": True, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": before + [text("A"), special(end)],
                           "pair": before + [text("A"), special(end), text("B", pairs_type), special(end, pairs_type)],
                           "special_tokens": used},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }


def write_fixtures(folder):
    bert = letters_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[UNK]", "[CLS]", "[SEP]", 1)
    roberta = letters_tokenizer(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<unk>", "<s>", "</s>", 0)
    t5 = letters_tokenizer(["<pad>", "</s>", "<unk>"], "<unk>", None, "</s>", 0)
    for name, tokenizer in [("bert", bert), ("bert-inside", bert), ("distilbert", bert), ("roberta", roberta),
                            ("xlm-roberta", roberta), ("t5", t5), ("t5-gated", t5)]:
        shutil.copytree(FIXTURES / name, folder / name)
        (folder / name / "tokenizer.json").write_text(json.dumps(tokenizer))
    for name in ["own-bert", "own-t5"]:
        if (OWN / name).is_dir():
            shutil.copytree(OWN / name, folder / name)
