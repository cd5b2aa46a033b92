#!/usr/bin/env python3
"""Turns the corpora of examples/ from the form in which they are published into the layout that the configs read.

  python scripts/prepare_data.py --out data --snips SlotGated-SLU/data/snips \\
      --vader vaderSentiment/additional_resources/hutto_ICWSM_2014.tar.gz --wnut17 emerging_entities_17 \\
      --goemotions GoEmotions-pytorch/data/original --semeval SemEval2010_task8_all_data.zip --crossre CrossRE/crossre_data \\
      --tatoeba spa-eng.zip --rnnlg RNNLG/data/original --clinc oos-eval/data --crossner CrossNER/ner_data

  --snips   the folder with train/, valid/ and test/, each holding seq.in, seq.out and label
  --vader   hutto_ICWSM_2014.tar.gz, or the folder that it unpacks to
  --wnut17  the folder with wnut17train.conll, emerging.dev.conll and emerging.test.annotated
  --goemotions  the folder with train.tsv, dev.tsv, test.tsv and labels.txt
  --semeval  the archive with TRAIN_FILE.TXT and TEST_FILE_FULL.TXT
  --crossre  the folder with ai-train.json and so on: DOMAIN-train.json, DOMAIN-dev.json and DOMAIN-test.json
  --tatoeba  the archive with spa.txt, or that file: English, a tab, Spanish
  --rnnlg  the folder with tv/train.json, tv/valid.json and tv/test.json
  --clinc  the folder with data_full.json and domains.json
  --crossner  the folder with politics/train.txt, politics/dev.txt and politics/test.txt, and other domains beside it

Give one, several or all of them. Nothing is downloaded: examples/README.md says where each comes from and under what licence.
Only Python's standard library is needed.
"""
import argparse, hashlib, json, pathlib, re, sys, tarfile, zipfile

CROSSRE = ("ai", "literature", "music", "news", "politics", "science")
CROSSNER = ("ai", "literature", "music", "politics", "science")
VADER = ("amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets", "tweets")


def lines(path):
    try:
        text = path.read_bytes().decode("utf8")
    except OSError as e:
        sys.exit(f"{path}: {e.strerror}")
    except UnicodeDecodeError as e:
        sys.exit(f"{path}: byte {e.start} is not UTF-8")
    return text.replace("\r\n", "\n").rstrip("\n").split("\n")


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf8", newline="\n") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{path}: {len(rows)} rows")


def snips(source, out):
    for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        words, tags, intents = (lines(source / split / file) for file in ("seq.in", "seq.out", "label"))
        if not len(words) == len(tags) == len(intents):
            sys.exit(f"{source / split}: seq.in, seq.out and label have {len(words)}, {len(tags)} and {len(intents)} lines")
        rows = []
        for number, (w, t, intent) in enumerate(zip(words, tags, intents), 1):
            w, t = w.split(), t.split()
            if len(w) != len(t):
                sys.exit(f"{source / split / 'seq.out'}:{number}: {len(t)} tags for {len(w)} words")
            rows.append({"tokens": w, "tags": t, "text": " ".join(w), "intent": intent.strip()})
        write(out / "snips" / f"{name}.jsonl", rows)


