//! Entities and relations: reading, losses, what is found, scores, settings.

use burn::tensor::Device;
use data::{InputField, Row, Split, View};
use polytask_tasks::{
    Batch, EntityAnswer, EntityGraph, LabelReport, ModelInput, Prediction, RelationAnswer, TaskHead,
};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, config, kind, near, pack, refused, rows, same, used_tokens, view};

fn heads() -> Heads {
    Heads::of(include_str!("../fixtures/entities_relations.json"))
}

/// The settings of the fixture, and others.
fn settings(others: Json) -> Json {
    let mut table = json!({ "max_width": 2, "span_dim": 6, "dropout": 0.0, "threshold": 0.5 });
    table.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    table
}

/// Entities of types a and b, relations of types p and q.
fn annotated() -> Vec<Row> {
    let entity = |start: u32, end: u32, label: &str| json!({ "start": start, "end": end, "type": label });
    let relation =
        |head: [u32; 2], tail: [u32; 2], label: &str| json!({ "head": head, "tail": tail, "type": label });
    rows(json!([
        {
            "tokens": ["w", "w", "w", "w", "w"],
            "entities": [entity(0, 1, "b"), entity(1, 2, "a"), entity(3, 5, "b")],
            "relations": [
                relation([0, 1], [1, 2], "p"), relation([3, 5], [0, 1], "p"), relation([3, 5], [0, 1], "q"),
                relation([3, 5], [0, 1], "q"),
            ],
        },
        { "tokens": ["w"], "entities": null, "relations": [] },
        { "tokens": ["w", "w"], "entities": [], "relations": [] },
        {
            "tokens": ["w", "w", "w", "w"],
            "entities": [entity(0, 3, "a"), entity(3, 4, "b")],
            "relations": [relation([3, 4], [0, 3], "q")],
        },
    ]))
}

fn view_of(rows: Vec<Row>, heads: &Heads) -> View {
    view(InputField::Words("tokens".into()), rows, &heads.words, &[0; 4])
}

/// The task of the fixture.
fn of_fixture(heads: &Heads, others: Json) -> (Learnt, View, LabelReport) {
    let view = view_of(annotated(), heads);
    let task = Learnt::of(kind("entities_relations", settings(others)), &view.rows);
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    (task, view, report)
}

#[test]
fn losses_and_gradients_equal_pytorch() {
    let heads = heads();
    let (task, view, report) = of_fixture(&heads, json!({}));
    let names = ["entities", "relations"].map(|part| &task.label_space[part]["labels"]);
    assert_eq!(names, [&json!(["a", "b"]), &json!(["p", "q"])]);
    assert_eq!((report.labelled, report.missing, report.truncated, report.without_token), (3, 1, 0, 0));
    // An entity of three words, and the relation that leads to it.
    assert_eq!(report.out_of_reach, 2);
    assert_eq!(report.counts.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2, 3, 2, 2]);
    heads.compare(&task, &view, &[0, 1, 2, 3], 3, &heads.json["both"]);
    for learn in ["entities", "relations"] {
        let (task, view, _) = of_fixture(&heads, json!({ "learn": learn }));
        let items = if learn == "entities" { 3 } else { 2 };
        heads.compare(&task, &view, &[0, 1, 2, 3], items, &heads.json[learn]);
    }
}

/// The loss of a training step at the end of the run.
fn loss(heads: &Heads, others: Json, seed: u64) -> f32 {
    loss_at(heads, others, seed, 1.0)
}

/// The loss of a training step when so much of the run lies behind.
fn loss_at(heads: &Heads, others: Json, seed: u64, progress: f64) -> f32 {
    let (task, view, _) = of_fixture(heads, others);
    let device = Device::flex();
    let (parameters, mut head) = heads.build(&task, &device);
    head.encode_targets(Split::Train, &view).unwrap();
    let (pack, states, rows) = (pack(&view), heads.states(&device), same(&[0, 1, 2, 3]));
    let dropout_seed = Some(seed);
    let batch = Batch {
        states: &states,
        pack: &pack,
        split: Split::Train,
        rows: &rows,
        dropout_seed,
        progress,
        writer: None,
    };
    head.loss(&parameters, &batch).unwrap().mean.into_scalar::<f32>()
}

