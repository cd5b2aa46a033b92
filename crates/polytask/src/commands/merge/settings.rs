//! What the command line says about how to merge: the method with its settings, and the weights of the models.

use crate::cli;
use crate::config::{schema::ticked, suggest};
use crate::failure::Failure;
use model::merging::Merging;
use serde_json::{Map, Value, json};

/// The options that are settings of methods: the name of each in a method, and its value where it is given.
fn options(args: &cli::Merge) -> [(&'static str, &'static str, Option<Value>); 8] {
    [
        ("lambda", "--lambda", args.lambda.map(Value::from)),
        ("density", "--density", args.density.map(Value::from)),
        ("epsilon", "--epsilon", args.epsilon.map(Value::from)),
        ("gamma", "--gamma", args.gamma.map(Value::from)),
        ("share", "--share", args.share.map(Value::from)),
        ("per_row", "--per-row", args.per_row.then_some(Value::Bool(true))),
        ("rows", "--fisher-rows", args.fisher_rows.map(Value::from)),
        ("seed", "--seed", args.seed.map(Value::from)),
    ]
}

/// The method with its settings.
///
/// # Errors
/// A method that does not exist, an option that it does not have, a value out of its range.
pub fn method(args: &cli::Merge) -> Result<Merging, Failure> {
    let all = Merging::all();
    let Some(usual) = all.iter().find(|method| method.name() == args.method) else {
        let names: Vec<&str> = all.iter().map(Merging::name).collect();
        let near = suggest(&args.method, names.iter().copied());
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(Failure::refused([format!(
            "--method: found `{}`, expected one of {}{near}",
            args.method,
            ticked(&names)
        )]));
    };
    let mut settings = settings(usual);
    let (known, given) = (settings.clone(), options(args));
    let mut errors = Vec::new();
    for (key, flag, value) in given.iter().filter_map(|(key, flag, value)| Some((*key, flag, value.clone()?)))
    {
        match settings.get_mut(key) {
            // JSON has no NaN and no infinity: they arrive as null.
            Some(setting) if !value.is_null() => *setting = value,
            Some(_) => errors.push(format!("{flag}: expected a finite number")),
            None => {
                let own: Vec<&str> = options(args)
                    .iter()
                    .filter(|(key, ..)| known.contains_key(*key))
                    .map(|(_, flag, _)| *flag)
                    .collect();
                let own = if own.is_empty() {
                    "it has none".to_owned()
                } else {
                    format!("it has {}", own.join(", "))
                };
                errors.push(format!("{flag}: the method `{}` has no such setting; {own}", args.method));
            }
        }
    }
    if !errors.is_empty() {
        return Err(Failure::refused(errors));
    }
    let named: Map<String, Value> = Map::from_iter([(args.method.clone(), Value::Object(settings))]);
    let method: Merging = serde_json::from_value(Value::Object(named)).map_err(|e| Failure::refused([e]))?;
    method.check().map_err(|error| {
        let flag = given.iter().find(|(key, ..)| *key == error.key).map_or(error.key, |(_, flag, _)| flag);
        Failure::refused([format!("{flag}: found {}, expected {}", error.found, error.expected)])
    })?;
    Ok(method)
}

/// The settings of a method.
pub fn settings(method: &Merging) -> Map<String, Value> {
    let named = json!(method);
    named[method.name()].as_object().cloned().unwrap_or_default()
}

/// A method and its settings in words.
pub fn describe(method: &Merging) -> String {
    let settings: Vec<String> =
        settings(method).iter().map(|(key, value)| format!("{key} {value}")).collect();
    if settings.is_empty() {
        method.name().into()
    } else {
        format!("{} ({})", method.name(), settings.join(", "))
    }
}

