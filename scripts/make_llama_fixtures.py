"""Writes the decoders that the tests of crates/model compare with: small random checkpoints of every family and every rotary scaling.

    python scripts/make_llama_fixtures.py
    python scripts/make_llama_fixtures.py --model DIR --out FILE     # of a real checkpoint, for the tests that are run by hand

Needs torch, transformers and safetensors. Each folder of crates/model/tests/fixtures/llama/ holds config.json (and, for some, with the keys
of transformers 4: old-config.json), model.safetensors and states.safetensors: `ids` [tokens] and `offsets` [rows + 1] of a few rows
laid end to end, `states` [tokens, hidden], the last hidden states that transformers computes for every row by itself in f32, `scores`
[tokens, vocabulary], the logits, and `greedy`, `beams` and `strict` with offsets of their own: what `generate` writes after
each row (twelve tokens at most; four beams, length penalty 0.8; three beams, length penalty 1.3, six tokens at least, no two tokens twice
in the same order).
"""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "crates/model/tests/fixtures/llama"
VOCABULARY = 50
SIZES = dict(
    vocab_size=VOCABULARY,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)


def randomize(model, seed):
    """Weights large enough for every part to matter; norms that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        draw = torch.randn(weight.shape, generator=generator)
        centre = 0 if "Gemma" in type(model).__name__ else 1
        weight.data = centre + 0.3 * draw if "norm" in name else 0.25 * draw
    return model.eval()


def rows(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCABULARY, (n,), generator=generator) for n in (7, 1, 18, 3, 41)]


def end_to_end(name, rows):
    lengths = torch.tensor([0] + [len(r) for r in rows])
    return {name: torch.cat(rows).to(torch.int32), f"{name}_offsets": lengths.cumsum(0).to(torch.int32)}


def write(name, model, seed, old_keys=None, **save):
    folder = FIXTURES / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    randomize(model, seed)
    model.save_pretrained(folder, **save)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if old_keys:
        saved = json.loads((folder / "config.json").read_text())
        for key in ("rope_parameters", "layer_types", "dtype", "sliding_window_pattern", "_sliding_window_pattern"):
            saved.pop(key, None)
        (folder / "old-config.json").write_text(json.dumps(saved | old_keys | {"torch_dtype": "float32"}, indent=2) + "\n")
    if not hasattr(model, "lm_head"):
        return
    write_expected(folder / "states.safetensors", model.float(), rows(seed))


def write_expected(path, model, ids):
    with torch.no_grad():
        ones = [torch.ones_like(r[None]) for r in ids]
        found = [model(r[None], attention_mask=m, output_hidden_states=True) for r, m in zip(ids, ones)]
        write = lambda r, m, **more: model.generate(r[None], attention_mask=m, max_new_tokens=12, do_sample=False, **more)[0][len(r) :]
        greedy = [write(r, m) for r, m in zip(ids, ones)]
        beams = [write(r, m, num_beams=4, length_penalty=0.8) for r, m in zip(ids, ones)]
        rules = dict(num_beams=3, length_penalty=1.3, min_new_tokens=6, no_repeat_ngram_size=2)
        strict = [write(r, m, **rules) for r, m in zip(ids, ones)]
    tensors = {k.replace("ids_offsets", "offsets"): v for k, v in end_to_end("ids", ids).items()}
    tensors["states"] = torch.cat([f.hidden_states[-1][0] for f in found]).contiguous()
    tensors["scores"] = torch.cat([f.logits[0] for f in found]).contiguous()
    tensors |= end_to_end("greedy", greedy) | end_to_end("beams", beams) | end_to_end("strict", strict)
    save_file(tensors, path)


PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):",
    "Once upon a time, in a village by the sea, there lived a",
    "<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n",
]


def real(model, out):
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = [torch.tensor(tokenizer(prompt)["input_ids"]) for prompt in PROMPTS]
    write_expected(out, AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval(), ids)


def main():
    rope = lambda **more: dict(rope_parameters=dict(rope_theta=1000.0, **more))
    old = lambda **more: dict(rope_theta=1000.0, rope_scaling=more or None)
    llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
    yarn = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
    deep = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=16.0, beta_slow=2.0, mscale=0.7, mscale_all_dim=0.4)
    linear, dynamic = dict(rope_type="linear", factor=2.0), dict(rope_type="dynamic", factor=2.0)
    make = lambda **more: LlamaForCausalLM(LlamaConfig(**SIZES | more))
    write("plain", make(**rope(rope_type="default"), head_dim=6), 1, old(), max_shard_size="12KB")
    biased = make(**rope(**linear), attention_bias=True, mlp_bias=True, head_dim=8, tie_word_embeddings=True, eos_token_id=[2, 7])
    write("linear", biased, 2, old(type="linear", factor=2.0))
    write("dynamic", make(**rope(**dynamic)), 3, old(**dynamic))
    write("llama3", make(**rope(**llama3)), 4, old(**llama3))
    write("yarn", make(**rope(**yarn)), 5, old(**yarn))
    write("yarn-scaled", make(**rope(**deep)), 6, old(**deep))
    write("bare", LlamaModel(LlamaConfig(**SIZES)), 7)
    mistral = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=5, **rope(rope_type="default")))
    write("mistral", mistral, 8, old() | dict(sliding_window=5))
    qwen = dict(**SIZES, use_sliding_window=True, sliding_window=6, max_window_layers=1)
    write("qwen2", Qwen2ForCausalLM(Qwen2Config(**qwen, **rope(rope_type="default"))), 9, old() | dict(sliding_window=6))
    write("qwen3", Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=10, tie_word_embeddings=True, **rope(rope_type="default"))), 10, old())
    kinds = ["sliding_attention", "full_attention"]
    gemma = Gemma3TextConfig(
        **SIZES,
        head_dim=10,
        query_pre_attn_scalar=12,
        sliding_window=6,
        layer_types=kinds,
        rope_parameters={
            "full_attention": dict(rope_type="linear", factor=2.0, rope_theta=5000.0),
            "sliding_attention": dict(rope_type="default", rope_theta=300.0),
        },
    )
    keys = dict(rope_theta=5000.0, rope_local_base_freq=300.0, rope_scaling=dict(rope_type="linear", factor=2.0), sliding_window_pattern=2)
    write("gemma3", Gemma3ForCausalLM(gemma), 11, keys)
    for folder in sorted(FIXTURES.iterdir()):
        print(folder.name, sum(f.stat().st_size for f in folder.iterdir()), "bytes", sorted(f.name for f in folder.iterdir()))


if __name__ == "__main__":
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", help="a checkpoint in Hugging Face layout, with its tokenizer")
    a.add_argument("--out", help="the file to write")
    o = a.parse_args()
    real(o.model, o.out) if o.model else main()