#[test]
fn pairs_of_predicted_entities_give_pytorchs_loss() {
    let heads = &heads();
    let number = |json: &Json| json.as_f64().unwrap() as f32;
    let [gold, found] = [&heads.json["both"]["loss"], &heads.json["predicted"]].map(number);
    near(&[loss(heads, json!({ "scheduled_sampling": 1.0 }), 3)], &[found], "predicted");
    near(&[loss(heads, json!({ "scheduled_sampling": 0.0 }), 3)], &[gold], "gold");
    assert!((gold - found).abs() > 0.01);
    // The share rises over the run, from the gold entities to those that are found.
    let all = json!({ "scheduled_sampling": { "to": 1.0 } });
    near(&[loss_at(heads, json!({}), 3, 0.0)], &[gold], "at the beginning");
    near(&[loss_at(heads, all, 3, 1.0)], &[found], "at the end");
    let early = json!({ "scheduled_sampling": { "to": 1.0, "over": 0.5 } });
    near(&[loss_at(heads, early, 3, 0.5)], &[found], "after half of the run");
    // Some rows the one, some the other.
    let mixed: Vec<f32> =
        (0..20).map(|seed| loss(heads, json!({ "scheduled_sampling": 0.5 }), seed)).collect();
    let differs = |from: f32| mixed.iter().any(|loss| (loss - from).abs() > 0.01);
    assert!(differs(gold) && differs(found), "{mixed:?}");
}

#[test]
fn relations_weigh_what_they_are_said_to() {
    let heads = &heads();
    let [both, entities] = ["both", "entities"].map(|name| heads.json[name]["loss"].as_f64().unwrap() as f32);
    let found = loss(heads, json!({ "scheduled_sampling": 0.0, "relation_weight": 0.25 }), 3);
    near(&[found], &[entities + 0.25 * (both - entities)], "a quarter");
    assert!(both - entities > 0.1);
}

#[test]
fn what_a_step_draws_is_a_function_of_its_seed() {
    let heads = heads();
    for others in [
        json!({ "negative_samples": 1 }),
        json!({ "dropout": 0.5 }),
        json!({ "negative_samples": 1, "learn": "relations" }),
    ] {
        let of = |seed| loss(&heads, others.clone(), seed);
        assert_eq!(of(5), of(5));
        assert!((0..20).any(|seed| of(seed) != of(5)), "{others}");
    }
}

/// What is found in rows of a split; `view` is the training split.
fn graphs(heads: &Heads, task: &Learnt, view: &View, rows: &[u32], split: Split) -> Vec<EntityGraph> {
    let device = Device::flex();
    let (parameters, mut head) = heads.build(task, &device);
    head.encode_targets(Split::Train, view).unwrap();
    let (pack, states, rows) = (pack(view), heads.states(&device), same(rows));
    let used = used_tokens(&*head, &pack, &rows);
    let (part, seen) = (pack.select_tokens(&used), kernels::gather_rows(states, &used));
    let batch = Batch::evaluated(&seen, &part, split, &rows);
    let graph = |prediction| match prediction {
        Prediction::Graph(graph) => graph,
        other => panic!("{other:?}"),
    };
    head.predict(&parameters, &batch).into_iter().map(graph).collect()
}

fn check(found: &EntityGraph, expected: &Json) {
    let (entities, relations) =
        (expected["entities"].as_array().unwrap(), expected["relations"].as_array().unwrap());
    let number = |json: &Json| json.as_f64().unwrap() as f32;
    assert_eq!((found.entities.len(), found.relations.len()), (entities.len(), relations.len()));
    for (EntityAnswer { words, label, probability }, expected) in found.entities.iter().zip(entities) {
        let ours = [words[0] as f32, words[1] as f32, *label as f32, *probability];
        near(&ours, &[0, 1, 2, 3].map(|i| number(&expected[i])), "entity");
    }
    for (RelationAnswer { head, tail, label, probability }, expected) in found.relations.iter().zip(relations)
    {
        let ours = [*head as f32, *tail as f32, *label as f32, *probability];
        near(&ours, &[0, 1, 2, 3].map(|i| number(&expected[i])), "relation");
    }
}

