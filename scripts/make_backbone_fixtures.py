"""Writes the checkpoints and states that the tests of crates/model compare with.

    python scripts/make_backbone_fixtures.py                     # small random checkpoints of every architecture
    python scripts/make_backbone_fixtures.py --minilm DIR        # states of all-MiniLM-L6-v2 (only states, no weights)

Needs torch, transformers and safetensors. Each folder of crates/model/tests/fixtures/ holds a checkpoint in Hugging Face
layout and states.safetensors: `ids` [tokens] and `offsets` [rows + 1] of a few rows laid end to end, and `states`
[tokens, hidden], the last hidden states that transformers computes for every row by itself, in f32 without dropout.
bert/pairs.safetensors has `segments` [tokens], too: there the second half of each row is of type 1.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "crates/model/tests/fixtures"
VOCABULARY = 60
SENTENCES = [
    "Play the new album by Björk on the kitchen speaker.",
    "Is it going to rain in Kyoto tomorrow?",
    "No.",
    "明日は雨ですか？ 🌧️",
    "The naïve café owner's résumé, re-read at 9:45 pm, wasn't half bad!",
]


def randomize(model, seed):
    """Weights large enough for every part to matter; norms that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        draw = torch.randn(weight.shape, generator=generator)
        norm = "norm" in name.lower()
        weight.data = 1 + 0.3 * draw if norm and name.endswith("weight") else draw * (0.3 if norm else 0.15)
    return model.eval()


def rows(seed, padding):
    """Rows of varied lengths; one of them has the padding id inside."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(3, VOCABULARY, (n,), generator=generator) for n in (7, 1, 16, 3, 36)]
    ids[2][5] = padding
    return ids


def write_states(path, model, ids):
    with torch.no_grad():
        states = [model(r[None], attention_mask=torch.ones_like(r[None])).last_hidden_state[0] for r in ids]
    lengths = torch.tensor([0] + [len(r) for r in ids])
    tensors = {
        "ids": torch.cat(ids).to(torch.int32),
        "offsets": lengths.cumsum(0).to(torch.int32),
        "states": torch.cat(states).float().contiguous(),
    }
    save_file(tensors, path)


def write_pairs(folder):
    """States of the checkpoint in `folder` where the second half of every row is the second text of a pair."""
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).float().eval()
    ids = rows(8, model.config.pad_token_id)
    segments = [(torch.arange(len(r)) >= (len(r) + 1) // 2).long() for r in ids]
    with torch.no_grad():
        run = lambda r, s: model(r[None], attention_mask=torch.ones_like(r[None]), token_type_ids=s[None])
        states = [run(r, s).last_hidden_state[0] for r, s in zip(ids, segments)]
    tensors = {
        "ids": torch.cat(ids).to(torch.int32),
        "segments": torch.cat(segments).to(torch.int32),
        "offsets": torch.tensor([0] + [len(r) for r in ids]).cumsum(0).to(torch.int32),
        "states": torch.cat(states).contiguous(),
    }
    save_file(tensors, folder / "pairs.safetensors")


def write(name, model, seed, base=None, dtype=None, shard=None):
    """Saves the checkpoint, then the states of the encoder inside it."""
    folder = FIXTURES / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    randomize(model, seed)
    if dtype is not None:
        model = model.to(dtype)
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    for extra in folder.glob("generation_config.json"):
        extra.unlink()
    encoder = (getattr(model, base) if base else model).float().eval()
    write_states(folder / "states.safetensors", encoder, rows(seed, model.config.pad_token_id))
    return folder


def legacy(folder):
    """As files of 2019 were: norms with gamma and beta, and the position ids saved."""
    path = folder / "model.safetensors"
    tensors = {}
    for name, tensor in load_file(path).items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        tensors[name] = tensor
    tensors["bert.embeddings.position_ids"] = torch.arange(40)[None]
    save_file(tensors, path, metadata={"format": "pt"})


def small():
    sizes = dict(vocab_size=VOCABULARY, hidden_size=32, num_attention_heads=4, intermediate_size=48)
    bert = BertConfig(**sizes, num_hidden_layers=3, max_position_embeddings=40)
    write_pairs(write("bert", BertModel(bert, add_pooling_layer=False), 1))
    legacy(write("bert-inside", BertForPreTraining(bert), 2, base="bert"))
    short = BertConfig(**sizes, num_hidden_layers=1, max_position_embeddings=40, layer_norm_eps=1e-6)
    write("bert-f16", BertModel(short), 3, dtype=torch.float16)
    write("bert-bf16", BertModel(short), 4, dtype=torch.bfloat16)
    distil = DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=40
    )
    write("distilbert", DistilBertForSequenceClassification(distil), 5, base="distilbert")
    after = dict(max_position_embeddings=40, num_hidden_layers=2, type_vocab_size=1, pad_token_id=1)
    write("roberta", RobertaModel(RobertaConfig(**sizes, **after, layer_norm_eps=1e-5)), 6)
    xlm = XLMRobertaForMaskedLM(XLMRobertaConfig(**sizes, **after))
    write("xlm-roberta", xlm, 7, base="roberta", shard="40KB")
    for folder in sorted(FIXTURES.iterdir()):
        if folder.is_dir():
            print(folder.name, sum(f.stat().st_size for f in folder.iterdir()), "bytes", [f.name for f in folder.iterdir()])


def minilm(directory):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    ids = [torch.tensor(tokenizer(s)["input_ids"]) for s in SENTENCES]
    path = FIXTURES / "minilm-states.safetensors"
    write_states(path, AutoModel.from_pretrained(directory, dtype=torch.float32).eval(), ids)
    print(path.name, path.stat().st_size, "bytes", json.dumps([len(r) for r in ids]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", metavar="DIR", help="all-MiniLM-L6-v2 in Hugging Face layout")
    arguments = parser.parse_args()
    minilm(arguments.minilm) if arguments.minilm else small()
