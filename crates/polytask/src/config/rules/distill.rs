//! Rules about `[distill]`: who teaches which task, and what a student begins with.

use super::Rules;
use crate::config::diagnostic::Diagnostic;
use crate::config::suggest::suggest;
use ::model::BackboneConfig;

impl Rules<'_> {
    pub(super) fn distill(&mut self) {
        self.tasks_of_teachers();
        let Some(distill) = &self.config.distill else { return };
        match (&distill.teacher, distill.teachers.is_empty()) {
            (None, true) => {
                let error = Diagnostic::error("[distill] names no teacher", self.key(&["distill"]));
                self.push(error.help(
                    "`teacher = \"runs/all\"` for one of all tasks, or `teachers = { TASK = \"runs/a\" }`",
                ));
            }
            (Some(_), false) => {
                let error = Diagnostic::error(
                    "[distill] has both `teacher` and `teachers`",
                    self.at(&["distill", "teacher"]),
                );
                self.push(error.help("remove one: a teacher for all tasks, or one for each that is named"));
            }
            _ => {}
        }
        for name in distill.teachers.keys().filter(|name| self.config.task.get(name).is_none()) {
            let message = format!("[distill] has a teacher for `{name}`, which is no task");
            let error = Diagnostic::error(message, self.key(&["distill", "teachers", name]));
            let tasks = self.config.task.keys().map(String::as_str);
            let help = suggest(name, tasks).map_or_else(
                || "name it as in [task.NAME]".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            self.push(error.help(help));
        }
        if distill.annealing && distill.weight.is_some() {
            let error = Diagnostic::error(
                "`distill.weight` and `distill.annealing`: annealing moves the weight from 1 to 0",
                self.at(&["distill", "weight"]),
            );
            self.push(error.help("remove one"));
        }
        if distill.layers.is_some() && matches!(self.config.model.backbone, BackboneConfig::FromScratch(_)) {
            let error = Diagnostic::error(
                "`distill.layers` keeps layers of a pretrained backbone, and this one is from scratch",
                self.at(&["distill", "layers"]),
            );
            self.push(error.help("name a model in `model.backbone`, or set its number of layers there"));
        }
    }
    /// A task that needs a teacher has one.
    fn tasks_of_teachers(&mut self) {
        let distill = self.config.distill.as_ref();
        let is_taught = |task: &str| {
            distill.is_some_and(|distill| distill.teacher.is_some() || distill.teachers.contains_key(task))
        };
        let config = self.config;
        for (name, _) in config.task.iter().filter(|(_, table)| table.config.needs_teacher()) {
            if !is_taught(name) {
                let message = format!("task `{name}` learns the states of a teacher, and has none");
                let error = Diagnostic::error(message, self.key(&["task", name]));
                self.push(error.help(
                    "name one in [distill] (`teacher = \"runs/all\"`, or an entry of `teachers`) and train with `polytask distill`, or leave \
                     the task out",
                ));
            }
        }
    }
}
