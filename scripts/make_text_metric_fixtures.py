"""Writes fixtures of the settings of text metrics: what sacrebleu, rouge-score, seqeval and SentencePiece say.

  crates/metrics/tests/fixtures/text_options.json    BLEU's tokenizers, smoothings, case and signatures; TER; ROUGE with stems, ROUGE-Lsum
  crates/metrics/tests/fixtures/stems.json           the Porter stems of NLTK
  crates/metrics/tests/fixtures/strict_spans.json    seqeval's strict mode, span by span
  crates/metrics/tests/fixtures/answers_unicode.json answers of all scripts, by the functions of SQuAD's evaluate-v2.0.py
  crates/data/tests/fixtures/sentencepiece*          two small SentencePiece models, and the pieces that they give

  pip install sacrebleu==2.6.0 rouge-score==0.1.2 seqeval==1.2.2 sentencepiece
  python scripts/make_text_metric_fixtures.py
"""
import collections
import json
import random
import re
import string
import tempfile
import warnings
from pathlib import Path

import sentencepiece
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF, TER
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2, IOBES, Entities

warnings.simplefilter("ignore")
CRATES = Path(__file__).resolve().parent.parent / "crates"
METRICS = CRATES / "metrics" / "tests" / "fixtures"
DATA = CRATES / "data" / "tests" / "fixtures"

# A hypothesis and its references.
ROWS = [
    ("The quick brown fox jumps over the lazy dog.", ["The fast brown fox jumped over the lazy dogs.", "A quick brown fox jumps over lazy dogs"]),
    ("Prices rose by 3.5% (to 1,200 dollars) in 2019-2020.", ["Prices rose 3.5 % to $1,200 between 2019 and 2020."]),
    ("“Warum?” – fragte er … und ging; 5€ fehlten.", ["„Warum?“, fragte er und ging: es fehlten 5 €."]),
    ("他昨天在北京买了三本书，花了50.5元。", ["他昨天在北京买了三本书, 花了 50.5 元。", "昨天他在北京买了三本书。"]),
    ("人工智能正在改变世界！", ["人工智能正在改变整个世界！"]),
    ("彼は昨日、東京でラーメンを食べました。", ["彼は昨日東京でラーメンを食べた。"]),
    ("ผมชอบอ่านหนังสือ", ["ผมชอบอ่านหนังสือมาก"]),
    ("Он купил три книги вчера.", ["Вчера он купил три книги."]),
    ("इस किताब में १२३ पन्ने हैं।", ["इस पुस्तक में १२३ पन्ने हैं।"]),
    ("tab\tand\u3000wide \u00a0space \u2028 line", ["tab and wide space line"]),
    ("to be or not to be that is the question whether", ["whether that is the question to be or not to be", "to be , or not to be : that is the question"]),
    ("a b c d e f g h i j k l m n o p", ["k l m n o p a b c d e f g h i j"]),
    ("STRASSE und Straße, ΟΔΟΣ οδος", ["straße und strasse, οδος ΟΔΟΣ"]),
    ("", ["Something was expected."]),
    ("Nothing was expected.", [""]),
    ("①②③ ½ ™ ☃ ✓ 🙂 x̄ é", ["①②③ ½ ™ ☃ ✓ 🙂 x̄ é"]),
    ("one", ["one"]),
]
SUMMARIES = [
    ("Police killed the gunman.\nHe was running quickly towards several shops.", ["The gunman was killed by police.\nHe ran to the shop quickly."]),
    ("The cats are sitting.\nDogs ran.\nThe relational operators were generalized.", ["A cat sat.\nThe dog was running.\nRelational operations generalise.", "cats sit"]),
    ("one two three four\n\nfive six one two", ["one two five\nthree four six one\n", "two one"]),
    ("flies died happily while enjoying skies", ["a fly dies happy and enjoys the sky"]),
]
OPTIONS = [
    {}, {"tokenize": "intl"}, {"tokenize": "zh"}, {"tokenize": "char"}, {"tokenize": "none"}, {"lowercase": True},
    {"tokenize": "intl", "lowercase": True}, {"smooth_method": "none"}, {"smooth_method": "floor"}, {"smooth_method": "floor", "smooth_value": 0.02},
    {"smooth_method": "add-k"}, {"smooth_method": "add-k", "smooth_value": 0.5, "tokenize": "char"},
]


def corpus(rows):
    most = max(len(refs) for _, refs in rows)
    return [h for h, _ in rows], [[refs[i] if i < len(refs) else None for _, refs in rows] for i in range(most)]


