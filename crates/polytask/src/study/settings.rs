//! Configs with other settings: a key and a value, as people write them, over a config that is there.

use crate::config::{self, Config};
use crate::failure::{Failure, REFUSED};

/// The name of the member that a config has of a table of which one member is chosen.
fn member<'a>(config: &'a Config, family: &str) -> Option<&'a str> {
    match family {
        "balance" => Some(config.balance.name()),
        "sampling" => Some(config.sampling.name()),
        "sharing" => Some(config.sharing.name()),
        "optimizer" => Some(config.optimizer.name()),
        "schedule" => Some(config.schedule.name()),
        _ => None,
    }
}

/// A key and a value as `--set` takes them. Of a table of which one member is chosen, such as `balance`, the value may be the member's
/// name: it has its default settings then, or those of the config where that has the same member, which needs no override.
pub fn override_of(key: &str, value: &str, config: &Config) -> Option<String> {
    match member(config, key) {
        Some(own) if own == value => None,
        Some(_) if !value.starts_with('{') => Some(format!("{key}={{{value}={{}}}}")),
        _ => Some(format!("{key}={value}")),
    }
}

/// A config with overrides, checked again.
///
/// # Errors
/// What is wrong with it.
pub fn with_overrides(config: &Config, set: &[String]) -> Result<Config, Failure> {
    if set.is_empty() {
        return Ok(config.clone());
    }
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let context = config::Context { name: "the config", folder: &here, current: &here, set, define: &[] };
    match config::parse(&config.resolved_toml(), &context) {
        Ok(loaded) => Ok(loaded.config),
        Err(report) => Err(Failure { messages: vec![report.to_string()], code: REFUSED }),
    }
}