def vader(source, out):
    def text(name):
        if source.is_dir():
            return lines(source / name)
        try:
            with tarfile.open(source) as archive:
                members = [m for m in archive if m.isfile() and m.name.rsplit("/", 1)[-1] == name]
                if not members:
                    sys.exit(f"{source}: holds no {name}")
                return archive.extractfile(members[0]).read().decode("utf8").replace("\r\n", "\n").rstrip("\n").split("\n")
        except (OSError, tarfile.TarError) as e:
            sys.exit(f"{source}: {e}")

    splits = {"train": [], "validation": [], "test": []}
    for domain in VADER:
        for number, line in enumerate(text(f"{domain}_GroundTruth.txt"), 1):
            try:
                row, score, snippet = line.split("\t")
                score = float(score)
            except ValueError:
                sys.exit(f"{domain}_GroundTruth.txt:{number}: expected id, score and text between tabs, found {line!r}")
            # Reviews and editorials are cut into sentences, DOCUMENT_SENTENCE: those of one document stay together.
            document = row.split("_")[0]
            part = int(hashlib.sha1((domain + document).encode()).hexdigest(), 16) % 10
            split = "test" if part == 0 else "validation" if part == 1 else "train"
            polarity = "positive" if score > 0.5 else "negative" if score < -0.5 else "neutral"
            splits[split].append({"text": snippet, "score": round(score, 4), "polarity": polarity, "domain": domain})
    for split, rows in splits.items():
        write(out / "vader_sentiment" / f"{split}.jsonl", rows)


def wnut17(source, out):
    files = (("wnut17train.conll", "train"), ("emerging.dev.conll", "validation"), ("emerging.test.annotated", "test"))
    for file, name in files:
        rows = lines(source / file)
        for number, line in enumerate(rows, 1):
            if line.strip() and not line.split("\t")[-1].strip().startswith(("O", "B-", "I-")):
                sys.exit(f"{source / file}:{number}: expected word, tab and BIO tag, found {line!r}")
        path = out / "wnut17" / f"{name}.conll"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((source / file).read_bytes())
        sentences = sum(bool(line.strip()) and not before.strip() for before, line in zip([""] + rows, rows))
        print(f"{path}: {sentences} sentences")


def goemotions(source, out):
    names = [name.strip() for name in lines(source / "labels.txt")]
    for file, split in (("train.tsv", "train"), ("dev.tsv", "validation"), ("test.tsv", "test")):
        rows = []
        for number, line in enumerate(lines(source / file), 1):
            try:
                text, labels, _ = line.split("\t")
                emotions = [names[int(label)] for label in labels.split(",")]
            except (ValueError, IndexError):
                expected = f"expected text, numbers of labels below {len(names)} and id between tabs"
                sys.exit(f"{source / file}:{number}: {expected}, found {line!r}")
            rows.append({"text": text, "emotions": emotions})
        write(out / "goemotions" / f"{split}.jsonl", rows)


def semeval(source, out):
    def blocks(name):
        """The sentence and the relation of each block of lines; a comment and an empty line follow."""
        try:
            with zipfile.ZipFile(source) as archive:
                member = next((m for m in archive.namelist() if m.rsplit("/", 1)[-1] == name), None)
                text = archive.read(member).decode("utf8") if member else sys.exit(f"{source}: holds no {name}")
        except (OSError, zipfile.BadZipFile) as e:
            sys.exit(f"{source}: {e}")
        filled = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip() and not line.startswith("Comment")]
        return zip(filled[::2], filled[1::2])

    splits = {"train": [], "validation": [], "test": []}
    for file, split in (("TRAIN_FILE.TXT", "train"), ("TEST_FILE_FULL.TXT", "test")):
        for sentence, relation in blocks(file):
            found = re.fullmatch(r'(\d+)\t"(.*)<e1>(.*)</e1>(.*)<e2>(.*)</e2>(.*)"\s*', sentence)
            if not found:
                sys.exit(f"{file}: expected a number, a tab and a sentence in quotes with <e1> and <e2>, found {sentence!r}")
            number, before, head, between, tail, after = found.groups()
            begin = len(before) + len(head) + len(between)
            row = {
                "id": int(number), "text": before + head + between + tail + after,
                "head": [len(before), len(before) + len(head)], "tail": [begin, begin + len(tail)], "relation": relation.strip(),
            }
            # There is no official validation split.
            splits["validation" if split == "train" and row["id"] % 10 == 0 else split].append(row)
    for split, rows in splits.items():
        write(out / "semeval2010_task8" / f"{split}.jsonl", rows)


