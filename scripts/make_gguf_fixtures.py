"""Writes the GGUF files that the tests of crates/gguf and crates/model compare with.

    python scripts/make_gguf_fixtures.py

Needs gguf (of llama.cpp), numpy, torch, transformers and safetensors.

crates/gguf/tests/fixtures/: `quants.gguf` has a tensor [3, 256] of each type, quantized by the package gguf, or, of those that it only
dequantizes, random blocks with small scales; and a value of each type of metadata. `quants_f32.gguf` has the same tensors as the
package dequantizes them.
"""

import pathlib

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType, GGUFWriter, dequantize, quantize

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUANTIZED = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1]
# Bytes of a block, and where its f16 scales stand.
RANDOM_BLOCKS = {
    Type.Q4_K: (144, [0, 2]),
    Type.Q5_K: (176, [0, 2]),
    Type.Q6_K: (210, [208]),
    Type.Q2_K: (84, [80, 82]),
}


def write(path, fill):
    """A GGUF file that `fill` gives its keys and tensors."""
    writer = GGUFWriter(str(path), "llama")
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

    write(folder / "quants.gguf", quantized)
    write(folder / "quants_f32.gguf", numbers)


if __name__ == "__main__":
    quants()
