"""Writes the checkpoints and states that the tests of crates/model compare with.

    python scripts/make_backbone_fixtures.py                     # small random checkpoints of every architecture
    python scripts/make_backbone_fixtures.py --minilm DIR        # states of all-MiniLM-L6-v2 (only states, no weights)

Needs torch, transformers and safetensors. Each folder of crates/model/tests/fixtures/ holds a checkpoint in Hugging Face
layout and states.safetensors: `ids` [tokens] and `offsets` [rows + 1] of a few rows laid end to end, and `states`
[tokens, hidden], the last hidden states that transformers computes for every row by itself, in f32 without dropout.
The folders of T5 have scores.safetensors, too: for the same rows `targets` and `target_offsets`, the tokens that a decoder is
given, `scores` [targets, vocabulary], what it says follows each, and `greedy` and `beams`, with offsets of their own, the tokens
that `generate` writes by itself (twelve at most; four beams, length penalty 0.8), and `strict` (three beams, length penalty 1.3,
six tokens at least, no two tokens twice in the same order).
bert/pairs.safetensors has `segments` [tokens], too: there the second half of each row is of type 1.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AlbertForPreTraining,
    AlbertModel,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    BertModel,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForPreTraining,
    ElectraModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5ForConditionalGeneration,
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


def end_to_end(name, rows):
    lengths = torch.tensor([0] + [len(r) for r in rows])
    return {name: torch.cat(rows).to(torch.int32), f"{name}_offsets": lengths.cumsum(0).to(torch.int32)}


def write_t5(name, config, seed):
    """A checkpoint, its encoder's states, its decoder's scores, and what it generates."""
    folder = FIXTURES / name
    folder.mkdir(parents=True, exist_ok=True)
    model = T5ForConditionalGeneration(config)
    if not config.scale_decoder_outputs:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    randomize(model, seed)
    for layer in model.decoder.block:  # What is written depends on what was read and written more than on the last token.
        for attention in (layer.layer[0].SelfAttention, layer.layer[1].EncDecAttention):
            attention.o.weight.data *= 4
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = rows(seed, config.pad_token_id)
    write_states(folder / "states.safetensors", model.encoder, ids)
    generator = torch.Generator().manual_seed(seed + 100)
    texts = [torch.randint(3, VOCABULARY, (n,), generator=generator) for n in (4, 9, 1, 6, 20)]
    targets = [torch.cat([torch.tensor([config.decoder_start_token_id]), t[:-1]]) for t in texts]
    with torch.no_grad():
        ones = [torch.ones_like(r[None]) for r in ids]
        run = lambda r, m, t: model(input_ids=r[None], attention_mask=m, decoder_input_ids=t[None]).logits[0]
        scores = [run(r, m, t) for r, m, t in zip(ids, ones, targets)]
        write = lambda r, m, **more: model.generate(r[None], attention_mask=m, max_new_tokens=12, do_sample=False, **more)[0][1:]
        greedy = [write(r, m) for r, m in zip(ids, ones)]
        beams = [write(r, m, num_beams=4, length_penalty=0.8) for r, m in zip(ids, ones)]
        rules = dict(num_beams=3, length_penalty=1.3, min_new_tokens=6, no_repeat_ngram_size=2)
        strict = [write(r, m, **rules) for r, m in zip(ids, ones)]
    tensors = end_to_end("targets", targets) | {"scores": torch.cat(scores).contiguous()}
    tensors = {"target_offsets" if k == "targets_offsets" else k: v for k, v in tensors.items()}
    save_file(tensors | end_to_end("greedy", greedy) | end_to_end("beams", beams) | end_to_end("strict", strict), folder / "scores.safetensors")


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
    more_encoders()
    t5()
    for folder in sorted(FIXTURES.iterdir()):
        if folder.is_dir():
            print(folder.name, sum(f.stat().st_size for f in folder.iterdir()), "bytes", [f.name for f in folder.iterdir()])


def more_encoders():
    sizes = dict(vocab_size=VOCABULARY, hidden_size=32, num_attention_heads=4, intermediate_size=48)
    few = dict(num_hidden_layers=2, max_position_embeddings=40)
    write("electra", ElectraForPreTraining(ElectraConfig(**sizes, **few, embedding_size=12)), 10, base="electra")
    write("electra-wide", ElectraModel(ElectraConfig(**sizes, **few, embedding_size=32, hidden_act="relu")), 11)
    write("mpnet", MPNetModel(MPNetConfig(**sizes, **few)), 12)
    shared = dict(num_hidden_layers=4, max_position_embeddings=40, embedding_size=12)
    write("albert", AlbertModel(AlbertConfig(**sizes, **shared)), 13)
    groups = dict(num_hidden_groups=2, inner_group_num=2, hidden_act="gelu")
    write("albert-groups", AlbertForPreTraining(AlbertConfig(**sizes, **shared | {"num_hidden_layers": 3}, **groups)), 14, base="albert")
    # As version 3, with ranges of distances that the rows reach.
    v3 = dict(type_vocab_size=0, relative_attention=True, pos_att_type=["p2c", "c2p"], position_biased_input=False)
    v3 |= dict(position_buckets=8, max_relative_positions=-1, norm_rel_ebd="layer_norm", share_att_key=True)
    write("deberta", DebertaV2Model(DebertaV2Config(**sizes, **few, **v3)), 15)
    v2 = dict(type_vocab_size=2, relative_attention=True, pos_att_type="c2p|p2c", position_biased_input=True)
    v2 |= dict(max_relative_positions=12, share_att_key=False)
    write("deberta-own", DebertaV2ForSequenceClassification(DebertaV2Config(**sizes, **few, **v2)), 16, base="deberta")
    modern_bert()


def modern_bert():
    sizes = dict(vocab_size=VOCABULARY, hidden_size=32, num_attention_heads=4, intermediate_size=24)
    sizes |= dict(max_position_embeddings=40, local_attention=8)
    sizes |= dict(pad_token_id=0, bos_token_id=None, eos_token_id=None, cls_token_id=None, sep_token_id=None)
    # The keys that transformers 4 wrote: the same network.
    old = dict(global_attn_every_n_layers=3, global_rope_theta=160000.0, local_rope_theta=100.0)
    folder = write("modernbert", ModernBertModel(ModernBertConfig(**sizes, num_hidden_layers=4, **old)), 17)
    config = json.loads((folder / "config.json").read_text())
    for key in ("layer_types", "rope_parameters"):
        del config[key]
    (folder / "old-config.json").write_text(json.dumps(config | old, indent=2) + "\n")
    biases = dict(attention_bias=True, mlp_bias=True, norm_bias=True, num_hidden_layers=2)
    types = dict(layer_types=["sliding_attention", "full_attention"])
    write("modernbert-biases", ModernBertForMaskedLM(ModernBertConfig(**sizes, **biases, **types)), 18, base="model")


def t5():
    sizes = dict(vocab_size=VOCABULARY, d_model=32, d_kv=8, num_heads=6, d_ff=40, decoder_start_token_id=0)
    near = dict(relative_attention_num_buckets=8, relative_attention_max_distance=20)
    write_t5("t5", T5Config(**sizes, **near, num_layers=3, num_decoder_layers=2, feed_forward_proj="relu"), 8)
    gated = dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    write_t5("t5-gated", T5Config(**sizes, **near, **gated, num_layers=3, num_decoder_layers=2), 9)


def minilm(directory):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    ids = [torch.tensor(tokenizer(s)["input_ids"]) for s in SENTENCES]
    path = FIXTURES / "minilm-states.safetensors"
    write_states(path, AutoModel.from_pretrained(directory, dtype=torch.float32).eval(), ids)
    print(path.name, path.stat().st_size, "bytes", json.dumps([len(r) for r in ids]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--t5", action="store_true", help="only the folders of T5")
    parser.add_argument("--modern", action="store_true", help="only the folders of ModernBERT")
    parser.add_argument("--more", action="store_true", help="only the folders of ELECTRA, MPNet, ALBERT, DeBERTa and ModernBERT")
    parser.add_argument("--minilm", metavar="DIR", help="all-MiniLM-L6-v2 in Hugging Face layout")
    arguments = parser.parse_args()
    parts = {"t5": t5, "more": more_encoders, "modern": modern_bert}
    wanted = [part for name, part in parts.items() if getattr(arguments, name)]
    minilm(arguments.minilm) if arguments.minilm else [part() for part in wanted] if wanted else small()
