//! `[sharing.branch] groups_file`: a file of groups in place of the groups themselves. What it says becomes part of the config, so that a
//! run, and its model, do not need the file again.

use super::Config;
use super::diagnostic::Diagnostic;
use super::document::Node;
use model::SharingConfig;
use serde::Deserialize;

const PATH: [&str; 3] = ["sharing", "branch", "groups_file"];

/// What `polytask affinity` writes, of which other keys are passed over.
#[derive(Deserialize)]
struct File {
    groups: Vec<Vec<String>>,
}

/// Puts the groups of the file in the place of its name.
///
/// # Errors
/// A file that cannot be read or says something else; groups beside it.
pub(super) fn read(config: &mut Config, root: &Node) -> Result<(), Diagnostic> {
    let SharingConfig::Branch(branch) = &mut config.sharing else { return Ok(()) };
    let Some(path) = branch.groups_file.take() else { return Ok(()) };
    let refused = |message: String| Diagnostic::error(message, root.point(&PATH));
    if branch.groups.is_some() || !branch.levels.is_empty() {
        let error = refused("`groups_file` stands beside `groups` or `levels`, which say the same".into());
        return Err(error.help("leave one of them out"));
    }
    let shown = path.display();
    let bytes = files::read(&path).map_err(|e| refused(format!("cannot read {shown}: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| refused(format!("{shown} is not UTF-8")))?;
    let File { groups } = toml::from_str(&text).map_err(|e| {
        let error = refused(format!("{shown}: {}", e.message()));
        error.help("a file of groups says groups = [[\"a\", \"b\"], [\"c\"]]; `polytask affinity` writes one")
    })?;
    branch.groups = Some(groups);
    Ok(())
}
