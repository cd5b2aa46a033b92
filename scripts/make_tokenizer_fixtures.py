#!/usr/bin/env python3
"""Makes the tokenizer fixtures of crates/data/tests/fixtures: two small tokenizers and the ids that Python gives.

  pip install tokenizers
  python scripts/make_tokenizer_fixtures.py crates/data/tests/fixtures

Writes tokenizer_texts.json (the texts), wordpiece.json (as BERT's), byte_level.json (as RoBERTa's) and
tokenizer_cases.json: for each tokenizer, text and way of input, the ids and word numbers that the Python package gives, and
of whole texts what it decodes the ids to.
It covers trained.json, trained_spaces.json and trained_unigram.json too, which our own trainers make of the same texts, once these are there
(WRITE_FIXTURES=1 cargo test -p polytask-data --test it tokenizer writes it).
A fresh run gives other WordPiece ids: that trainer depends on the order of a hash table.
"""
import json, pathlib, sys
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, decoders, trainers

TEXTS = [
    "", " ", "Hello, world! It isn't 3.50 yet.", "play the newest song by The Beatles on Spotify", "HELLO hello HeLLo",
    "Crème brûlée und Straße, naïve façade; ŁÓDŹ", "Cre\u0300me bru\u0302le\u0301e, e\u0301\u0323 a\u030a",
    "Tiếng Việt có dấu: trường học, nghiêng", "Привет, мир! Ёлка и чай.", "Καλημέρα κόσμε, ΤΙ ΚΆΝΕΙΣ",
    "مرحبا بالعالم، كيف حالك؟", "שלום עולם, מה שלומך?", "the word سلام means שלום in two scripts (42)",
    "مُحَمَّدٌ كَتَبَ", "می\u200cخواهم بروم", "我喜欢自然语言处理。", "北京和上海是中国的大城市,人口很多!", "𠮷野家で食べる",
    "東京タワーへ行きました。カメラを買った。", "ﾊﾝｶｸ カタカナ が\u304b\u3099", "안녕하세요, 세계! 한국어 문장입니다.", "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "नमस्ते दुनिया, यह हिन्दी है।", "বাংলা ভাষা সুন্দর।", "தமிழ் மொழி", "สวัสดีครับ ผมชอบอ่านหนังสือ",
    "family 👩‍👩‍👧‍👦 and 👍🏽 and 🇫🇷 1️⃣ ❤️", "😂😂😂 lol", "tab\tand\nnewline\r\nend", "zero\u200bwidth \ufeff nbsp\u00a0here", "a[SEP]b [MASK] <mask> </s>",
    "supercalifragilisticexpialidocious" * 4, "http://t.co/AbC?x=1&y=2 @user #tag", "x" * 130,
    "ქართული ენა", "አማርኛ ቋንቋ", "\u0000\u0007 control", "½ ² ⅷ ① ３", "ΑΣ ας", "İstanbul ılık",
]
WORDS = [
    [], [""], ["Hello", ",", "world", "!"], ["don't", "3.50", "naïve"], ["", "a", "", "b"], ["我", "喜欢", "语言"],
    ["東", "京", "タワー"], ["नमस्ते", "दुनिया", "।"], ["👩‍👩‍👧‍👦", "👍🏽", "ok"], ["مرحبا", "שלום", "hello"],
    ["สวัสดี", "ครับ"], ["안녕하세요", "세계"], ["e\u0301", "\u0301"], ["New York", "is", " big"], ["\u200b", "x"], ["🇫🇷"] * 3,
]


def wordpiece(texts):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # Some characters must stay unknown: the fixture is to show that.
    seen = [x for x in texts if "Ł" not in x and "ქ" not in x and "አ" not in x]
    t.train_from_iterator(seen, trainers.WordPieceTrainer(vocab_size=900, special_tokens=special, show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.decoder = decoders.WordPiece()
    # As many files have it: a padding and a truncation that a reader must not apply by itself.
    t.enable_padding(pad_id=0, pad_token="[PAD]", length=64)
    t.enable_truncation(max_length=16)
    return t


def byte_level(texts):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False,
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    return t


def cases(name, t):
    t.no_padding()
    t.no_truncation()
    out = []
    for text in TEXTS:
        e = t.encode(text)
        out.append({"tokenizer": name, "text": text, "ids": e.ids, "words": e.word_ids, "decoded": t.decode(e.ids)})
    if name == "byte_level":  # what transformers does for words that are given: add_prefix_space=True
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    for words in WORDS:
        e = t.encode(words, is_pretokenized=True)
        out.append({"tokenizer": name, "split": words, "ids": e.ids, "words": e.word_ids})
    return out


def main():
    folder = pathlib.Path(sys.argv[1])
    dump = lambda path, value: (folder / path).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf8")
    texts = [x for x in TEXTS for _ in range(2)]
    dump("tokenizer_texts.json", texts)
    for name, make in (("wordpiece", wordpiece), ("byte_level", byte_level)):
        if not (folder / f"{name}.json").exists():
            make(texts).save(str(folder / f"{name}.json"), pretty=False)
    out = []
    for name in ("wordpiece", "byte_level", "trained", "trained_spaces", "trained_unigram"):
        path = folder / f"{name}.json"
        if path.exists():
            out += cases(name, Tokenizer.from_file(str(path)))
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in out)
    (folder / "tokenizer_cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf8")


main()