def text_case(rows):
    hypotheses, streams = corpus(rows)
    case = {"hypotheses": hypotheses, "references": [refs for _, refs in rows], "bleu": [], "ter": []}
    for options in OPTIONS:
        metric = BLEU(force=True, **options)
        found = metric.corpus_score(hypotheses, streams)
        case["bleu"].append({"options": options, "score": found.score / 100, "lengths": [found.sys_len, found.ref_len],
                             "signature": metric.get_signature().format()})
    for name in (None, "zh", "char"):
        metric, tokenized = TER(), lambda text: text
        if name:
            tokenize = BLEU(tokenize=name).tokenizer
            tokenized = lambda text: tokenize(text.rstrip())
        found = metric.corpus_score([tokenized(h) for h in hypotheses], [[r if r is None else tokenized(r) for r in s] for s in streams])
        case["ter"].append({"tokenizer": name, "score": found.score / 100, "signature": metric.get_signature().format()})
    chrf = CHRF()
    chrf.corpus_score(hypotheses, streams)
    case["chrf_signature"] = chrf.get_signature().format()
    names = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    for key, scorer in (("rouge", RougeScorer(names)), ("rouge_stemmed", RougeScorer(names, use_stemmer=True))):
        found = [scorer.score_multi(refs, h) for h, refs in rows]
        mean = lambda name, part: sum(getattr(f[name], part) for f in found) / len(found)
        case[key] = {n: [mean(n, part) for part in ("precision", "recall", "fmeasure")] for n in names}
    return case


def text_cases():
    rng = random.Random(31)
    for row in ROWS + SUMMARIES:
        yield text_case([row])
    yield text_case(ROWS)
    yield text_case([(h, refs[:1]) for h, refs in ROWS])
    latin = [row for row in ROWS if row[0].isascii()] + SUMMARIES
    for _ in range(6):
        yield text_case(rng.sample(latin, rng.randrange(2, 6)))
    # Words that moved, which TER shifts.
    for seed in range(10):
        rng = random.Random(seed)
        words = [rng.choice("abcdefgh") + str(i % 3) for i in range(rng.randrange(5, 70))]
        moved = list(words)
        for _ in range(4):
            i, j, n = rng.randrange(len(moved)), rng.randrange(len(moved)), rng.randrange(1, 6)
            part = moved[i:i + n]
            del moved[i:i + n]
            moved[j:j] = part
        lost = [w for w in moved if rng.random() > 0.1]
        yield text_case([(" ".join(lost), [" ".join(words), " ".join(moved)])])
    yield text_case([(" ".join("x" for _ in range(3)), [" ".join("y" * (i % 3) + "x" for i in range(200))])])


# The references of scripts that rouge-score does not know are not compared: our words are others there.
STEMMED = """caresses ponies ties caress cats dies flies spied died feed agreed plastered bled motoring sing conflated troubled sized hopping
tanned falling hissing fizzed failing filing happy sky enjoy enjoyment spy fly try relational conditional rational valenci hesitanci digitizer
conformably radically differently vilely analogously vietnamization predication operator feudalism decisiveness hopefulness callousness
formality sensitivity sensibility triplicate formative formalize electricity electrical hopeful goodness revival allowance inference airliner
gyroscopic adjustable defensible irritant replacement adjustment dependent adoption homologou communism activate angularity homologous
effective bowdlerize probate rate cease control roll controlling rolling skies dying lying tying news innings outing cannings howe proceed
exceed succeed succeeds generalizations oscillators yyyy yyy syzygy toy boyish geology theology archaeology logi analogy apologies
fully hopefully bully wully ally rally really usually ionic onion action passion vision nation stations eeding need needed
being been bees bee ied tied hies hied abled table tables bli possibly doubly ling ing inging string stringing sled sledding
1990s 3d mp3s x9ing aaaa eeee ous famous various ize size prize prized seizing baths math maths physics news's""".split()


def strict_cases():
    rng = random.Random(37)
    for scheme, letters, name in ((IOB2, "BIO", "bio"), (IOBES, "BIOES", "bioes")):
        for case in range(40):
            tag = lambda: (lambda l: "O" if l == "O" else f"{l}-{rng.choice(['PER', 'LOC', 'X-Y'])}")(rng.choice(letters))
            gold = [[tag() for _ in range(rng.randrange(0, 12))] for _ in range(rng.randrange(1, 5))]
            predicted = [[t if rng.random() < 0.7 else tag() for t in row] for row in gold]
            spans = lambda rows: [[[e.tag, e.start, e.end] for e in of] for of in Entities(rows, scheme).entities]
            args = dict(mode="strict", scheme=scheme, zero_division=0)
            try:
                scores = [float(f(gold, predicted, **args)) for f in (precision_score, recall_score, f1_score)]
            except ValueError:  # seqeval cannot score a corpus without entities.
                scores = None
            yield {"scheme": name, "gold": gold, "predicted": predicted, "gold_spans": spans(gold), "predicted_spans": spans(predicted), "scores": scores}


