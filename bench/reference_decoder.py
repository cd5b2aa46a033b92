#!/usr/bin/env python3
"""Steps of a decoder in PyTorch, for bench/decoder.py: AdamW in f32 on texts in padded batches. Prints one JSON object as its last line."""
import argparse, json, os, random, resource, statistics, time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

WARM = 3


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--model", required=True)
    a.add_argument("--texts", required=True)
    a.add_argument("--what", choices=["full", "lora", "scratch"], default="full")
    a.add_argument("--batches", choices=["grouped", "random"], default="grouped")
    a.add_argument("--steps", type=int, default=12)
    a.add_argument("--tokens", type=int, default=1024)
    a.add_argument("--max-length", type=int, default=128)
    a.add_argument("--threads", type=int, default=2)
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(17)
    tokenizer = AutoTokenizer.from_pretrained(o.model)
    rows = [tokenizer(json.loads(line)["text"])["input_ids"][: o.max_length] for line in open(o.texts)]
    rows = [row for row in rows if len(row) > 1]
    if o.what == "scratch":
        sizes = dict(num_hidden_layers=8, hidden_size=384, num_attention_heads=6, num_key_value_heads=2, intermediate_size=1024)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **sizes)).train()
    else:
        model = AutoModelForCausalLM.from_pretrained(o.model, dtype=torch.float32).train()
    if o.what == "lora":
        from peft import LoraConfig, get_peft_model

        maps = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=maps))
    moved = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moved, lr=1e-5)
    rates = []
    for batch in batches_of(rows, o)[: o.steps]:
        begin = time.perf_counter()
        longest = max(map(len, batch))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch])
        loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100), use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moved, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        rates.append(sum(map(len, batch)) / (time.perf_counter() - begin))
    print(json.dumps({"tokens_per_second": statistics.median(rates[WARM:]), "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def batches_of(rows, o):
    """Batches of about as many real tokens each: of rows of like length in random order of batches, or of rows as they come."""
    draw = random.Random(17)
    draw.shuffle(rows)
    if o.batches == "grouped":
        rows.sort(key=len)
    batches, batch, tokens = [], [], 0
    for row in rows:
        if batch and tokens + len(row) > o.tokens:
            batches.append(batch)
            batch, tokens = [], 0
        batch.append(row)
        tokens += len(row)
    batches.append(batch)
    draw.shuffle(batches)
    return batches


if __name__ == "__main__":
    main()