/// The weights of some models, each of which goes by several names. `given` is what the command line says.
///
/// # Errors
/// Names that no model has or that several have, numbers that are no weights, another number of them.
pub fn weights(given: Option<&str>, models: &[Vec<String>]) -> Result<Vec<f64>, Failure> {
    let Some(given) = given else { return Ok(vec![1.0; models.len()]) };
    let refused = |reason: String| Failure::refused([format!("--weights {given}: {reason}")]);
    let parts: Vec<&str> = given.split(',').map(str::trim).collect();
    let number = |text: &str| {
        let weight = text.trim().parse::<f64>().ok().filter(|weight| weight.is_finite() && *weight >= 0.0);
        weight.ok_or_else(|| refused(format!("found `{text}`, expected a number, 0 or more")))
    };
    let known: Vec<&str> = models.iter().filter_map(|names| names.first()).map(String::as_str).collect();
    let weights = if parts.iter().any(|part| part.contains('=')) {
        let mut weights: Vec<Option<f64>> = vec![None; models.len()];
        for part in &parts {
            let (name, value) = part.rsplit_once('=').ok_or_else(|| {
                refused(format!("found `{part}`, expected NAME=NUMBER as in the other parts"))
            })?;
            let has_name = |at: &usize| models[*at].iter().any(|known| known == name.trim());
            let named: Vec<usize> = (0..models.len()).filter(has_name).collect();
            match named[..] {
                [at] if weights[at].is_none() => weights[at] = Some(number(value)?),
                [_] => return Err(refused(format!("the model `{name}` has two weights"))),
                [] => {
                    return Err(refused(format!(
                        "no model is called `{name}`: there are {}",
                        ticked(&known)
                    )));
                }
                _ => {
                    return Err(refused(format!(
                        "several models are called `{name}`: name them by tasks, {}",
                        ticked(&known)
                    )));
                }
            }
        }
        let all: Option<Vec<f64>> = weights.iter().copied().collect();
        all.ok_or_else(|| {
            let without = known.iter().zip(&weights).filter(|(_, weight)| weight.is_none());
            let without: Vec<&str> = without.map(|(name, _)| *name).collect();
            refused(format!("without a weight: {}", ticked(&without)))
        })?
    } else {
        if parts.len() != models.len() {
            return Err(refused(format!(
                "found {} weights, expected {}, one for each of {}",
                parts.len(),
                models.len(),
                ticked(&known)
            )));
        }
        parts.iter().map(|part| number(part)).collect::<Result<_, _>>()?
    };
    if weights.iter().sum::<f64>() > 0.0 {
        Ok(weights)
    } else {
        Err(refused("all weights are 0; expected at least one above".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_go_by_order_or_by_name() {
        let models =
            [vec!["intent".to_owned(), "a".into()], vec!["polarity".into(), "slots".into(), "b".into()]];
        let of = |given| weights(given, &models).map_err(|failure| failure.messages.join("\n"));
        assert_eq!(of(None).unwrap(), [1.0, 1.0]);
        assert_eq!(of(Some("1, 0.5")).unwrap(), [1.0, 0.5]);
        assert_eq!(of(Some("b=0.25,intent=2")).unwrap(), [2.0, 0.25]);
        assert_eq!(of(Some("slots=0,a=1")).unwrap(), [1.0, 0.0]);
        for (given, says) in [
            ("1", "found 1 weights, expected 2, one for each of `intent`, `polarity`"),
            ("1,x", "found `x`, expected a number, 0 or more"),
            ("1,-1", "found `-1`, expected a number, 0 or more"),
            ("1,NaN", "found `NaN`, expected a number"),
            ("0,0", "all weights are 0"),
            ("intent=1", "without a weight: `polarity`"),
            ("intent=1,a=2,b=1", "the model `a` has two weights"),
            ("intent=1,none=2", "no model is called `none`: there are `intent`, `polarity`"),
            ("intent=1,2", "found `2`, expected NAME=NUMBER"),
        ] {
            let error = of(Some(given)).unwrap_err();
            assert!(error.contains(says), "{given}: {error}");
        }
        let same = [vec!["x".to_owned(), "run".into()], vec!["y".into(), "run".into()]];
        let error = weights(Some("run=1,y=1"), &same).unwrap_err().messages.join("\n");
        assert!(error.contains("several models are called `run`: name them by tasks, `x`, `y`"), "{error}");
    }
}
