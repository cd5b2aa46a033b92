//! Hidden states: the losses and gradients of PyTorch (`scripts/make_hidden_states_fixture.py`), and what is refused.

use burn::tensor::{Tensor, TensorData};
use data::{InputField, Split, View};
use model::{ParameterTensor, Parameters};
use polytask_tasks::{Batch, SoftOutputs, SoftTargets, TeacherAnswers, TeacherWeight};
use serde_json::{Value as Json, json};

use crate::fixture::{
    config, devices, floats, init_head, kind, near, pack, refused, rows, same, used_tokens, view,
};

fn table(settings: &Json) -> Json {
    let mut table = json!({ "text": "text" });
    table.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    table
}

/// Rows of these sequences.
fn of_sequences(lengths: &[Vec<usize>]) -> View {
    let objects = lengths.iter().map(|_| json!({ "text": "x" })).collect();
    let words: Vec<Vec<Option<u32>>> = lengths.iter().map(|row| vec![None; row.iter().sum()]).collect();
    let mut view = view(InputField::Text("text".into()), rows(objects), &words, &vec![0; lengths.len()]);
    let ends = lengths.iter().flatten().scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    view.encoded.sequences = std::iter::once(0).chain(ends).collect();
    view
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let fixture: Json = serde_json::from_str(include_str!("../fixtures/hidden_states.json")).unwrap();
    let hidden = fixture["hidden"].as_u64().unwrap() as usize;
    let lengths: Vec<Vec<usize>> = serde_json::from_value(fixture["rows"].clone()).unwrap();
    let answered: Vec<usize> = serde_json::from_value(fixture["answered"].clone()).unwrap();
    let view = of_sequences(&lengths);
    let pack = pack(&view);
    for (case, device) in fixture["cases"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|case| devices().into_iter().map(move |device| (case, device.autodiff())))
    {
        let width = case["teacher_hidden"].as_u64().unwrap() as usize;
        let mut parameters = Parameters::new(&device, 1);
        let kind = kind("hidden_states", table(&case["settings"]));
        let mut head =
            init_head(&*kind, &json!({ "teacher_hidden": width }), hidden, &mut parameters).unwrap();
        let projection = parameters.find("head.t.projection.weight");
        if let Some(index) = projection {
            parameters.set_data(index, floats(&fixture["projection.weight"])).unwrap();
        }
        let teacher = floats(&fixture["teachers"][width.to_string()]);
        let mut answers = TeacherAnswers::default();
        for row in 0..lengths.len() {
            let of_row = &teacher[pack.offsets[row] * width..pack.offsets[row + 1] * width];
            answers.push(if answered.contains(&row) { of_row } else { &[] });
        }
        // Whatever the temperature and the weight are.
        let (temperature, weight) = (3.0, TeacherWeight::Constant(0.2));
        head.encode_targets(Split::Train, &view).unwrap();
        head.learn_from(Some(SoftTargets { answers, temperature, weight }));
        let rows = same(&[0, 1, 2, 3]);
        assert_eq!(used_tokens(&*head, &pack, &rows).len(), pack.tokens());
        let shape = [pack.tokens(), hidden];
        let states = Tensor::<2>::from_data(TensorData::new(floats(&fixture["states"]), shape), &device);
        let states = states.require_grad();
        let batch = Batch::evaluated(&states, &pack, Split::Train, &rows);
        let loss = head.loss(&parameters, &batch).unwrap();
        assert_eq!(loss.num_targets, 10);
        let gradients = loss.mean.clone().backward();
        near(
            &[loss.mean.into_scalar()],
            &[case["loss"].as_f64().unwrap() as f32],
            &case["settings"].to_string(),
        );
        let vec = |data: TensorData| data.try_into_vec::<f32>().unwrap();
        let expected = |name: &str| floats(&case["gradients"][name]);
        near(&vec(states.grad(&gradients).unwrap().into_data()), &expected("states"), "states");
        assert_eq!(projection.is_some(), case["gradients"].get("projection.weight").is_some());
        if let Some(ParameterTensor::Matrix(w)) = projection.map(|index| parameters.parameter(index).value())
        {
            near(&vec(w.grad(&gradients).unwrap().into_data()), &expected("projection.weight"), "projection");
        }
    }
}

/// Its states are its teacher's, and so nothing is left to learn.
#[test]
fn a_student_with_the_states_of_its_teacher_has_nothing_to_learn() {
    let view = of_sequences(&[vec![5], vec![2, 3]]);
    let pack = pack(&view);
    let device = devices().remove(0).autodiff();
    for settings in [json!({}), json!({ "match": "relations", "heads": 4 })] {
        let mut parameters = Parameters::new(&device, 1);
        let space = json!({ "teacher_hidden": 8 });
        let mut head =
            init_head(&*kind("hidden_states", table(&settings)), &space, 8, &mut parameters).unwrap();
        assert_eq!((parameters.len(), head.label_space()), (0, space));
        assert_eq!(head.learnable_outputs(), Ok(SoftOutputs::states(8)));
        let values: Vec<f32> = (0..80).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut answers = TeacherAnswers::default();
        values.chunks(40).for_each(|row| answers.push(row));
        let rows = same(&[0, 1]);
        let states = Tensor::<2>::from_data(TensorData::new(values, [10, 8]), &device).require_grad();
        let batch = Batch::evaluated(&states, &pack, Split::Train, &rows);
        assert!(head.loss(&parameters, &batch).is_none() && !head.labelled(Split::Train, 0), "no teacher");
        let soft = SoftTargets { answers, temperature: 1.0, weight: TeacherWeight::Annealed };
        head.learn_from(Some(soft));
        assert!(head.labelled(Split::Train, 0) && !head.labelled(Split::Validation, 0));
        let loss: f32 = head.loss(&parameters, &batch).unwrap().mean.into_scalar();
        assert!((0.0..1e-6).contains(&loss), "{settings}: {loss}");
    }
}

#[test]
fn what_cannot_be_matched_is_refused() {
    let error =
        |settings: Json| config("hidden_states", table(&settings)).build("t").err().unwrap().to_string();
    let told = error(json!({ "heads": 4 }));
    assert!(told.contains("task.t.hidden_states.heads: found 4 beside match = \"states\""), "{told}");
    assert!(error(json!({ "match": "relations", "heads": 0 })).contains("found 0, expected at least 1"));
    assert!(error(json!({ "tokens": "tokens" })).contains("both `text` and `tokens`"));
    // A trunk of width 4.
    let relations = kind("hidden_states", table(&json!({ "match": "relations" })));
    let told = refused(&*relations, &json!({ "teacher_hidden": 24 }));
    assert!(
        told.contains("found 12, which does not divide the width 4 of the student, expected a divisor of 4"),
        "{told}"
    );
    let relations = kind("hidden_states", table(&json!({ "match": "relations", "heads": 4 })));
    let told = refused(&*relations, &json!({ "teacher_hidden": 6 }));
    assert!(told.contains("the width 6 of the teacher, expected a divisor of 2"), "{told}");
    for space in [json!({}), json!({ "teacher_hidden": 0 }), json!({ "teacher_hidden": 1u64 << 40 })] {
        assert!(refused(&*relations, &space).contains("teacher_hidden"), "{space}");
    }
    // A metric, and a task without a teacher.
    let mut with_metric = config("hidden_states", table(&json!({})));
    with_metric.metric = Some("accuracy".into());
    assert!(with_metric.build("t").err().unwrap().to_string().contains("expected no metric"));
    let told = relations.fit_labels(&[]).unwrap_err()[0].to_string();
    assert!(told.contains("task.t.hidden_states: found no teacher"), "{told}");
}
