"""The runs, in old key names."""

import copy

from corpora import *


BAG = {"bag": {"width": 48, "window": 2, "dropout": 0.1}}
BERT = {"bert": {"layers": 3, "hidden": 48, "heads": 4, "feed_forward": 96, "max_length": 128, "dropout": 0.1}}
T5 = {"t5": {"layers": 2, "decoder_layers": 2, "hidden": 48, "heads": 4, "feed_forward": 96, "dropout": 0.1}}

TASKS = {
    "intent": {"corpus": "snips", "classification": {"text": "text", "label": "intent"}},
    "slots": {"corpus": "snips", "tagging": {"tokens": "tokens", "tags": "tags", "scheme": "bio"}},
    "slots_crf": {"corpus": "snips", "tagging": {"tokens": "tokens", "tags": "tags", "scheme": "bio", "crf": True}},
    "p_intent": {"corpus": "partial", "classification": {"text": "text", "label": "intent", "label_smoothing": 0.1}},
    "p_slots": {"corpus": "partial", "tagging": {"tokens": "tokens", "tags": "tags", "scheme": "bio"}},
    "domain": {"corpus": "clinc", "classification": {"text": "text", "label": "domain", "pooling": "first"}},
    "request": {"corpus": "clinc", "classification": {"text": "text", "label": "intent"}},
    "emotions": {"corpus": "goemotions", "multi_label": {"text": "text", "labels": "emotions"}},
    "hidden": {"corpus": "goemotions", "masked_language_model": {"text": "text"}, "importance": 0.5},
    "score": {"corpus": "vader", "regression": {"text": "text", "value": "score", "loss": "huber"}},
    "polarity": {"corpus": "vader", "ordinal": {"text": "text", "label": "polarity",
                                                "order": ["negative", "neutral", "positive"]}},
    "nominals": {"corpus": "semeval", "relation": {"text": "text", "head": "head", "tail": "tail",
                                                   "label": "relation"}},
    "dependencies": {"corpus": "ewt", "parsing": {"tokens": "tokens", "heads": "head", "relations": "deprel",
                                                  "arc_width": 32, "relation_width": 16}},
    "lemmas": {"corpus": "ewt", "lemmas": {"tokens": "tokens", "lemmas": "lemma"}},
    "graph": {"corpus": "crossre", "entities_relations": {"tokens": "tokens", "entities": "entities",
                                                          "relations": "relations", "size": 24, "negatives": 30,
                                                          "predicted": 0.3}},
    "answer": {"corpus": "qa", "span": {"question": "question", "context": "context", "answers": "answers",
                                        "overlap": 6}},
    "choice": {"corpus": "choice", "multiple_choice": {"text": "question", "choices": "choices", "label": "label"}},
    "spanish": {"corpus": "tatoeba", "translation": {"source": "en", "target": "es", "prefix": "Spanish: ",
                                                     "decoding": {"max_length": 12}}},
    "sentence": {"corpus": "tv", "generation": {"source": "act", "target": "text", "slots": "act",
                                                "max_target_length": 40, "decoding": {"max_length": 12}}},
}


MERGED = ("train", "model", "data", "task", "corpus")  # the other tables are replaced: they hold one choice


def merge(into, more, deep=False):
    for key, value in more.items():
        if (deep or key in MERGED) and isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value, deep=True)
        else:
            into[key] = copy.deepcopy(value)
    return into


def job(backbone, tasks, steps=8, **more):
    """A config: `more` is merged in, tables of one choice (balance, optimizer, sampling, schedule) are replaced."""
    config = {
        "model": {"backbone": backbone},
        "tokenizer": {"size": 700, "lowercase": True},
        "data": {"max_length": 64, "cache": "${run}/cache"},
        "corpus": {},
        "task": {name: copy.deepcopy(TASKS[name]) for name in tasks},
        "sampling": {"proportional": {}},
        "balance": {"equal": {}},
        "optimizer": {"adamw": {"learning_rate": 2e-3, "head_learning_rate": 4e-3, "weight_decay": 0.01}},
        "schedule": {"linear": {"warmup": 0.2}},
        "train": {"epochs": 20, "max_steps": steps, "tokens_per_step": 384, "clip_norm": 1.0, "seed": 17, "threads": 2,
                  "precision": "f32", "result": "last"},
    }
    if isinstance(backbone, str):
        del config["tokenizer"]
    merge(config, more)
    for task in config["task"].values():
        config["corpus"].setdefault(task["corpus"], copy.deepcopy(CORPORA[task["corpus"]]))
    return config