def crossre(source, out):
    for file, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        rows = []
        for domain in CROSSRE:
            path = source / f"{domain}-{file}.json"
            for number, line in enumerate(lines(path), 1):
                try:
                    given = json.loads(line)
                    # Their ends are the last word, ours the word behind it.
                    entities = [{"start": s, "end": e + 1, "type": label} for s, e, label in given["ner"]]
                    relations = [
                        {"head": [a, b + 1], "tail": [c, d + 1], "type": label} for a, b, c, d, label, *_ in given["relations"]
                    ]
                    row = {"id": given["doc_key"], "domain": domain, "tokens": given["sentence"]}
                except (ValueError, KeyError, TypeError) as e:
                    sys.exit(f"{path}:{number}: expected doc_key, sentence, ner and relations: {e!r}")
                rows.append({**row, "entities": entities, "relations": relations})
        write(out / "crossre" / f"{split}.jsonl", rows)


def tatoeba(source, out):
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                member = next((m for m in archive.namelist() if m.rsplit("/", 1)[-1] == "spa.txt"), None)
                text = archive.read(member).decode("utf8") if member else sys.exit(f"{source}: holds no spa.txt")
        else:
            text = "\n".join(lines(source))
    except (OSError, zipfile.BadZipFile) as e:
        sys.exit(f"{source}: {e}")
    splits = {"train": [], "validation": [], "test": []}
    for number, line in enumerate(text.replace("\r\n", "\n").rstrip("\n").split("\n"), 1):
        parts = line.split("\t")
        if len(parts) < 2:
            sys.exit(f"spa.txt:{number}: expected English, a tab and Spanish, found {line!r}")
        # There is no official split. Many English sentences have several translations: those stay together.
        part = int(hashlib.sha1(parts[0].encode()).hexdigest(), 16) % 100
        split = "test" if part < 2 else "validation" if part < 4 else "train"
        splits[split].append({"en": parts[0], "es": parts[1]})
    for split, rows in splits.items():
        write(out / "tatoeba_spa_eng" / f"{split}.jsonl", rows)


def rnnlg(source, out):
    for file, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        path = source / "tv" / f"{file}.json"
        text = "\n".join(lines(path))
        try:
            # Lines of comments stand before the list.
            rows = [{"act": act, "text": reference} for act, reference, *_ in json.loads(text[text.index("[\n"):])]
        except ValueError as e:
            sys.exit(f"{path}: expected a list of act, reference and baseline: {e}")
        write(out / "rnnlg_tv" / f"{split}.jsonl", rows)


def clinc(source, out):
    full, domains = (json.loads("\n".join(lines(source / name))) for name in ("data_full.json", "domains.json"))
    domain = {intent: name for name, intents in domains.items() for intent in intents} | {"oos": "oos"}
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        rows = full[split] + full[f"oos_{split}"]
        rows = [{"text": text, "intent": intent, "domain": domain[intent]} for text, intent in rows]
        write(out / "clinc150" / f"{name}.jsonl", rows)


def crossner(source, out):
    for folder in sorted(path for path in source.iterdir() if (path / "dev.txt").exists() and path.name in CROSSNER):
        for split, name in (("train", "train"), ("dev", "validation"), ("test", "test")):
            path = out / "crossner" / folder.name / f"{name}.conll"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((folder / f"{split}.txt").read_bytes())
            print(f"{path}: copied")


CORPORA = (snips, vader, wnut17, goemotions, semeval, crossre, tatoeba, rnnlg, clinc, crossner)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("data"), help="default: data")
    for convert in CORPORA:
        parser.add_argument(f"--{convert.__name__}", type=pathlib.Path, metavar="PATH")
    args = parser.parse_args()
    given = [(convert, path) for convert in CORPORA if (path := getattr(args, convert.__name__))]
    if not given:
        parser.error("give at least one of " + ", ".join(f"--{convert.__name__}" for convert in CORPORA))
    for convert, path in given:
        convert(path, args.out)


main()
