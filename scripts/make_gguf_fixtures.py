"""Writes the GGUF files that the tests of crates/gguf and crates/model compare with.

    python scripts/make_gguf_fixtures.py
    python scripts/make_gguf_fixtures.py --gguf FILE OUT    # the tensors that transformers reads of any file, for a comparison by hand

Needs gguf (of llama.cpp), numpy, torch, transformers and safetensors.

crates/gguf/tests/fixtures/: `quants.gguf` has a tensor [3, 256] of each type, quantized by the package gguf, or, of those that it only
dequantizes, random blocks with small scales; and a value of each type of metadata. `quants_f32.gguf` has the same tensors as the
package dequantizes them. `written.gguf` has numbers, and what the package makes of them.

crates/model/tests/fixtures/gguf/: for each architecture NAME.gguf, a small random model of transformers as llama.cpp's
convert_hf_to_gguf.py writes it (the permutation and the one in Gemma's norms are copies of its formulas); NAME.safetensors, the tensors
that transformers itself reads from that file, which are those of the model; NAME.json, the settings of the model that are in the file.
`llama3.gguf` has no model, but the factors of another Llama 3 scaling.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf import MODEL_ARCH, GGUFWriter, dequantize, get_tensor_name_map, quantize
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config, Qwen3Config
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUANTIZED = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1]
# What crates/gguf writes and the package quantizes.
WRITTEN = [Type.F16, Type.Q8_0, Type.Q4_0, Type.Q5_0]
# Bytes of a block, and where its f16 scales stand.
RANDOM_BLOCKS = {
    Type.Q4_K: (144, [0, 2]),
    Type.Q5_K: (176, [0, 2]),
    Type.Q6_K: (210, [208]),
    Type.Q2_K: (84, [80, 82]),
}


def write(path, fill, architecture="llama"):
    """A GGUF file that `fill` gives its keys and tensors."""
    writer = GGUFWriter(str(path), architecture)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def random_blocks(random, rows, size, scales):
    """Blocks of random bytes with sane scales, one block a row."""
    blocks = random.integers(0, 256, size=(rows, size), dtype=np.uint8)
    for at in scales:
        blocks[:, at : at + 2] = random.normal(0, 0.01, size=(rows, 1)).astype(np.float16).view(np.uint8)
    return blocks


def every_value(writer):
    """A key of each type of value."""
    writer.add_uint8("a.u8", 200)
    writer.add_int8("a.i8", -100)
    writer.add_uint16("a.u16", 60000)
    writer.add_int16("a.i16", -30000)
    writer.add_uint32("a.u32", 4000000000)
    writer.add_int32("a.i32", -2000000000)
    writer.add_uint64("a.u64", 2**63)
    writer.add_int64("a.i64", -(2**62))
    writer.add_float32("a.f32", 1e-5)
    writer.add_float64("a.f64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "grüße 🙂")
    writer.add_array("a.strings", ["Ġthe", "", "▁a"])
    writer.add_array("a.floats", [0.5, -1.5])
    writer.add_array("a.bools", [True, False])
    writer.add_array("a.ints", [1, -2, 3])


def quants():
    folder = ROOT / "crates/gguf/tests/fixtures"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(18)
    tensors = {}
    for kind in QUANTIZED:
        numbers = random.normal(0, 1, size=(3, 256)).astype(np.float32)
        tensors[kind] = quantize(numbers, kind)
    for kind, (size, scales) in RANDOM_BLOCKS.items():
        tensors[kind] = random_blocks(random, 3, size, scales)

    def quantized(writer):
        every_value(writer)
        for kind, data in tensors.items():
            plain = kind in (Type.F32, Type.F16)
            writer.add_tensor(kind.name.lower(), data, raw_dtype=None if plain else kind)
        # Tensors without blocks: a vector, and one of three dimensions.
        writer.add_tensor("vector", np.arange(5, dtype=np.float32))
        writer.add_tensor("cube", np.arange(24, dtype=np.float32).reshape(2, 3, 4))

    def numbers(writer):
        for kind, data in tensors.items():
            writer.add_tensor(kind.name.lower(), dequantize(data, kind))

    # What is written here: numbers, and what the package makes of them.
    written = random.normal(0, 1, size=(6, 256)).astype(np.float32)
    written[1] *= 1e-6
    written[2] = np.abs(written[2]) + 3
    written[3, :64] = 0
    written[4] = np.round(written[4] * 4) / 2
    written[5] *= np.exp(random.normal(0, 3, size=256)).astype(np.float32)

    def to_write(writer):
        writer.add_tensor("f32", written)
        for kind in WRITTEN:
            data = quantize(written, kind)
            writer.add_tensor(kind.name.lower(), data, raw_dtype=None if kind == Type.F16 else kind)

    write(folder / "written.gguf", to_write)
    write(folder / "quants.gguf", quantized)
    write(folder / "quants_f32.gguf", numbers)


SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 24,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
OTHER_LLAMA3 = LLAMA3 | {"factor": 4.0, "high_freq_factor": 8.0, "original_max_position_embeddings": 1024}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
# Architecture of GGUF, its place in gguf-py, and the model's config.
MODELS = {
    "llama": (
        MODEL_ARCH.LLAMA,
        LlamaConfig(
            **SIZES,
            head_dim=16,
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=False,
            rms_norm_eps=1e-5,
            rope_parameters=LLAMA3 | {"rope_theta": 500000.0},
        ),
    ),
    "qwen2": (
        MODEL_ARCH.QWEN2,
        Qwen2Config(**SIZES, tie_word_embeddings=True, rms_norm_eps=1e-6, rope_parameters=YARN | {"rope_theta": 1e6}),
    ),
    "qwen3": (
        MODEL_ARCH.QWEN3,
        Qwen3Config(**SIZES, head_dim=24, tie_word_embeddings=False, rope_parameters={"rope_theta": 1e6, "rope_type": "default"}),
    ),
    "gemma3": (
        MODEL_ARCH.GEMMA3,
        Gemma3TextConfig(
            **SIZES | {"num_hidden_layers": 7, "intermediate_size": 32},
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=64,
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        ),
    ),
}


def permute(weights, heads):
    """LlamaModel.permute of convert_hf_to_gguf.py."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def converted(name, tensor, architecture, config):
    """What convert_hf_to_gguf.py does to a tensor."""
    if architecture == "llama":
        if name.endswith(("q_proj.weight", "q_proj.bias")):
            return permute(tensor, config.num_attention_heads)
        if name.endswith(("k_proj.weight", "k_proj.bias")):
            return permute(tensor, config.num_key_value_heads)
    if architecture == "gemma3" and name.endswith("norm.weight"):
        return tensor + 1
    return tensor


