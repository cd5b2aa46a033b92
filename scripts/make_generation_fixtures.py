"""Writes crates/metrics/tests/fixtures/generation.json and slots.json: what sacrebleu, rouge-score and RNNLG's way of counting
slot errors say about texts in many languages, real dialogue acts and awkward cases.

  pip install sacrebleu rouge-score
  python scripts/make_generation_fixtures.py DATA        # DATA/rnnlg_tv and DATA/rnnlg_hotel: acts and texts, a JSON a line
"""
import json
import random
import re
import sys
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

FOLDER = Path(__file__).resolve().parent.parent / "crates" / "metrics" / "tests" / "fixtures"

# A hypothesis and its references.
ROWS = [
    ("The cat sat on the mat.", ["The cat is on the mat.", "There is a cat on the mat."]),
    ("It is a guide to action which ensures that the military always obeys the commands of the party.",
     ["It is a guide to action that ensures that the military will forever heed Party commands.",
      "It is the guiding principle which guarantees the military forces always being under the command of the Party."]),
    ("Der schnelle braune Fuchs springt über den faulen Hund.", ["Der flinke braune Fuchs sprang über den trägen Hund."]),
    ("Straße, Füße und Größe – „so“ sagt man’s.", ["Die Straße, die Füße und die Größe – „so“ sagt man es."]),
    ("Le prix est passé de 3,50 € à 1.299,00 € en 2023.", ["Le prix est passé de 3,50 € à 1 299,00 € en 2023 !"]),
    ("El niño corrió; ¿por qué? ¡No sé!", ["El niño ha corrido. ¿Por qué? ¡No lo sé!", "El chico corrió; ¿por qué? No sé."]),
    ("Привет, мир! Это проверка.", ["Здравствуй, мир! Это проверка качества."]),
    ("Η γάτα κάθεται στο χαλί.", ["Η γάτα κάθισε στο χαλί."]),
    ("مرحبا بالعالم، كيف حالك؟", ["أهلا بالعالم، كيف الحال؟"]),
    ("नमस्ते दुनिया, यह हिन्दी है।", ["नमस्ते संसार, यह हिन्दी भाषा है।"]),
    ("我喜欢自然语言处理。", ["我很喜欢自然语言处理。", "我爱自然语言处理!"]),
    ("東京タワーへ行きました。", ["東京タワーに行った。"]),
    ("안녕하세요, 세계!", ["안녕, 세계!"]),
    ("สวัสดีครับ ผมชอบอ่านหนังสือ", ["สวัสดีค่ะ ฉันชอบอ่านหนังสือ"]),
    ("Tiếng Việt có dấu: trường học", ["Tiếng Việt rất có dấu: trường đại học"]),
    ("Merhaba dünya, İstanbul'dan selamlar", ["Merhaba dünya, İzmir'den selamlar"]),
    ("the the the the the the the", ["the cat is on the mat", "there is a cat on the mat"]),
    ("Visit http://t.co/AbC?x=1&y=2 @user #tag (now)", ["See http://t.co/AbC?x=1&y=2, @user #tag (later)!"]),
    ("5-4 = 1, 1,000.50 is 1000.5; 10-year-old's 3.14-ish ... e.g. v1.2.3", ["5 - 4 = 1; 1,000.50 is 1000.5, a 10-year-old 3.14ish, v1.2.3."]),
    ("a &lt;b&gt; &amp;amp; &quot;c&quot; <skipped> d", ["a <b> &amp; \"c\" d"]),
    ("line one\nline two hyphen-\nated\tand\u00a0more\u2003spaces", ["line one line two hyphenated and more spaces"]),
    ("family 👩‍👩‍👧‍👦 and 👍🏽", ["family 👩‍👩‍👧‍👦 and 👍🏼"]),
    ("(hi) \"quoted\" don't it's rock'n'roll _x_ ~y~", ["(hi there) 'quoted' don't its rock 'n' roll _x ~y"]),
    ("", ["Something was expected."]),
    ("Nothing was expected.", [""]),
    ("", [""]),
    ("   ", ["one", ""]),
    ("identical", ["identical"]),
    ("An identical sentence of some length, with punctuation.", ["An identical sentence of some length, with punctuation."]),
    ("one two", ["one two three four five six"]),
    ("one two three four five six seven eight nine ten", ["one two three", "one two three four five six seven eight nine ten eleven twelve"]),
    ("x", ["x y"]),
    (". , ! ?", ["."]),
    ("e\u0301te\u0301 cafe\u0301", ["été café"]),
    ("K (Kelvin), ﬁne ﬂow, ①②③, ½, x\u001cy", ["K (Kelvin), fine flow, 123, 1/2, x y"]),
]
TIES = [("a b c d", ["a b c d e", "a b c"]), ("a b c d", ["a b c", "a b c d e"]), ("x y z", ["x q z", "q y z"])]
ORDERED = ("police killed the gunman", ["police kill the gunman", "the gunman kill police", "the gunman police killed"])