def upgrad(scope=None, method="upgrad", **train):
    return {"balance": {method: {}}, "train": {**({"gradient_scope": scope} if scope else {}), **train}}


SHARED = ["intent", "slots", "domain", "score"]  # two tasks on the same rows, two on others
TEXT_KINDS = ["p_intent", "p_slots", "slots_crf", "emotions", "score", "polarity", "choice"]
WORD_KINDS = ["dependencies", "lemmas", "nominals", "graph", "answer", "hidden"]
FIXTURE = {"data": {"max_length": 36}}

RUNS = {}    # name -> (config, {"chunk": N, "interrupt": steps})
EQUAL = {}   # name -> the run whose hashes it must have


def run(name, config, equal=None, **how):
    RUNS[name] = (config, how)
    if equal:
        EQUAL[name] = equal


# Backbones from scratch, kinds, loss methods.
run("bag_equal", job(BAG, ["p_intent", "p_slots", "domain"], 12))
run("bag_threads1", job(BAG, ["p_intent", "p_slots", "domain"], 12, train={"threads": 1}), equal="bag_equal")
run("bag_upgrad", job(BAG, SHARED, 8, **upgrad()))
run("bag_upgrad_last", job(BAG, SHARED, 8, **upgrad("last_layer")))
run("bert_equal", job(BERT, SHARED, 10))
run("bert_threads1", job(BERT, SHARED, 10, train={"threads": 1}), equal="bert_equal")
run("bert_recompute", job(BERT, SHARED, 10, train={"recompute": "layers"}), equal="bert_equal")
run("bert_no_dropout", job({"bert": {**BERT["bert"], "dropout": 0.0}}, SHARED, 6))
run("kinds_text", job(BERT, TEXT_KINDS, 8, balance={"uncertainty": {}}, train={"accumulate": 2}))
run("kinds_words", job(BERT, WORD_KINDS, 8, train={"tokens_per_step": 512}))
run("kinds_words_upgrad", job(BERT, WORD_KINDS, 6, **upgrad("last_layer", tokens_per_step=512)))
run("kinds_words_bag", job(BAG, WORD_KINDS, 6, balance={"dwa": {}}))
run("bert_decoder", job(BERT, ["sentence", "intent"], 8, model={"decoder": {"layers": 2, "dropout": 0.1}}))
run("bert_decoder_upgrad", job(BERT, ["sentence", "intent"], 6, model={"decoder": {"layers": 2}}, **upgrad()))
run("bert_decoder_last", job(BERT, ["sentence", "spanish"], 6, model={"decoder": {"layers": 2}},
                             **upgrad("last_layer")))
run("t5_writing", job(T5, ["spanish", "sentence"], 8, tokenizer={"size": 700, "spaces": True},
                      optimizer={"adafactor": {"learning_rate": 2e-2}}, schedule={"cosine": {"warmup": 0.1}}))
run("t5_upgrad", job(T5, ["spanish", "intent", "slots"], 6, **upgrad()))
run("t5_upgrad_last", job(T5, ["spanish", "intent", "slots"], 6, **upgrad("last_layer")))
run("t5_recompute", job(T5, ["spanish", "intent", "slots"], 6, train={"recompute": "layers"}))
# Methods that look at gradients.
run("upgrad_all", job(BERT, SHARED, 8, **upgrad()))
run("upgrad_threads1", job(BERT, SHARED, 8, **upgrad(threads=1)), equal="upgrad_all")
run("upgrad_recompute", job(BERT, SHARED, 8, **upgrad(recompute="layers")), equal="upgrad_all")
run("upgrad_last", job(BERT, SHARED, 8, **upgrad("last_layer")))
run("upgrad_representation", job(BERT, SHARED, 8, **upgrad("representation")))
run("upgrad_accumulate", job(BERT, ["p_intent", "p_slots", "domain"], 6, **upgrad(accumulate=2)))
run("upgrad_last_accumulate", job(BERT, ["p_intent", "p_slots", "domain"], 6, **upgrad("last_layer", accumulate=2)))
run("pcgrad", job(BERT, SHARED, 8, **upgrad(method="pcgrad")))
run("graddrop", job(BERT, SHARED, 8, **upgrad(method="graddrop")))
run("graddrop_representation", job(BERT, SHARED, 6, **upgrad("representation", method="graddrop")))
run("moco", job(BERT, SHARED, 8, **upgrad(method="moco")))
run("moco_last", job(BERT, SHARED, 6, **upgrad("last_layer", method="moco")))
run("gradnorm_last", job(BERT, SHARED, 6, **upgrad("last_layer", method="gradnorm")))
run("modo", job(BERT, SHARED, 8, **upgrad(method="modo")))
run("modo_last", job(BERT, SHARED, 6, **upgrad("last_layer", method="modo", accumulate=2)))
run("auto_lambda", job(BERT, SHARED, 8, **upgrad(method="auto_lambda")))
run("auto_lambda_last", job(BERT, SHARED, 6, **upgrad("last_layer", method="auto_lambda")))
# Frozen prefix, phases, datasets, samplers, optimizers, and what comes with tasks.
run("frozen_cache", job("${fixtures}/own-bert", SHARED, 8, model={"freeze": {"layers": 1, "cache": True}}))
run("frozen_no_cache", job("${fixtures}/own-bert", SHARED, 8, model={"freeze": {"layers": 1}}), equal="frozen_cache")
run("frozen_upgrad", job("${fixtures}/own-bert", SHARED, 8, model={"freeze": {"layers": 1, "cache": True}}, **upgrad()))
run("frozen_upgrad_last", job("${fixtures}/own-bert", SHARED, 6, model={"freeze": {"layers": 1, "cache": True}},
                              **upgrad("last_layer")))
