"""Writes tokenizers without tokenizer.json, and what transformers makes of them, for the tests of crates/data.

    python scripts/make_tokenizer_fixtures.py
    python scripts/make_tokenizer_fixtures.py --gguf FILE OUT   # ids of the hard texts by the tokenizer of any GGUF file

Needs transformers, tokenizers, sentencepiece, protobuf, gguf and torch. Each folder of crates/data/tests/fixtures/tokenizers/ holds the
files of a small tokenizer, trained on this repository's READMEs, and `expected.json`: `texts`, `ids` of each text with special tokens, and
`pairs`, the ids of the first text before each. They are those of AutoTokenizer, but for three sorts: of SentencePiece models, those of
the converters of convert_slow_tokenizer.py; of the one of Llama, those of sentencepiece itself; of Qwen 2's GGUF, those of Qwen2Tokenizer,
since AutoTokenizer forgets its normalizer there; of SmolLM's GGUF, those of AutoTokenizer with the pre-tokenizer of SmolLM2's
tokenizer.json on the Hub, which it forgets there, too.
"""

import argparse
import json
import os
import pathlib
import shutil
import tempfile
from types import SimpleNamespace

import sentencepiece
from gguf import GGUFWriter, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, Qwen2Tokenizer
from transformers import convert_slow_tokenizer as slow
from transformers.integrations.gguf.gguf_tokenizer_mapping import _LLAMA3_SPLIT, _QWEN2_SPLIT

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "crates/data/tests/fixtures/tokenizers"
CORPUS = [(ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md")]
LINES = [line for text in CORPUS for line in text.splitlines() if line.strip()]
DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
TEXTS = [
    "The quick brown fox trains one model on many tasks.",
    "",
    " ",
    "  two  spaces   three    four ",
    "line one\\nline two\\n\\n\\tindented\\r\\nwindows\\n".encode().decode("unicode_escape"),
    "numbers: 0 7 42 123 4567 89012 3.14159 1,000,000 ½ ² ٣ 10th 2026-11-30",
    "don't we'll I'M they'RE it's o'clock 'quoted' \"double\" ``tex''",
    "fn main() { let x: Vec<f32> = vec![0.0; 8]; println!(\"{:?}\", x[3..]); } // 100%",
    "    if x == 1:\n        return {'a': [1, 2]}\n",
    "naïve café Übergröße cafe\u0301 A\u030a Å ŉ ﬁ",
    "日本語と中文，混合。한국어 русский ελληνικά עברית العربية हिन्दी ไทย",
    "emoji 🙂 👩‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️ ☕",
    "ＦＵＬＬｗｉｄｔｈ … – — “curly” ‘single’ \u00a0nbsp\u2003em\u200bzero",
    "<s> </s> [CLS] [SEP] <unk> <|endoftext|> <mask> [MASK] <|im_start|>user<|im_end|>",
    "a<|im_end|> b<|im_start|>c <tool> d<tool>e",
    "UPPER lower MiXeD camelCase snake_case kebab-case https://example.org/a?b=c#d me@x.io",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\u0000\u0007\ufffd\ufeff control",
    "▁mark ▁▁two Ġletter Ċ",
]


def write_expected(folder, encode):
    """`encode` gives the ids of a text, or of two."""
    expected = {
        "texts": TEXTS,
        "ids": [encode(text) for text in TEXTS],
        # Beside an empty text transformers takes the first one alone.
        "pairs": [encode(TEXTS[0], text) if text else [] for text in TEXTS],
    }
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=True, indent=0) + "\n")


def by_tokenizer(tokenizer):
    return lambda *texts: tokenizer(*texts)["input_ids"]


def by_backend(backend):
    return lambda *texts: backend.encode(*texts).ids