def score(rows):
    hypotheses = [h for h, _ in rows]
    most = max(len(refs) for _, refs in rows)
    streams = [[refs[i] if i < len(refs) else None for _, refs in rows] for i in range(most)]
    bleu = BLEU(force=True).corpus_score(hypotheses, streams)
    chrf = lambda words: CHRF(word_order=words).corpus_score(hypotheses, streams).score / 100
    names = ("rouge1", "rouge2", "rougeL")
    scorer = RougeScorer(names)
    rouges = [scorer.score_multi(refs, h) for h, refs in rows]
    mean = lambda name, part: sum(getattr(r[name], part) for r in rouges) / len(rows)
    return {
        "hypotheses": hypotheses, "references": [refs for _, refs in rows],
        "bleu": bleu.score / 100, "precisions": [p / 100 for p in bleu.precisions], "brevity_penalty": bleu.bp,
        "lengths": [bleu.sys_len, bleu.ref_len], "chrf": chrf(0), "chrf++": chrf(2),
        "rouge": {n: [mean(n, part) for part in ("precision", "recall", "fmeasure")] for n in names},
    }


def texts():
    rng = random.Random(17)
    for row in ROWS + TIES + [ORDERED]:
        yield score([row])
    yield score(ROWS)
    yield score([(h, refs[:1]) for h, refs in ROWS])
    for _ in range(12):
        yield score(rng.sample(ROWS + TIES, rng.randrange(2, 9)))
    # What a model might say: the reference with words lost, doubled and exchanged.
    for noise in (0.05, 0.2, 0.6):
        rows = []
        for _, refs in ROWS:
            words = refs[0].split()
            said = [w for w in words for _ in range(rng.choices((0, 1, 2), (noise, 1, noise / 2))[0])]
            rng.random() < noise and rng.shuffle(said)
            rows.append((" ".join(said), refs))
        yield score(rows)


# --- Slot errors: RNNLG's loader/GentScorer.py and resource/detect.pair, on texts that hold slots in place of values.

BINARY = {
    "dogsallowed": ["dog", "dogs", "puppy"], "hasinternet": ["internet", "wifi"], "acceptscreditcards": ["card", "cards"],
    "hasusbport": ["usb"],
}
SPECIAL = {"none", "yes", "true", "no", "false", "dontcare", "dont_care"}


def parse(act):
    name, rest = act.split("(", 1)
    pairs = [p.split("=", 1) for p in rest.rstrip(")").split(";") if "=" in p]
    return name, [(s.replace("_", "").replace(" ", ""), v.strip("'\"")) for s, v in pairs]