#[test]
fn what_is_found_equals_a_search_in_python() {
    let heads = heads();
    let (task, view, _) = of_fixture(&heads, json!({}));
    let served = Learnt::opened(kind("entities_relations", settings(json!({}))), &*task.head());
    let found = graphs(&heads, &served, &view, &[0, 1, 2, 3], Split::Test);
    found
        .iter()
        .zip(heads.json["graphs"].as_array().unwrap())
        .for_each(|(found, expected)| check(found, expected));
    // Relations alone are looked for between gold entities, of which there are none in text that is served.
    let (alone, view, _) = of_fixture(&heads, json!({ "learn": "relations" }));
    check(&graphs(&heads, &alone, &view, &[3], Split::Train)[0], &heads.json["gold_graph"]);
    assert_eq!(graphs(&heads, &alone, &view, &[3], Split::Test), [EntityGraph::default()]);
    // Of the entities only the most probable two have relations; their places are those among all.
    let (few, view, _) = of_fixture(&heads, json!({ "max_entities": 2, "threshold": 1e-9 }));
    let found = &graphs(&heads, &few, &view, &[0], Split::Train)[0];
    let mut order: Vec<usize> = (0..3).collect();
    order.sort_by(|a, b| found.entities[*b].probability.total_cmp(&found.entities[*a].probability));
    let ends: Vec<bool> =
        (0..3).map(|i| found.relations.iter().any(|r| r.head == i || r.tail == i)).collect();
    assert_eq!((found.relations.len(), ends[order[2]]), (4, false));
    let (nothing, view, _) = of_fixture(&heads, json!({}));
    assert!(graphs(&heads, &nothing, &view, &[], Split::Train).is_empty());
}

