//! Talking to the Hub: what a revision is, and the files of a commit.

use super::HubModelId;
use super::cache::is_commit;
use crate::error::ModelError;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;
use ureq::http::Response;
use ureq::{Agent, Body};

/// A description of a model is never longer.
const LONGEST_DESCRIPTION: u64 = 32 << 20;

pub(super) struct Client<'a> {
    endpoint: &'a str,
    spec: &'a HubModelId,
    agent: Agent,
}

/// An error, and whether it only says that nobody answered.
pub(super) struct Failure {
    pub error: ModelError,
    pub unreachable: bool,
}

impl<'a> Client<'a> {
    pub fn new(endpoint: &'a str, spec: &'a HubModelId) -> Self {
        let endpoint = endpoint.trim_end_matches('/');
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // By hand: the first answer of a redirection names the file's checksum.
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .user_agent(concat!("polytask/", env!("CARGO_PKG_VERSION")));
        if ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| endpoint.contains(&format!("//{host}"))) {
            // No proxy leads to this very machine.
            config = config.proxy(None);
        }
        Self { endpoint, spec, agent: config.build().into() }
    }

    pub fn error(&self, reason: String, remedy: &str) -> Failure {
        let what = format!("hf:{}@{}", self.spec.repository, self.spec.revision);
        Failure { error: ModelError::Hub { what, reason, remedy: remedy.into() }, unreachable: false }
    }

    fn unreachable(&self, address: &str, reason: impl std::fmt::Display) -> Failure {
        let remedy = "the connection, or a folder that holds the model";
        Failure { unreachable: true, ..self.error(format!("{address}: {reason}"), remedy) }
    }

    /// The commit that the revision stands for, and the names of its files.
    pub fn describe(&self) -> Result<(String, Vec<String>), Failure> {
        let revision = self.spec.revision.replace('/', "%2F");
        let address = format!("{}/api/models/{}/revision/{revision}", self.endpoint, self.spec.repository);
        let (mut response, _) = self.get(&address)?;
        let mut text = Vec::new();
        let body = response.body_mut().as_reader().take(LONGEST_DESCRIPTION).read_to_end(&mut text);
        body.map_err(|error| self.unreachable(&address, error))?;
        let json: Value = serde_json::from_slice(&text).unwrap_or_default();
        let commit = json.get("sha").and_then(Value::as_str).filter(|sha| is_commit(sha));
        let files = json.get("siblings").and_then(Value::as_array);
        let (Some(commit), Some(files)) = (commit, files) else {
            let remedy = "the Hub's own address as endpoint";
            return Err(self.error(format!("{address} gave no description of a model"), remedy));
        };
        let names = files.iter().filter_map(|file| file.get("rfilename")?.as_str().map(str::to_owned));
        Ok((commit.to_owned(), names.collect()))
    }

    /// Downloads a file of a commit into `folder`; gives its name among the blobs and the file, whole and checked.
    pub fn download(
        &self,
        commit: &str,
        file: &str,
        folder: &Path,
    ) -> Result<(String, NamedTempFile), ModelError> {
        let address = format!("{}/{}/resolve/{commit}/{file}", self.endpoint, self.spec.repository);
        let (mut response, linked) = self.get(&address).map_err(|failure| failure.error)?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let etag = linked.or_else(|| header("x-linked-etag").or_else(|| header("etag")).map(clean));
        let length = header("content-length").and_then(|length| length.parse::<u64>().ok());

        let mut builder = tempfile::Builder::new();
        builder.suffix(".incomplete");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut temporary = builder.tempfile_in(folder).map_err(ModelError::io(folder, "write"))?;
        let (mut hash, mut found, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        let mut body = response.body_mut().as_reader();
        loop {
            let count = body.read(&mut buffer).map_err(|error| self.unreachable(&address, error).error)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            temporary.write_all(&buffer[..count]).map_err(ModelError::io(temporary.path(), "write"))?;
            found += count as u64;
        }
        let damaged = |reason: String| self.error(reason, "again: the file was damaged on the way").error;
        if let Some(expected) = length.filter(|expected| *expected != found) {
            return Err(damaged(format!("{address}: found {found} bytes, expected {expected}")));
        }
        let sum: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let etag =
            etag.filter(|etag| matches!(etag.len(), 40 | 64) && etag.bytes().all(|b| b.is_ascii_hexdigit()));
        match etag {
            // Large files go by their SHA-256; small ones by git's own hash.
            Some(etag) if etag.len() == 64 && etag != sum => {
                Err(damaged(format!("{address}: found SHA-256 {sum}, expected {etag}")))
            }
            Some(etag) => Ok((etag, temporary)),
            None => Ok((sum, temporary)),
        }
    }

    /// The answer at the end of all redirections, and the checksum that one of them named.
    fn get(&self, address: &str) -> Result<(Response<Body>, Option<String>), Failure> {
        let (mut at, mut linked) = (address.to_owned(), None);
        for _ in 0..6 {
            let response = self.agent.get(&at).call().map_err(|error| self.unreachable(&at, error))?;
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            linked = linked.or_else(|| header("x-linked-etag").map(clean));
            match response.status().as_u16() {
                200 => return Ok((response, linked)),
                301 | 302 | 303 | 307 | 308 => {
                    let next = header("location").and_then(|location| redirect_target(&at, location));
                    at = next.ok_or_else(|| {
                        self.error(
                            format!("{at} leads to no address over the same protocol"),
                            "another endpoint",
                        )
                    })?;
                }
                status => return Err(self.refused(&at, status)),
            }
        }
        Err(self.error(format!("{address} leads in circles"), "another endpoint"))
    }

    fn refused(&self, address: &str, status: u16) -> Failure {
        let (reason, remedy) = match status {
            401 | 403 => (
                "the Hub gives it to nobody without a login, or there is no such model",
                "the spelling of owner/name; for a private or gated model `hf download OWNER/NAME` after `hf auth login`, \
                 then the folder that it prints",
            ),
            404 => (
                "there is no such model, revision or file",
                "the spelling of owner/name and of the revision after @",
            ),
            429 => ("too many requests", "again in a few minutes"),
            _ => ("the server could not answer", "again later, or a folder that holds the model"),
        };
        let mut failure = self.error(format!("{address}: {reason} (HTTP {status})"), remedy);
        failure.unreachable = status >= 500;
        failure
    }
}

/// An entity tag without quotes and weakness.
fn clean(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// Where a redirection leads: an absolute address that is not less secret than the one before, or a path of the same host.
fn redirect_target(at: &str, location: &str) -> Option<String> {
    let (protocol, rest) = at.split_once("://")?;
    if location.starts_with('/') && !location.starts_with("//") {
        let host = rest.split('/').next()?;
        return Some(format!("{protocol}://{host}{location}"));
    }
    let secret = location.starts_with("https://");
    (secret || protocol == "http" && location.starts_with("http://")).then(|| location.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_never_lead_from_https_to_http() {
        assert_eq!(redirect_target("https://a/b/c", "/d?e").as_deref(), Some("https://a/d?e"));
        assert_eq!(redirect_target("https://a/b", "https://cdn/d").as_deref(), Some("https://cdn/d"));
        assert_eq!(redirect_target("http://a/b", "http://cdn/d").as_deref(), Some("http://cdn/d"));
        for bad in ["http://cdn/d", "file:///etc/passwd", "//cdn/d", "d", ""] {
            assert_eq!(redirect_target("https://a/b", bad), None, "{bad:?}");
        }
        assert_eq!(clean("W/\"abc\""), "abc");
    }
}
