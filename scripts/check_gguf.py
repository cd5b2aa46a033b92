#!/usr/bin/env python3
"""Reads what `polytask export --format gguf` wrote with gguf-py and transformers.

    pip install gguf numpy torch transformers peft
    polytask export RUN --format gguf --task NAME --quantization f32 --out f32.gguf
    polytask export RUN --format gguf --task NAME --quantization q8_0 --out q8_0.gguf
    python scripts/check_gguf.py f32.gguf --model RUN/model [--adapter RUN/model/adapters/NAME]
    python scripts/check_gguf.py q8_0.gguf --numbers f32.gguf

With --numbers the blocks must be what gguf-py makes of the numbers of that file (f16, q8_0, q4_0, q5_0: byte for byte; of q4_k, which it
does not write, the error is printed beside that of q4_0). With --model the logits and token ids of transformers on the file must be those
of transformers on the folder.
"""
import argparse
import sys
from pathlib import Path

import numpy
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, dequantize, quantize

TEXTS = ["The station is closed today.", "play some jazz by Miles Davis", "2 + 2 = 4; naïve café 🙂\n\tdone"]


def bits(tensor):
    return numpy.ascontiguousarray(tensor.data).view(numpy.uint8).reshape(-1)


def check_blocks(file, numbers):
    reference = {t.name: t for t in GGUFReader(numbers).tensors}
    counts, wrong, errors = {}, [], {}
    tensors = GGUFReader(file).tensors
    assert {t.name for t in tensors} == set(reference)
    for tensor in tensors:
        plain = reference[tensor.name]
        values = plain.data.view(numpy.float32).reshape(tuple(reversed(plain.shape.tolist())))
        kind = tensor.tensor_type
        counts[kind.name] = counts.get(kind.name, 0) + 1
        if kind in (Type.F32, Type.F16, Type.Q8_0, Type.Q4_0, Type.Q5_0):
            if not numpy.array_equal(bits(tensor), quantize(values, kind).view(numpy.uint8).reshape(-1)):
                wrong.append(tensor.name)
        else:
            size = numpy.sqrt((values ** 2).mean())
            own = dequantize(tensor.data, kind).reshape(values.shape)
            other = dequantize(quantize(values, Type.Q4_0), Type.Q4_0).reshape(values.shape)
            errors[tensor.name] = [float(numpy.sqrt(((x - values) ** 2).mean()) / size) for x in (own, other)]
    print(", ".join(f"{n} tensors {kind}" for kind, n in sorted(counts.items())))
    if errors:
        own, other = numpy.mean(list(errors.values()), axis=0)
        print(f"relative error {own:.4f}, of q4_0 {other:.4f}")
    print("blocks are those of gguf-py" if not wrong else f"FAILED: other blocks in {', '.join(wrong[:5])} ({len(wrong)})")
    return not wrong


def check_model(file, folder, adapter, tolerance):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    path = Path(file).resolve()
    read = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if adapter:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, adapter).eval()
    plain = PreTrainedTokenizerFast(tokenizer_file=str(Path(folder) / "tokenizer.json"))
    good = True
    for text in TEXTS:
        ids, own = tokenizer(text).input_ids, plain(text).input_ids
        with torch.no_grad():
            found, expected = (m(torch.tensor([own])).logits for m in (read, model))
        difference = (found - expected).abs().max().item()
        fine = ids == own and difference < tolerance
        good &= fine
        print(f"{len(own)} tokens, ids {'equal' if ids == own else f'DIFFER: {ids} {own}'}, "
              f"greatest difference of a logit {difference:.2e}{'' if fine else '  <-- FAILED'}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--numbers")
    parser.add_argument("--model")
    parser.add_argument("--adapter")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    args = parser.parse_args()
    good = True
    reader = GGUFReader(args.file)
    texts = [f for f in reader.fields.values() if f.types and f.types[0].name in ("STRING", "UINT32", "FLOAT32", "BOOL")]
    print(", ".join(f"{f.name} = {str(f.contents())[:40]!r}" for f in texts if not f.name.startswith("GGUF")))
    if args.numbers:
        good &= check_blocks(args.file, args.numbers)
    if args.model:
        good &= check_model(args.file, args.model, args.adapter, args.tolerance)
    sys.exit(not good)


if __name__ == "__main__":
    main()