#[test]
fn entities_and_relations_are_scored_with_what_was_lost() {
    let heads = heads();
    let mut head = of_fixture(&heads, json!({})).0.head();
    let mut gold = annotated();
    gold[0] = rows(json!([{
        "tokens": ["w", "w", "w", "w", "w"],
        // "c" and "r" were never shown; word 2 has no token.
        "entities": [{ "start": 0, "end": 1, "type": "c" }, { "start": 2, "end": 4, "type": "a" }],
        "relations": [{ "head": [0, 1], "tail": [2, 4], "type": "r" }],
    }]))[0]
        .clone();
    let report = head.encode_targets(Split::Test, &view_of(gold, &heads)).unwrap();
    assert_eq!((report.without_token, report.out_of_reach), (2, 2));
    let unseen: Vec<(&str, usize)> = report.unseen.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(unseen, [("c", 1), ("r", 1)]);
    let entity = |start, end, label| EntityAnswer { words: [start, end], label, probability: 0.5 };
    let relation = |head, tail, label| RelationAnswer { head, tail, label, probability: 0.5 };
    let said = [
        // Row 1 has no labels and does not count.
        (1, EntityGraph { entities: vec![entity(0, 1, 0)], relations: vec![], nonfinite: false }),
        // The type of the first end is wrong: of both entities one is right, and the relation is right when relaxed.
        (
            3,
            EntityGraph {
                entities: vec![entity(0, 3, 1), entity(3, 4, 1)],
                relations: vec![relation(1, 0, 1)],
                nonfinite: false,
            },
        ),
        (0, EntityGraph::default()),
    ];
    let said: Vec<(u32, Prediction)> =
        said.into_iter().map(|(row, graph)| (row, Prediction::Graph(graph))).collect();
    let scores = head.score(Split::Test, &said);
    let get = |name: &str| scores.get(name).unwrap();
    // Of 4 gold entities 1 is found, by 2 answers; of 2 gold relations none strictly, one when relaxed, by 1 answer.
    assert!((get("entity_f1") - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!((get("entity_precision"), get("entity_recall")), (0.5, 0.25));
    assert!((get("relation_f1_relaxed") - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!((get("relation_f1"), get("relation_precision"), get("relation_recall")), (0.0, 0.0, 0.0));
    assert_eq!((scores.primary.as_str(), get("mean_f1")), ("mean_f1", get("entity_f1") / 2.0));
}

#[test]
fn a_tuned_threshold_is_the_best_and_is_kept() {
    let heads = heads();
    let mut head = of_fixture(&heads, json!({ "threshold": "tuned" })).0.head();
    for split in [Split::Validation, Split::Test] {
        head.encode_targets(split, &view_of(annotated(), &heads)).unwrap();
    }
    let entity = |start, end, label| EntityAnswer { words: [start, end], label, probability: 0.5 };
    let relation = |head, tail, label, probability| RelationAnswer { head, tail, label, probability };
    // Gold: p from 0 to 1, p and q from 2 to 0, and in row 3 one that is not found. From 0.3 on 2 of 3 are right: F1 = 4/7; from
    // 0.15 on 3 of 6: F1 = 6/10, the best; what is wrong at 0.05 comes behind that.
    let relations = vec![
        relation(0, 1, 0, 0.9),
        relation(1, 0, 0, 0.8),
        relation(2, 0, 0, 0.3),
        relation(0, 1, 1, 0.2),
        relation(1, 2, 1, 0.2),
        relation(2, 0, 1, 0.15),
        relation(2, 1, 1, 0.05),
    ];
    let entities = vec![entity(0, 1, 1), entity(1, 2, 0), entity(3, 5, 1)];
    let said = [
        (0, EntityGraph { entities, relations, nonfinite: false }),
        (1, EntityGraph::default()),
        (3, EntityGraph::default()),
    ];
    let said = said.map(|(row, graph)| (row, Prediction::Graph(graph)));
    let f1 = |head: &dyn TaskHead, split| head.score(split, &said).get("relation_f1").unwrap();
    let near_to = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
    near_to(f1(&*head, Split::Validation), 0.6);
    // From 0.5 on 1 of 2 is right.
    near_to(f1(&*head, Split::Test), 1.0 / 3.0);
    assert!(head.calibrates());
    head.calibrate(Split::Validation, &said);
    near_to(f1(&*head, Split::Test), 0.6);
    let threshold = head.label_space()["threshold"].as_f64().unwrap();
    assert!(threshold > 0.05 && threshold <= 0.15, "{threshold}");
    let served = Learnt::opened(kind("entities_relations", json!({})), &*head).head();
    let words = ["v"; 5].map(str::to_owned);
    let answer = served.to_json(&said[0].1, ModelInput::Words(&words));
    assert_eq!(answer["relations"].as_array().unwrap().len(), 6);
    // The wrong type of an end makes its relations wrong.
    let mut other = said.clone();
    let Prediction::Graph(graph) = &mut other[0].1 else { unreachable!() };
    graph.entities[0].label = 0;
    assert_eq!(head.score(Split::Test, &other).get("relation_f1"), Some(0.0));
}

#[test]
fn answers_have_texts_and_places_in_characters() {
    let heads = heads();
    let head = of_fixture(&heads, json!({})).0.head();
    let words = ["José".to_owned(), "García".to_owned(), "lives".to_owned()];
    let entity = |start, end, label| EntityAnswer { words: [start, end], label, probability: 0.5 };
    let relation = RelationAnswer { head: 1, tail: 0, label: 1, probability: 0.75 };
    let graph = EntityGraph {
        entities: vec![entity(0, 2, 0), entity(2, 3, 1)],
        relations: vec![relation],
        nonfinite: false,
    };
    let answer = head.to_json(&Prediction::Graph(graph.clone()), ModelInput::Words(&words));
    let expected = json!({
        "entities": [
            { "text": "José García", "label": "a", "start": 0, "end": 11, "probability": 0.5 },
            { "text": "lives", "label": "b", "start": 12, "end": 17, "probability": 0.5 },
        ],
        "relations": [{ "head": 1, "tail": 0, "label": "q", "probability": 0.75 }],
    });
    assert_eq!(answer, expected);
    assert_eq!(head.to_json(&Prediction::Graph(graph), ModelInput::Words(&words[..1])), Json::Null);
}

#[test]
fn annotations_that_cannot_be_are_told() {
    let of = |entities: Json, relations: Json| {
        let row = json!([{ "tokens": ["v", "w"], "entities": entities, "relations": relations }]);
        let errors = kind("entities_relations", json!({})).fit_labels(&rows(row)).unwrap_err();
        assert_eq!(errors.len(), 1);
        errors[0].to_string()
    };
    let entity = json!({ "start": 0, "end": 1, "type": "a" });
    let relation = |head: Json, label: Json| json!([{ "head": head, "tail": [0, 1], "type": label }]);
    let entities = "data.jsonl:1: field \"entities\": found";
    let relations = "data.jsonl:1: field \"relations\": found";
    for (found, says) in [
        (
            of(json!("x"), json!([])),
            format!("{entities} \"x\", expected a list of {{start, end, type}}: words from 0 on"),
        ),
        (
            of(json!([{ "start": 1, "end": 1, "type": "a" }]), json!([])),
            format!("{entities} {{start: 1, end: 1"),
        ),
        (of(json!([{ "start": 0.5, "end": 1, "type": "a" }]), json!([])), format!("{entities} {{start: 0.5")),
        (of(json!([{ "start": 0, "end": 1 }]), json!([])), format!("{entities} {{start: 0, end: 1}}")),
        (
            of(json!([{ "start": 0, "end": 3, "type": "a" }]), json!([])),
            "an entity outside of the row's words".into(),
        ),
        (
            of(json!([entity, { "start": 0, "end": 1, "type": "b" }]), json!([])),
            format!("{entities} the types \"a\" and \"b\" for words 0 to 1, expected one type for a span"),
        ),
        (
            of(json!([entity]), relation(json!([1, 2]), json!("p"))),
            "expected `head` and `tail` that are entities of the row".into(),
        ),
        (of(json!([entity]), relation(json!([0]), json!("p"))), format!("{relations} {{head: [0]")),
        (of(json!([entity]), relation(json!([0, 1]), json!(["p"]))), format!("{relations} {{head: [0, 1]")),
        (of(json!([entity]), json!([])), "task.t.entities_relations.relations: found none in field".into()),
        (of(json!([]), json!([])), "task.t.entities_relations.entities: found none in field".into()),
    ] {
        assert!(found.contains(&says), "{found}");
    }
}

#[test]
fn settings_and_stored_types_are_checked() {
    for (table, says) in [
        (json!({ "max_width": 0 }), "max_width: found 0, expected 1 to 64"),
        (json!({ "negative_samples": 0 }), "negative_samples: found 0, expected 1 or more"),
        (json!({ "max_entities": 1 }), "max_entities: found 1, expected 2 to 1000"),
        (json!({ "scheduled_sampling": 1.5 }), "scheduled_sampling: found 1.5, expected 0 to 1"),
        (json!({ "scheduled_sampling": { "to": -1.0 } }), "scheduled_sampling.to: found -1, expected 0 to 1"),
        (json!({ "relation_weight": 0 }), "relation_weight: found 0, expected a number above 0"),
        (json!({ "threshold": 1 }), "threshold: found 1, expected a number between 0 and 1, or \"tuned\""),
        (json!({ "dropout": 1 }), "dropout: found 1"),
        (json!({ "entities": "tokens" }), "entities: found \"tokens\", a field that has another use"),
    ] {
        let error = config("entities_relations", table).build("t").err().expect("an error").to_string();
        assert!(error.contains(&format!("task.t.entities_relations.{says}")), "{error}");
    }
    let metrics = |learn: &str| kind("entities_relations", json!({ "learn": learn })).metrics()[0];
    assert_eq!(["both", "entities", "relations"].map(metrics), ["mean_f1", "entity_f1", "relation_f1"]);
    let heads = heads();
    let (task, _, _) = of_fixture(&heads, json!({}));
    let none = json!({ "labels": [], "counts": [] });
    let mut far = task.label_space.clone();
    far["threshold"] = json!(1.5);
    for space in [
        far,
        json!(null),
        json!([]),
        json!({ "entities": none, "relations": none }),
        json!({ "entities": 1 }),
    ] {
        let error = refused(&*task.kind, &space);
        assert!(error.starts_with("task t: the stored labels do not fit: "), "{space}: {error}");
    }
}
