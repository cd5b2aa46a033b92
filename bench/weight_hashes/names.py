"""Old and new names: of config keys, events and fields."""

import copy, json, re


DROP = object()  # as the new path: the key is left out

# (old path, new path[, {old value: new value} or a function of the old value]). `*` is any one key (or number of a list), and
# stands for the same thing in the new path, in order. A new path says the new name of the LAST key(s); keys before it keep
# their old names there, since their own rules are applied afterwards (longest rules first).
RENAMES = [
    ("train.tokens_per_step", "train.tokens_per_batch"),
    ("train.accumulate", "train.gradient_accumulation_steps"),
    ("train.clip_norm", "train.max_grad_norm"),
    ("train.keep", "train.save_total_limit"),
    ("train.evaluate_every", "train.eval_steps"),
    ("train.checkpoint_every", "train.save_steps"),
    ("train.best_metric", "train.metric_for_best_model"),
    ("train.result", "train.export"),
    ("train.bad_steps", "train.max_nonfinite_steps"),
    ("train.recompute", "train.activation_checkpointing", {"layers": True, "nothing": False}),
    ("train.packs", "train.batching", {"one_corpus": "single_corpus"}),
    ("train.memory_gib", "train.max_memory_gib"),
    ("train.plateau", "train.reduce_lr_on_plateau"),
    ("train.task_rates", "train.head_lr_balancing"),
    ("optimizer.*.layer_decay", "optimizer.*.layerwise_lr_decay"),
    # ("optimizer.schedule_free_adamw.warmup", "optimizer.schedule_free_adamw.warmup_ratio"),  # not named in 2.8
    ("schedule.*.warmup", "schedule.*.warmup_ratio"),
    ("model.corpus_embeddings", "model.dataset_embeddings"),
    ("model.backbone.*.feed_forward", "model.backbone.*.intermediate_size"),
    # ("model.decoder.feed_forward", "model.decoder.intermediate_size"),  # not named in 2.8
    ("corpus.*.order.rising", "corpus.*.order.curriculum"),
    ("corpus.*.order.rising.passes", "corpus.*.order.rising.curriculum_epochs"),
    ("sampling.conflict.toward", "sampling.conflict.prefer", {"agreement": "aligned", "conflict": "conflicting"}),
    ("sampling.validation.of", "sampling.validation.signal"),
    ("phase.*.sampling.conflict.toward", "phase.*.sampling.conflict.prefer",
     {"agreement": "aligned", "conflict": "conflicting"}),
    ("phase.*.sampling.validation.of", "phase.*.sampling.validation.signal"),
    ("phase.*.until.reaches", "phase.*.until.threshold"),
    ("task.*.learning_rate", "task.*.head_learning_rate"),
    ("task.*.plateau", "task.*.reduce_lr_on_plateau"),
    ("task.*.span", "task.*.extractive_qa"),
    ("task.*.lemmas", "task.*.lemmatization"),
    ("task.*.parsing", "task.*.dependency_parsing"),
    ("task.*.relation", "task.*.relation_classification"),
    ("task.*.ordinal", "task.*.ordinal_regression"),
    ("task.*.entities_relations.predicted", "task.*.entities_relations.scheduled_sampling"),
    ("task.*.entities_relations.size", "task.*.entities_relations.span_dim"),
    ("task.*.entities_relations.negatives", "task.*.entities_relations.negative_samples"),
]

# metrics.jsonl: old -> new. Values of `event` and names of fields; an old name is looked for where the new one is absent.
EVENTS = {"step": "step", "evaluated": "evaluated"}
FIELDS = {
    "event": "event",
    "step": "step",
    "losses": "losses",
    "weights": "weights",
    "gradient_norm": "gradient_norm",
    "scores": "scores",
    "value": "value",
}

# The command line: {binary}, {config}, {run} are filled in.
TRAIN = {"old": ["{binary}", "train", "{config}", "--run", "{run}"]}
RESUME = {"old": ["{binary}", "train", "--resume", "{run}"]}
INTERRUPTED = 130
# Files of a run.
MODEL, METRICS, CHECKPOINTS = "model", "metrics.jsonl", "checkpoints"


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, path + (key,))
    elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        for i, inner in enumerate(value):
            yield from leaves(inner, path + (i,))
    else:
        yield path, value


def renamed_leaf(path, value):
    for old, new, *mapping in sorted(RENAMES, key=lambda rule: -len(rule[0].split("."))):
        pattern = old.split(".")
        if len(pattern) > len(path) or not all(p in ("*", str(k)) for p, k in zip(pattern, path)):
            continue
        if new is DROP:
            return None
        stars = iter([k for p, k in zip(pattern, path) if p == "*"])
        head = tuple(next(stars) if p == "*" else p for p in new.split("."))
        if mapping and len(pattern) == len(path):
            value = mapping[0](value) if callable(mapping[0]) else mapping[0].get(value, value)
        path = head + path[len(pattern):]
    return path, value


def rename(config):
    root = {}
    for path, value in filter(None, (renamed_leaf(*leaf) for leaf in leaves(config))):
        at = root
        for key in path[:-1]:
            at = at.setdefault(key, {})
        at[path[-1]] = value

    def lists(value):
        if not isinstance(value, dict):
            return value
        value = {key: lists(inner) for key, inner in value.items()}
        return list(value.values()) if value and all(isinstance(k, int) for k in value) else value

    return lists(root)


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def toml(config):
    out = []

    def table(header, entries):
        out.append(header)
        # Inline tables all the way down.
        out.extend(f"{key} = {toml_value(value)}" for key, value in entries.items())
        out.append("")

    for key, value in config.items():
        if isinstance(value, list):
            for item in value:
                table(f"[[{key}]]", item)
        elif key in ("corpus", "task", "sampling", "balance", "optimizer", "schedule"):
            for name, inner in value.items():
                table(f"[{key}.{name}]", inner)
        else:
            table(f"[{key}]", value)
    return "\n".join(out)


def config_text(config, keys, folders):
    config = {key: value for key, value in copy.deepcopy(config).items() if value is not None}
    text = toml(rename(config) if keys == "new" else config)
    for name, folder in folders.items():
        text = text.replace("${" + name + "}", str(folder))
    return text
