//! Rules about how the tasks' losses are weighted.

use super::Rules;
use crate::config::diagnostic::Diagnostic;
use crate::config::{schema::ticked, suggest::suggest};
use ::balance::{BalanceError, BalancerConfig, Needs};
use ::train::GradientScope;

impl Rules<'_> {
    /// The balancer can be built for the tasks, and goes with the gradient scope.
    pub(super) fn balance(&mut self) {
        let config = self.config;
        let tasks: Vec<&str> = config.task.keys().map(String::as_str).collect();
        if self.unknown_weights(&tasks) || tasks.is_empty() {
            return;
        }
        let importance: Vec<f64> = config.task.values().map(|task| task.training.importance).collect();
        match config.balance.build(&tasks, &importance) {
            Ok(balancer) => {
                let narrow = config.train.gradient_scope != GradientScope::AllShared;
                if narrow && balancer.needs() == Needs::Losses {
                    self.scope_without_gradients();
                }
            }
            Err(error) => self.balance_error(&error, tasks[0]),
        }
    }

    /// Reports weights of tasks that do not exist; whether there are any.
    fn unknown_weights(&mut self, tasks: &[&str]) -> bool {
        let BalancerConfig::Static(fixed) = &self.config.balance else { return false };
        let mut found = false;
        for name in fixed.weights.keys().filter(|name| !tasks.contains(&name.as_str())) {
            found = true;
            let span = self.key(&["balance", "static", "weights", name]);
            let mut error = Diagnostic::error(format!("there is no task `{name}` to weigh"), span);
            if let Some(near) = suggest(name, tasks.iter().copied()) {
                error = error.help(format!("did you mean `{near}`?"));
            }
            self.push(error.help(format!("tasks: {}", ticked(tasks))));
        }
        found
    }

    fn balance_error(&mut self, error: &BalanceError, first_task: &str) {
        let span = match error {
            BalanceError::OutOfRange { key, .. } | BalanceError::NothingLearned { key } => {
                // A star stands for every task; the first will do to point at.
                let star = |part| if part == "*" { first_task } else { part };
                self.at(&key.split('.').map(star).collect::<Vec<_>>())
            }
            _ => None,
        };
        let span = span.or_else(|| self.at(&["balance", self.config.balance.name()]));
        self.push(Diagnostic::error(error.to_string(), span));
    }

    fn scope_without_gradients(&mut self) {
        let message = format!(
            "`train.gradient_scope` is for methods that compare gradients, and [balance.{}] looks at losses only",
            self.config.balance.name()
        );
        let error = Diagnostic::error(message, self.at(&["train", "gradient_scope"]));
        self.push(error.help("remove it, or choose another method: `polytask list balancers`"));
    }
}