run("frozen_all", job("${fixtures}/own-bert", SHARED, 6, model={"freeze": {"layers": 3, "cache": True}}))
run("frozen_bag", job(BAG, SHARED, 6, model={"freeze": {"layers": 0, "cache": True}}))
run("frozen_t5", job("${fixtures}/own-t5", ["spanish", "intent"], 6, model={"freeze": {"layers": 1, "cache": True}}))
PHASES = [{"tasks": ["intent", "domain"], "steps": 4, "freeze": 2}, {"steps": 4}, {"tasks": ["slots"], "steps": 3, "freeze": 1}]
run("phases", job(BERT, SHARED, 20, phase=PHASES))
run("phases_no_dropout", job({"bert": {**BERT["bert"], "dropout": 0.0}}, SHARED, 20, phase=PHASES))
run("corpus_embeddings", job(BERT, SHARED, 8, model={"corpus_embeddings": True}))
run("corpus_embeddings_bag", job(BAG, SHARED, 6, model={"corpus_embeddings": True}, **upgrad()))
run("corpus_embeddings_t5", job(T5, ["spanish", "intent"], 6, model={"corpus_embeddings": True}))
run("sampler_exp3", job(BERT, SHARED, 10, sampling={"exp3": {}}))
run("sampler_validation", job(BAG, SHARED, 9, sampling={"validation": {"of": "loss"}}, train={"evaluate_every": 2}))
run("sampler_conflict", job(BAG, SHARED, 9, sampling={"conflict": {"toward": "conflict"}}, **upgrad(method="pcgrad")))
run("one_corpus_sqrt", job(BERT, SHARED, 8, sampling={"sqrt": {}}, train={"packs": "one_corpus"}))
run("adamw_layer_decay", job(BERT, SHARED, 8, optimizer={"adamw": {"learning_rate": 2e-3, "layer_decay": 0.9}}))
run("adamw_layer_decay_decoder", job(BERT, ["sentence", "intent"], 6, model={"decoder": {"layers": 2}},
                                     optimizer={"adamw": {"learning_rate": 2e-3, "layer_decay": 0.9}}))
run("muon", job(BERT, SHARED, 8, optimizer={"muon": {"learning_rate": 2e-3}}))
run("schedule_free", job(BERT, SHARED, 8, optimizer={"schedule_free_adamw": {"learning_rate": 4e-3}}, schedule=None))
run("lion", job(BERT, SHARED, 6, optimizer={"lion": {"learning_rate": 3e-4}}))
run("t5_sgd", job(T5, ["spanish", "intent"], 6, optimizer={"sgd": {"learning_rate": 1e-1}}))
EXTRAS = {
    "intent": {"early_stopping": {"patience": 2}, "budget": {"steps": 6}},
    "slots": {"plateau": {"patience": 0}, "learning_rate": 1e-3, "importance": 2.0},
    "p_slots": {"head": "slots"},
    "domain": {"budget": {"share": 0.3}, "target": 0.5},
}
run("extras", job(BERT, list(EXTRAS), 12, task=EXTRAS,
                  train={"evaluate_every": 2, "plateau": {"patience": 1}, "task_rates": {}, "result": "best"},
                  corpus={"snips": corpus("snips", order={"balanced": "intent"}),
                          "clinc": corpus("clinc", order={"rising": {"by": "length", "passes": 2}})}))