def factors(config):
    """`rope_freqs.weight`: what each frequency is divided by."""
    rope = config.rope_parameters
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, device="cpu")
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, config.head_dim, 2).float() / config.head_dim)
    return (plain / scaled).numpy()


def settings(architecture, config):
    """The settings of a model in the words of config.json, as far as its file says them."""
    keys = list(SIZES) + ["model_type", "rms_norm_eps", "tie_word_embeddings"]
    rope = config.rope_parameters
    full = rope.get("full_attention", rope)
    found = {key: getattr(config, key) for key in keys}
    found["head_dim"] = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    found["rope_theta"] = full["rope_theta"]
    scaling = {key: value for key, value in full.items() if key != "rope_theta"}
    if scaling["rope_type"] != "default":
        found["rope_scaling"] = scaling
    more = {
        "llama": ["attention_bias", "mlp_bias", "hidden_act"],
        "qwen2": ["hidden_act"],
        "qwen3": ["attention_bias", "hidden_act"],
        "gemma3": ["attention_bias", "hidden_activation", "sliding_window", "layer_types", "query_pre_attn_scalar"],
    }
    found |= {key: getattr(config, key) for key in more[architecture]}
    if architecture == "gemma3":
        found["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    return found


def add_settings(writer, architecture, config):
    """The keys of set_gguf_parameters in convert_hf_to_gguf.py."""
    found = settings(architecture, config)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(found["rope_theta"])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.pad_token_id)
    if architecture == "llama":
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(found["head_dim"])
    if architecture in ("qwen3", "gemma3"):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if architecture == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    scaling = found.get("rope_scaling", {})
    if scaling.get("rope_type") in ("linear", "yarn"):
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType(scaling["rope_type"]))
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling.get("rope_type") == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


def models():
    folder = ROOT / "crates/model/tests/fixtures/gguf"
    folder.mkdir(parents=True, exist_ok=True)
    for architecture, (place, config) in MODELS.items():
        torch.manual_seed(18)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_((torch.randn_like(parameter) * 0.1).half().float())
        names = get_tensor_name_map(place, config.num_hidden_layers)
        state = {k: v for k, v in model.state_dict().items() if not (config.tie_word_embeddings and k == "lm_head.weight")}

        def fill(writer):
            add_settings(writer, architecture, config)
            if config.rope_parameters.get("rope_type") == "llama3":
                writer.add_tensor("rope_freqs.weight", factors(config))
            for name, tensor in state.items():
                numbers = np.ascontiguousarray(converted(name, tensor.numpy(), architecture, config))
                kind = np.float16 if numbers.ndim == 2 else np.float32
                writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), numbers.astype(kind))

        path = folder / f"{architecture}.gguf"
        write(path, fill, architecture)
        found = settings(architecture, config)
        (folder / f"{architecture}.json").write_text(json.dumps(found, indent=1) + "\n")
        read = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)
        for key in set(read["config"]) & set(found):
            assert key in ("vocab_size",) or np.isclose(read["config"][key], found[key]) if isinstance(found[key], float) else read["config"][key] == found[key], key
        tensors = {name: tensor for name, tensor in read["tensors"].items() if name in state}
        assert set(tensors) == set(state), set(tensors) ^ set(state)
        for name, tensor in tensors.items():
            assert torch.allclose(tensor, state[name], atol=1e-6), name
        target = folder / f"{architecture}.safetensors"
        save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, str(target))
        target.chmod(0o644)

    other = LlamaConfig(**SIZES, head_dim=64, rope_parameters=OTHER_LLAMA3 | {"rope_theta": 10000.0})

    def fill(writer):
        add_settings(writer, "llama", other)
        writer.add_tensor("rope_freqs.weight", factors(other))
        writer.add_tensor("token_embd.weight", np.zeros((24, 32), dtype=np.float16))

    write(folder / "llama3.gguf", fill)


def of_file(file, out):
    """All tensors of a file, as `tensors.safetensors`, with transformers' names."""
    config = AutoConfig.from_pretrained(str(pathlib.Path(file).parent), gguf_file=pathlib.Path(file).name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tensors = load_gguf_checkpoint(file, return_tensors=True, model_to_load=model)["tensors"]
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, str(pathlib.Path(out) / "tensors.safetensors"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--gguf", nargs=2)
    arguments = parser.parse_args()
    if arguments.gguf:
        of_file(*arguments.gguf)
    else:
        quants()
        models()
