"""Writes the adapters and states that crates/model/tests/it/adapters.rs compares with.

    python scripts/make_adapter_fixtures.py

Needs torch, transformers, peft and safetensors, and the checkpoints bert/ and t5/ of make_backbone_fixtures.py. Each folder of
crates/model/tests/fixtures/adapters/ is an adapter with random weights as peft's save_pretrained writes it, and states.safetensors:
`ids` [tokens] and `offsets` [rows + 1] of a few rows laid end to end, and `states` [tokens, hidden], the last hidden states of
`PeftModel` for every row by itself. A folder of Poly has `states.TASK` for each of its tasks. Of DoRA there are also
`gradient.NAME`, the gradients of sum(states cos(1.3 i)) by the adapter's tensors, with i counting all numbers of the states.
"""

import json
import shutil

import torch
from peft import IA3Config, LoraConfig, PeftModel, PolyConfig, VeraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModel

from make_backbone_fixtures import FIXTURES, rows

ADAPTERS = FIXTURES / "adapters"
QKV = ["query", "key", "value"]

# The checkpoint and the adapter.
CASES = {
    "bert-lora": ("bert", LoraConfig(r=4, lora_alpha=6, target_modules=["query", "value"])),
    "bert-rslora": ("bert", LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=QKV + ["dense"])),
    "bert-dora": ("bert", LoraConfig(r=3, lora_alpha=6, use_dora=True, target_modules=QKV + ["dense"])),
    "bert-ia3": ("bert", IA3Config(target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"])),
    "bert-vera": ("bert", VeraConfig(r=6, target_modules=["query", "value", "intermediate.dense"])),
    "bert-poly": ("bert", PolyConfig(r=3, n_tasks=2, n_skills=3, n_splits=4, target_modules=["query", "value"])),
    "t5-lora": ("t5", LoraConfig(r=4, lora_alpha=8, target_modules=r"encoder\..*\.(q|v|wi|wo)")),
    "t5-dora": ("t5", LoraConfig(r=4, lora_alpha=8, use_dora=True, target_modules=r"encoder\..*\.(k|o)")),
    "t5-ia3": ("t5", IA3Config(target_modules=r"encoder\..*\.(k|v|wo)", feedforward_modules=r"encoder\..*\.wo")),
    "t5-vera": ("t5", VeraConfig(r=5, target_modules=r"encoder\..*\.(q|wo)")),
}


def base(name):
    extra = {"add_pooling_layer": False} if name == "bert" else {}
    return AutoModel.from_pretrained(FIXTURES / name, **extra).float().eval()


def encoder_states(model, ids, **more):
    """The states of the encoder, for each row. Only the tuner of Poly takes `task_ids`, and not PeftModel around it."""
    states, run = [], model.base_model if more else model
    for row in ids:
        inputs = dict(input_ids=row[None], attention_mask=torch.ones_like(row[None]))
        if hasattr(model.get_base_model(), "encoder") and hasattr(model.get_base_model(), "decoder"):
            inputs["decoder_input_ids"] = torch.zeros((1, 1), dtype=torch.long)
            states.append(run(**inputs, **more).encoder_last_hidden_state[0])
        else:
            states.append(run(**inputs, **more).last_hidden_state[0])
    return torch.cat(states)


def randomize(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        if not weight.requires_grad:
            continue
        draw = torch.randn(weight.shape, generator=generator)
        scale = 0.2 if "logits" not in name else 1.0
        around = weight.data if "ia3" in name or "magnitude" in name or "lambda_d" in name else 0
        weight.data = (around + scale * draw).contiguous()


def write(name, checkpoint, config, seed):
    folder = ADAPTERS / name
    shutil.rmtree(folder, ignore_errors=True)
    model = get_peft_model(base(checkpoint), config).eval()
    randomize(model, seed)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    described = json.loads((folder / "adapter_config.json").read_text())
    described["base_model_name_or_path"] = checkpoint
    for key in ("target_modules", "feedforward_modules"):  # Sets, in no order.
        if isinstance(described.get(key), list):
            described[key].sort()
    (folder / "adapter_config.json").write_text(json.dumps(described, indent=2, sort_keys=True) + "\n")
    # What is compared with is what the files say.
    model = PeftModel.from_pretrained(base(checkpoint), folder, is_trainable=True).eval()
    ids = rows(seed, model.config.pad_token_id)
    tensors = {
        "ids": torch.cat(ids).to(torch.int32),
        "offsets": torch.tensor([0] + [len(r) for r in ids]).cumsum(0).to(torch.int32),
    }
    if isinstance(config, PolyConfig):
        for task in range(config.n_tasks):
            with torch.no_grad():
                tensors[f"states.{task}"] = encoder_states(model, ids, task_ids=torch.tensor([task])).contiguous()
    else:
        states = encoder_states(model, ids)
        tensors["states"] = states.detach().contiguous()
        if getattr(config, "use_dora", False):
            weights = torch.cos(1.3 * torch.arange(states.numel(), dtype=torch.float64)).float()
            (states * weights.reshape(states.shape)).sum().backward()
            for key, weight in model.named_parameters():
                if weight.requires_grad:
                    tensors["gradient." + key.replace(".default", "")] = weight.grad.contiguous()
    save_file(tensors, folder / "states.safetensors")
    print(name, sum(f.stat().st_size for f in folder.iterdir()), "bytes", [f.name for f in folder.iterdir()])


if __name__ == "__main__":
    for seed, (name, (checkpoint, config)) in enumerate(CASES.items()):
        write(name, checkpoint, config, 20 + seed)