def made(name):
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def byte_level_bpe(split, special, size=420, normalizer=None):
    """A BPE, trained: vocabulary and merges."""
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = split
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def regex(pattern):
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def gguf_byte_level(name, split, settings, normalizer=None):
    """A GGUF file with nothing but the tokenizer."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocab, merges = byte_level_bpe(split, special, normalizer=normalizer)
    tokens = sorted(vocab, key=vocab.get) + ["<tool>"]
    types = [TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(tokens) - 4) + [TokenType.USER_DEFINED]
    folder = made(f"gguf_{name}")
    writer = GGUFWriter(str(folder / "model.gguf"), "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(settings["pre"])
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(settings.get("bos", False))
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    finish(writer)
    return folder, tokens, merges


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def gguf_tokenizer(folder):
    # The type of the model is read from the file, too: with a block count its config can be made.
    return AutoTokenizer.from_pretrained(str(folder), gguf_file="model.gguf")


def all_gguf_byte_level():
    for name, split, settings in [
        ("smollm", DIGITS, {"pre": "smollm"}),
        ("gpt2", pre_tokenizers.ByteLevel(add_prefix_space=False), {"pre": "gpt-2"}),
        ("llama3", regex(_LLAMA3_SPLIT), {"pre": "llama-bpe", "bos": True}),
    ]:
        folder, *_ = gguf_byte_level(name, split, settings)
        tokenizer = gguf_tokenizer(folder)
        if name == "smollm":
            tokenizer.backend_tokenizer.pre_tokenizer = DIGITS
        write_expected(folder, by_tokenizer(tokenizer))
    folder, tokens, merges = gguf_byte_level("qwen2", regex(_QWEN2_SPLIT), {"pre": "qwen2"}, normalizers.NFC())
    vocab = {token: i for i, token in enumerate(tokens)}
    qwen2 = Qwen2Tokenizer(vocab=vocab, merges=merges)
    qwen2.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    qwen2.add_tokens([AddedToken("<tool>", normalized=False)])
    write_expected(folder, by_tokenizer(qwen2))


def sentence_piece(path, **settings):
    """A SentencePiece model, trained."""
    with tempfile.TemporaryDirectory() as dir:
        corpus = pathlib.Path(dir) / "corpus.txt"
        corpus.write_text(CORPUS[0])
        rules = pathlib.Path(dir) / "rules.tsv"
        # Few rules, so that the table is small: white space, wide letters, dots, a ligature.
        pairs = [("09", "20"), ("0A", "20"), ("0D", "20"), ("A0", "20"), ("2003", "20"), ("2026", "2E 2E 2E"), ("FB01", "66 69")]
        pairs += [("65 301", "E9"), ("200B", "20")] + [(f"{0xFF21 + i:X}", f"{0x41 + i:X}") for i in range(58)]
        rules.write_text("".join(f"{a}\t{b}\n" for a, b in pairs))
        if settings.pop("rules", True):
            settings["normalization_rule_tsv"] = str(rules)
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=f"{dir}/model", vocab_size=600, hard_vocab_limit=False, character_coverage=0.98,
            minloglevel=2, **settings
        )
        shutil.copy(f"{dir}/model.model", path)
        path.chmod(0o644)


LLAMA = {
    "model_type": "bpe",
    "byte_fallback": True,
    "split_digits": True,
    "remove_extra_whitespaces": False,
    "normalization_rule_name": "identity",
    "rules": False,
}


def gguf_sentence_piece(name, architecture, **settings):
    folder = made(f"gguf_{name}")
    with tempfile.TemporaryDirectory() as dir:
        path = pathlib.Path(dir) / "tokenizer.model"
        sentence_piece(path, **LLAMA | settings)
        model = sentencepiece.SentencePieceProcessor(str(path))
    count = model.get_piece_size()
    kinds = {"is_unknown": TokenType.UNKNOWN, "is_control": TokenType.CONTROL, "is_byte": TokenType.BYTE, "is_unused": TokenType.UNUSED}
    types = []
    for i in range(count):
        kind = next((kind for test, kind in kinds.items() if getattr(model, test)(i)), TokenType.NORMAL)
        types.append(kind)
    tokens = [model.id_to_piece(i) for i in range(count)]
    scores = [model.get_score(i) for i in range(count)]
    more = [("<tool>", TokenType.USER_DEFINED), ("<|im_end|>", TokenType.CONTROL)]
    if architecture == "gemma3":
        more += [("  ", TokenType.USER_DEFINED), ("   ", TokenType.USER_DEFINED), ("<mask>", TokenType.CONTROL)]
    tokens += [token for token, _ in more]
    types += [kind for _, kind in more]
    scores += [-1000.0] * len(more)
    writer = GGUFWriter(str(folder / "model.gguf"), architecture)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    finish(writer)
    write_expected(folder, by_tokenizer(gguf_tokenizer(folder)))


def wordpiece(name, config, lower):
    folder = made(name)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    vocab = tokenizer.get_vocab()
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in sorted(vocab, key=vocab.get)))
    for file, value in config.items():
        write_json(folder / file, value)
    write_expected(folder, by_tokenizer(AutoTokenizer.from_pretrained(str(folder))))


def bpe_files(name, special, config, split=None):
    folder = made(name)
    vocab, merges = byte_level_bpe(split or pre_tokenizers.ByteLevel(add_prefix_space=False), special)
    write_json(folder / "vocab.json", vocab)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    for file, value in config.items():
        write_json(folder / file, value)
    write_expected(folder, by_tokenizer(AutoTokenizer.from_pretrained(str(folder))))


def converted(name, file, converter, config, settings, **training):
    """A SentencePiece model and what its converter in convert_slow_tokenizer.py makes of it."""
    folder = made(name)
    sentence_piece(folder / file, model_type="unigram", **training)
    for other, value in config.items():
        write_json(folder / other, value)
    ids = {}
    original = SimpleNamespace(vocab_file=str(folder / file), convert_tokens_to_ids=lambda token: ids[token], **settings)
    made_by = converter(original)
    ids.update({token: i for i, (token, _) in reversed(list(enumerate(made_by.vocab(made_by.proto))))})
    backend = made_by.converted()
    special = [token for token in ids if token in settings.get("_special", [])]
    backend.add_special_tokens(special)
    # The space before a mask is the mask's in the tokenizer.json of these models on the Hub.
    masks = [token for token in ids if token in settings.get("_masks", [])]
    backend.add_special_tokens([AddedToken(token, lstrip=True, normalized=False) for token in masks])
    write_expected(folder, by_backend(backend))


def llama_model():
    folder = made("spm_llama")
    sentence_piece(folder / "tokenizer.model", **LLAMA)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True})
    model = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    bos = [model.bos_id()]
    # Special tokens in a text are text for sentencepiece.
    plain = [text for text in TEXTS if "<s>" not in text and text]
    expected = {"texts": plain, "ids": [bos + model.encode(text) for text in plain], "pairs": []}
    (folder / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


def main():
    all_gguf_byte_level()
    gguf_sentence_piece("llama", "llama")
    gguf_sentence_piece("gemma", "gemma3", add_dummy_prefix=False)
    wordpiece("wordpiece", {"config.json": {"model_type": "bert"}}, True)
    cased = {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False, "strip_accents": False, "tokenize_chinese_chars": False}
    wordpiece("wordpiece_cased", {"tokenizer_config.json": cased}, False)
    bpe_files("gpt2", ["<|endoftext|>"], {"tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer"}})
    mask = {"mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}}
    roberta = {"tokenizer_config.json": {"tokenizer_class": "RobertaTokenizer"} | mask}
    bpe_files("roberta", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], roberta)
    bpe_files("qwen2", ["<|endoftext|>"], {"config.json": {"model_type": "qwen2"}}, regex(_QWEN2_SPLIT))
    type_of = lambda name: {"config.json": {"model_type": name}}
    class_of = lambda name, **more: {"tokenizer_config.json": {"tokenizer_class": name} | more}
    extra = [f"<extra_id_{i}>" for i in range(100)]
    converted(
        "spm_t5", "spiece.model", slow.T5Converter, type_of("t5"), {"_extra_ids": 100, "_special": ["</s>", "<unk>", "<pad>"] + extra},
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
    )
    converted(
        "spm_xlm_roberta", "sentencepiece.bpe.model", slow.XLMRobertaConverter, type_of("xlm-roberta"),
        {"_special": ["<s>", "<pad>", "</s>", "<unk>"], "_masks": ["<mask>"]},
    )
    converted(
        "spm_albert", "spiece.model", slow.AlbertConverter, class_of("AlbertTokenizer"),
        {"keep_accents": False, "do_lower_case": True, "_special": ["<pad>", "<unk>", "[CLS]", "[SEP]"], "_masks": ["[MASK]"]},
        pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols="[CLS],[SEP]", user_defined_symbols="[MASK]",
    )
    converted(
        "spm_deberta_v2", "spm.model", slow.DebertaV2Converter, class_of("DebertaV2Tokenizer", do_lower_case=False, split_by_punct=True),
        {"do_lower_case": False, "split_by_punct": True, "_special": ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]},
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]",
        control_symbols="[MASK]",
    )
    llama_model()


def of_file(file, out):
    """For a comparison by hand: ids of a GGUF file's own tokenizer."""
    file = pathlib.Path(file)
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    if b"smollm" in file.read_bytes()[: 32 << 20]:
        tokenizer.backend_tokenizer.pre_tokenizer = DIGITS
    out = pathlib.Path(out)
    out.mkdir(exist_ok=True)
    write_expected(out, by_tokenizer(tokenizer))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--gguf", nargs=2)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if arguments.gguf:
        of_file(*arguments.gguf)
    else:
        main()