# --- SQuAD's evaluate-v2.0.py.

def normalize_answer(s):
    remove_articles = lambda text: re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text)
    white_space_fix = lambda text: " ".join(text.split())
    remove_punc = lambda text: "".join(ch for ch in text if ch not in set(string.punctuation))
    return white_space_fix(remove_articles(remove_punc(s.lower())))


def squad_f1(gold, predicted):
    gold, predicted = normalize_answer(gold).split(), normalize_answer(predicted).split()
    shared = sum((collections.Counter(gold) & collections.Counter(predicted)).values())
    if not gold or not predicted:
        return float(gold == predicted)
    return 0.0 if shared == 0 else 2 * shared / (len(gold) + len(predicted))


ANSWERS = [
    ("x\u001cy", "x y"), ("x\u001dy\u001ez", "x y z"), ("x\u001fy", "xy"), ("a\u0301", "\u0301"), ("a\u0301 b", "\u0301 b"), ("theकि", "कि"), ("the कि", "कि"),
    ("कि the", "कि"), ("काa का", "का का"), ("an\u0940 x", "\u0940 x"), ("a\u203fb", "b"), ("the_a", "a"), ("a1", "1"), ("a½", "½"), ("aⅷ", "ⅷ"), ("a① the②", "① ②"),
    ("a\u200db", "b"), ("a\u00adn", "n"), ("a’s", "’s"), ("The Ａ a", "Ａ"), ("ΣΑΣ the ΣΑΣ", "σας σας"), ("İstanbul", "i̇stanbul"), ("a\u00a0the\u3000an", ""),
    ("มา the มา", "มา มา"), ("a็b", "็b"), ("—a—", "——"), ("$5.00!", "500"), ("“the”", "“ ”"), ("தமிழ் a", "தமிழ்"), ("กินa", "กิน"), ("aつ the", "aつ"), ("日本a語", "日本a語"),
]


def answer_cases():
    for gold, predicted in ANSWERS:
        for a, b in ((gold, predicted), (predicted, gold), (gold, gold)):
            yield {"gold": a, "predicted": b, "exact": float(normalize_answer(a) == normalize_answer(b)), "f1": squad_f1(a, b),
                   "normalized": normalize_answer(a)}


def pieces():
    texts = [t for h, refs in ROWS for t in [h, *refs] if t] + STEMMED
    texts += ["the quick brown fox", "ＡＢＣ ﬁne　ｗｉｄｅ", "  leading and   double  spaces ", "\u00a0", "unseen: \U00020bb7\u0bb5 \u0f00", "ﬁﬁ ﬂ"]
    rules = "FF21\t41\nFF22\t42\nFF23\t43\nFB01\t66 69\nFB01 FB01\t66 66\nA0\t20\n3000\t20\n9\t20\n2028\t20\nAD\t\n"
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "texts").write_text("\n".join(t.replace("\u2028", " ") for t in texts[:-4]), encoding="utf8")
        (folder / "rules").write_text(rules, encoding="utf8")
        for name, settings in (("unigram", {}), ("bpe", {}), ("bytes", {"model_type": "unigram", "byte_fallback": True, "vocab_size": 560})):
            sentencepiece.SentencePieceTrainer.train(**{
                "input": folder / "texts", "model_prefix": folder / name, "vocab_size": 400, "model_type": name, "character_coverage": 0.98,
                "normalization_rule_tsv": folder / "rules", "hard_vocab_limit": False, "minloglevel": 2, **settings,
            })
            model = (folder / f"{name}.model").read_bytes()
            (DATA / f"sentencepiece_{name}.model").write_bytes(model)
            processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            cases += [{"model": name, "text": text, "pieces": processor.encode_as_pieces(text)} for text in texts]
    return cases


def write(path, cases):
    path.write_text("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n", encoding="utf8")


write(METRICS / "text_options.json", text_cases())
stemmer = PorterStemmer()
write(METRICS / "stems.json", [[word, stemmer.stem(word)] for word in STEMMED])
write(METRICS / "strict_spans.json", strict_cases())
write(METRICS / "answers_unicode.json", answer_cases())
write(DATA / "sentencepiece.json", pieces())
