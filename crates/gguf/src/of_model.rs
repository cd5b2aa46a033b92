//! Which GGUF file is meant by the path of a model.

use crate::error::GgufError;
use std::path::{Path, PathBuf};

/// The GGUF file that the path of a model stands for: the file itself, by its ending `.gguf`, or the only one of a folder without
/// config.json; `None` where the path stands for something else.
///
/// # Errors
/// [`GgufError::Several`] for a folder of several files, none of which is more than another.
pub fn of_model(path: &Path) -> Result<Option<PathBuf>, GgufError> {
    if is_gguf(path) && path.is_file() {
        return Ok(Some(path.to_owned()));
    }
    if path.join("config.json").exists() {
        return Ok(None);
    }
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(None) };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|file| is_gguf(file) && file.is_file()).collect();
    files.sort();
    if files.len() > 1 {
        return Err(GgufError::Several { folder: path.to_owned(), files });
    }
    Ok(files.pop())
}

fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_file_or_the_only_one_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            path
        };
        assert_eq!(of_model(dir.path()).unwrap(), None);
        assert_eq!(of_model(&dir.path().join("none.gguf")).unwrap(), None);
        let first = file("a.gguf");
        assert_eq!(of_model(&first).unwrap(), Some(first.clone()));
        assert_eq!(of_model(dir.path()).unwrap(), Some(first));
        let second = file("b.GGUF");
        let error = of_model(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("holds 2 GGUF files: a.gguf, b.GGUF; name the one that is meant"), "{error}");
        assert_eq!(of_model(&second).unwrap(), Some(second));
        file("config.json");
        assert_eq!(of_model(dir.path()).unwrap(), None);
    }
}