def errors(act, template):
    """ERRScorer.score: the slots, and |asked - said| over slots of values and slots of yes or no."""
    name, pairs = parse(act)
    if name in ("?select", "suggest"):
        return 0, 0
    words = template.split()
    slots = {s for s, _ in pairs} | {w[5:] for w in words if w.startswith("SLOT_")} | set(BINARY)
    total = wrong = 0
    for slot in sorted(slots - {"type"}):
        if slot in BINARY:
            asked = sum(s == slot and v in SPECIAL for s, v in pairs)
            said = sum(w in BINARY[slot] for w in words)
        else:
            asked = sum(s == slot and v not in SPECIAL for s, v in pairs)
            said = words.count("SLOT_" + slot)
        total, wrong = total + asked, wrong + abs(asked - said)
    return total, wrong


def template_of(act, text):
    """The text with slots in place of values, or None where a value is not found word for word."""
    text = " " + re.sub(r" +", " ", text) + " "
    for slot, value in sorted(parse(act)[1], key=lambda pair: -len(pair[1])):
        if value in SPECIAL or slot == "type":
            continue
        if text.count(f" {value} ") != 1:
            return None
        text = text.replace(f" {value} ", f" SLOT_{slot} ", 1)
    return text.strip()


def readable(row, asked):
    """Whether all values stand in the text word for word, and what is left holds none by accident."""
    template = template_of(row["act"], row["text"])
    if template is None or len({s for s, _ in parse(row["act"])[1]}) < len(parse(row["act"])[1]):
        return False
    rest = " ".join(w for w in template.split() if not w.startswith("SLOT_"))
    plain = " " + re.sub(r"[^a-z0-9+]+", " ", rest) + " "
    # RNNLG takes words between spaces: it does not find usb in usb-port.
    glued = any(plain.split().count(k) != rest.split().count(k) for words in BINARY.values() for k in words)
    return not glued and not any(re.search(rf" {re.escape(v)}(e?s)? ", plain) for v in asked)


def slots(data):
    rng = random.Random(23)
    for name in ("rnnlg_tv", "rnnlg_hotel"):
        rows = [json.loads(line) for line in (data / name / "test.jsonl").read_text(encoding="utf8").splitlines()]
        # A value of one letter is an article too, and is asked for by no act here.
        rows = [r for r in rows if "=a;" not in r["act"] and "=a)" not in r["act"]]
        rows = rng.sample(rows, 60)
        asked = [pair for row in rows for pair in parse(row["act"])[1] if pair[0] != "type" and pair[1] not in SPECIAL]
        rows = [row for row in rows if readable(row, {v for _, v in asked if len(v) > 1})]
        values = sorted({(s, v) for row in rows for s, v in parse(row["act"])[1]
                         if s in ("family", "audio", "near", "area", "pricerange") and v not in SPECIAL})
        for lost, more in ((0, 0), (0.3, 0), (0, 0.5), (0.5, 0.5)):
            case = {"acts": [], "texts": [], "slots": 0, "wrong": 0}
            for row in rows:
                template = template_of(row["act"], row["text"])
                pairs = parse(row["act"])[1]
                words = [w for w in template.split() if not (w.startswith("SLOT_") and rng.random() < lost)]
                by_slot = {s: v for s, v in pairs}
                text = [by_slot[w[5:]] if w.startswith("SLOT_") else w for w in words]
                if rng.random() < more:
                    # A value that another act asks for, of a slot that is not asked for here.
                    slot, value = rng.choice([x for x in values if x[0] not in by_slot])
                    words.append("SLOT_" + slot), text.append(value)
                    words.append("usb"), text.append("usb")
                total, wrong = errors(row["act"], " ".join(words))
                case["acts"].append(row["act"]), case["texts"].append(" ".join(text))
                case["slots"] += total
                case["wrong"] += wrong
            yield case


def main():
    write = lambda name, cases: (FOLDER / name).write_text(
        "[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n", encoding="utf8")
    write("generation.json", texts())
    write("slots.json", slots(Path(sys.argv[1])))


main()
