//! How a run or a study came about, on its page.

use super::environment::Environment;
use crate::terminal::figures::counted;
use report::page::Page;

/// The commands behind a page, the machine, and the config.
pub fn origin(page: &mut Page, environment: Option<&Environment>, config: &str) {
    page.section("How it came about", "");
    for session in environment.iter().flat_map(|found| &found.sessions) {
        let built_in = if session.features.is_empty() {
            String::new()
        } else {
            format!(" with {}", session.features.join(", "))
        };
        page.facts(&[
            ("command", format!("`{}`", session.command_line())),
            ("in", session.folder.clone()),
            ("began", session.began.clone()),
            (
                "ended",
                session
                    .ended
                    .clone()
                    .unwrap_or_else(|| "not told: the process was ended, or is running".into()),
            ),
            ("polytask", format!("{}{built_in}", session.version)),
            ("system", session.system.clone()),
            ("processor", session.processor.clone().unwrap_or_else(|| "not told by the system".into())),
            ("device", format!("{}, {}", session.device, counted(session.threads, "thread"))),
        ]);
    }
    page.folded("config.toml, with every default", config);
}