# Pretrained checkpoints.
run("pretrained_own", job("${fixtures}/own-bert", SHARED, 8, model={"dropout": 0.1}))
run("pretrained_own_kinds", job("${fixtures}/own-bert", ["hidden", "nominals", "p_intent", "p_slots", "choice"], 6))
run("pretrained_own_t5", job("${fixtures}/own-t5", ["spanish", "intent"], 6))
for fixture in ["bert", "bert-inside", "roberta", "xlm-roberta", "distilbert"]:
    run(f"fixture_{fixture}", job(f"${{fixtures}}/{fixture}", ["intent", "slots", "domain"], 6, **FIXTURE))
run("fixture_roberta_mlm", job("${fixtures}/roberta", ["hidden", "intent"], 6, **FIXTURE))
run("fixture_bert_last", job("${fixtures}/bert", SHARED, 6, **merge(upgrad("last_layer"), FIXTURE)))
run("fixture_roberta_last", job("${fixtures}/roberta", SHARED, 6, **merge(upgrad("last_layer"), FIXTURE)))
for fixture in ["t5", "t5-gated"]:
    run(f"fixture_{fixture}", job(f"${{fixtures}}/{fixture}", ["spanish", "intent"], 6, **FIXTURE))
# What fixtures/own-* are made of (--make-fixtures); also runs by themselves.
run("make_own_bert", job(BERT, SHARED, 6))
run("make_own_t5", job(T5, ["spanish", "intent"], 6))
# Interrupted and resumed.
RESUMABLE = {"train": {"checkpoint_every": 4, "evaluate_every": 5}}
run("whole_equal", job(BERT, SHARED, 12, **RESUMABLE))
run("resume_equal", job(BERT, SHARED, 12, **RESUMABLE), equal="whole_equal", interrupt=3)
run("resume_moco", job(BERT, SHARED, 8, **upgrad(method="moco")), equal="moco", interrupt=3)
run("resume_modo", job(BERT, SHARED, 8, **upgrad(method="modo")), equal="modo", interrupt=3)
run("resume_schedule_free", job(BERT, SHARED, 8, optimizer={"schedule_free_adamw": {"learning_rate": 4e-3}}, schedule=None),
    equal="schedule_free", interrupt=3)
run("resume_frozen_cache", job("${fixtures}/own-bert", SHARED, 8, model={"freeze": {"layers": 1, "cache": True}}),
    equal="frozen_cache", interrupt=3)
run("resume_exp3", job(BERT, SHARED, 10, sampling={"exp3": {}}), equal="sampler_exp3", interrupt=4)
run("resume_phases", job(BERT, SHARED, 20, phase=PHASES), equal="phases", interrupt=6)
# In parts: at most so many tokens through the trunk at once, from the first step on. Needs chunk.patch.
run("chunk_equal", job(BERT, SHARED, 8), chunk=64)
run("chunk_recompute", job(BERT, SHARED, 8, train={"recompute": "layers"}), chunk=64, equal="chunk_equal")
run("chunk_threads1", job(BERT, SHARED, 8, train={"threads": 1}), chunk=64, equal="chunk_equal")
run("chunk_accumulate", job(BERT, ["p_intent", "p_slots", "domain"], 6, train={"accumulate": 2}), chunk=100)
run("chunk_upgrad_all", job(BERT, SHARED, 8, **upgrad()), chunk=64)
run("chunk_upgrad_last", job(BERT, SHARED, 8, **upgrad("last_layer")), chunk=64)
run("chunk_upgrad_representation", job(BERT, SHARED, 6, **upgrad("representation")), chunk=64)
run("chunk_modo", job(BERT, SHARED, 6, **upgrad(method="modo")), chunk=64)
run("chunk_bag", job(BAG, SHARED, 6), chunk=64)
run("chunk_t5", job(T5, ["spanish", "intent", "slots"], 6), chunk=64)
run("chunk_t5_last", job(T5, ["spanish", "intent", "slots"], 6, **upgrad("last_layer")), chunk=64)
run("chunk_decoder", job(BERT, ["sentence", "intent"], 6, model={"decoder": {"layers": 2}}), chunk=64)
run("chunk_words", job(BERT, WORD_KINDS, 6, train={"tokens_per_step": 512}), chunk=128)
run("chunk_frozen", job("${fixtures}/own-bert", SHARED, 6, model={"freeze": {"layers": 1, "cache": True}}), chunk=64)
run("chunk_corpus_embeddings", job(BERT, SHARED, 6, model={"corpus_embeddings": True}), chunk=64)
run("chunk_roberta_last", job("${fixtures}/roberta", SHARED, 6, **merge(upgrad("last_layer"), FIXTURE)), chunk=64)
