//! Talking to an MLflow server.

use crate::failure::Failure;
use serde_json::Value;
use std::io::Read;
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

/// No answer that is needed is longer.
const LONGEST_ANSWER: u64 = 64 << 20;
/// How much of an answer that is no JSON an error repeats, in characters.
const REPEATED: usize = 300;

/// A server.
pub struct Client {
    base: String,
    agent: Agent,
}

/// What the server refused.
pub struct Refusal {
    /// MLflow's name of the error, such as `RESOURCE_DOES_NOT_EXIST`; empty where another program answered.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// In words, with the address.
    pub failure: Failure,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        refusal.failure
    }
}

impl Client {
    /// A server by its address, which begins with `http://` or `https://`.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(url: &str) -> Result<Client, Failure> {
        let base = url.trim().trim_end_matches('/');
        let host = ["http://", "https://"].into_iter().find_map(|scheme| base.strip_prefix(scheme));
        if host.is_none_or(|host| host.is_empty() || host.starts_with(['/', ':'])) {
            return Err(Failure::refused([format!(
                "--mlflow {url}: expected the address of a server, for example http://127.0.0.1:5000"
            )]));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .user_agent(concat!("polytask/", env!("CARGO_PKG_VERSION")));
        if ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| base.contains(&format!("//{host}"))) {
            // No proxy leads to this very machine.
            config = config.proxy(None);
        }
        Ok(Client { base: base.to_owned(), agent: config.build().into() })
    }

    /// The server's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Asks for something: `path` below `/api/2.0/`, with a query.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Refusal> {
        let address = self.address(path);
        let mut request = self.agent.get(&address);
        for (key, value) in query {
            request = request.query(key, value);
        }
        self.answer(&address, request.call())
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        let address = self.address(path);
        let text = body.to_string();
        let request = self.agent.post(&address).content_type("application/json");
        self.answer(&address, request.send(text.as_bytes()))
    }

    /// Sends a file; to that the server has nothing to answer.
    pub fn put(&self, path: &str, content_type: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let address = self.address(path);
        let request = self.agent.put(&address).content_type(content_type);
        self.body(&address, request.send(bytes)).map(drop)
    }

    fn address(&self, path: &str) -> String {
        format!("{}/api/2.0/{path}", self.base)
    }

    /// The JSON of an answer.
    fn answer(&self, address: &str, response: Result<Response<Body>, ureq::Error>) -> Result<Value, Refusal> {
        let bytes = self.body(address, response)?;
        serde_json::from_slice(&bytes)
            .map_err(|_| refusal(address, &"the answer is not JSON: is this an MLflow server?", 200))
    }

    /// What was answered, if it is no error.
    fn body(&self, address: &str, response: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, Refusal> {
        let mut response = response.map_err(|error| refusal(address, &error, 0))?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        let body = response.body_mut().as_reader().take(LONGEST_ANSWER).read_to_end(&mut bytes);
        body.map_err(|error| refusal(address, &error, status))?;
        if (200..300).contains(&status) {
            return Ok(bytes);
        }
        let found = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
        let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let message = match text("message") {
            none if none.is_empty() => {
                String::from_utf8_lossy(&bytes).trim().chars().take(REPEATED).collect()
            }
            message => message,
        };
        let refused = refusal(address, &format!("HTTP status {status}: {message}"), status);
        Err(Refusal { code: text("error_code"), ..refused })
    }
}

fn refusal(address: &str, reason: &dyn std::fmt::Display, status: u16) -> Refusal {
    Refusal { code: String::new(), status, failure: Failure::failed(format!("{address}: {reason}")) }
}
