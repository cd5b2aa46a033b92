//! Chat templates: how a model wants a conversation to be written, as Hugging Face's tokenizers carry it (Jinja).

use std::ops::Range;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Template, Value, context};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{DataError, GgufTokenizer, Tokenizer, foreign};

/// A template, and the tokens that it names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChatTemplate {
    /// Jinja source.
    pub source: String,
    /// `bos_token` of the model; empty where it has none.
    #[serde(default)]
    pub bos_token: String,
    /// `eos_token`, likewise.
    #[serde(default)]
    pub eos_token: String,
}

/// A conversation as text, and the byte ranges of what the assistant says in it, end tokens included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenderedChat {
    /// The text.
    pub text: String,
    /// One range a turn of the assistant.
    pub assistant: Vec<Range<usize>>,
}

/// Steps of a template's program; none in use needs a hundredth of it.
const FUEL: u64 = 10_000_000;
/// What stands in the text where `{% generation %}` and `{% endgeneration %}` stood.
const MARKERS: [char; 2] = ['\u{F_0001}', '\u{F_0002}'];

impl ChatTemplate {
    /// The template of a model: of a GGUF file `tokenizer.chat_template`; of a folder `chat_template.jinja`, else `chat_template` in `tokenizer_config.json` (a text, or a list of named ones
    /// of which `default` is taken). `None` where it has neither.
    ///
    /// # Errors
    /// Files that cannot be read; a template that is none.
    pub fn of_model(dir: &Path) -> Result<Option<ChatTemplate>, DataError> {
        if let Ok(Some(file)) = gguf::of_model(dir) {
            return Self::of_gguf(&file);
        }
        let config_path = dir.join("tokenizer_config.json");
        let config: Json = match files::read(&config_path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| DataError::Format {
                path: config_path.clone(),
                reason: format!("is not JSON: {error}"),
            })?,
            Err(_) => Json::Null,
        };
        let path = dir.join("chat_template.jinja");
        let (path, source) = match files::read(&path) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes);
                let reason = || DataError::Format { path: path.clone(), reason: "is not UTF-8".into() };
                (path.clone(), Some(text.map_err(|_| reason())?))
            }
            Err(_) => (config_path, named_template(&config["chat_template"])),
        };
        let Some(source) = source else { return Ok(None) };
        // Either the text of a token, or an object with its settings.
        let token = |key: &str| {
            let token = &config[key];
            token.as_str().or(token["content"].as_str()).unwrap_or_default().to_owned()
        };
        let template = ChatTemplate { source, bos_token: token("bos_token"), eos_token: token("eos_token") };
        template.check().map_err(|reason| DataError::Format { path, reason })?;
        Ok(Some(template))
    }

    fn of_gguf(file: &Path) -> Result<Option<ChatTemplate>, DataError> {
        let found = GgufTokenizer::open(file)?;
        let Some(source) = found.chat_template else { return Ok(None) };
        let tokenizer = Tokenizer::from_json(&found.json)?;
        let token = |id: Option<u32>| id.map(|id| tokenizer.tokens(&[id]).concat()).unwrap_or_default();
        let template = ChatTemplate { source, bos_token: token(found.bos), eos_token: token(found.eos) };
        let path = file.to_owned();
        template.check().map_err(|reason| DataError::Format { path, reason })?;
        Ok(Some(template))
    }

    /// What is wrong with the template's source, if it cannot be a template.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        self.compiled(|_| Ok(()))
    }

    /// The text of messages, each an object with `role` and `content`; with what begins an answer of the assistant behind them, if
    /// `add_generation_prompt`.
    ///
    /// # Errors
    /// In words: what the template says of messages that it does not allow, or why it fails.
    pub fn render(&self, messages: &[Json], add_generation_prompt: bool) -> Result<String, String> {
        self.compiled(|template| {
            Ok(self.render_marked(template, messages, add_generation_prompt)?.replace(MARKERS, ""))
        })
    }

    /// The text of messages and what the assistant says in it. Where the template marks that (`{% generation %}`), it is as marked; else
    /// it is what each turn adds to the text before it, up to the end token.
    ///
    /// # Errors
    /// In words, as [`ChatTemplate::render`]; a template without marks whose text of some messages does not begin as that of the messages
    /// before.
    pub fn render_turns(&self, messages: &[Json]) -> Result<RenderedChat, String> {
        self.compiled(|template| self.turns(template, messages))
    }

    fn turns(&self, template: &Template<'_, '_>, messages: &[Json]) -> Result<RenderedChat, String> {
        let render = |messages: &[Json], add_generation_prompt| {
            self.render_marked(template, messages, add_generation_prompt)
        };
        let marked = render(messages, false)?;
        if marked.contains(MARKERS) {
            return Ok(unmarked(&marked));
        }
        let mut assistant = Vec::new();
        for turn in (0..messages.len()).filter(|turn| messages[*turn]["role"] == "assistant") {
            let before = render(&messages[..turn], true)?;
            let whole = render(&messages[..=turn], false)?;
            if !(whole.starts_with(&before) && marked.starts_with(&whole)) {
                return Err("the chat template writes earlier messages in another way once later ones follow, and does not mark what the \
                            assistant says: put {% generation %} and {% endgeneration %} around it in `template`"
                    .into());
            }
            // What follows the end token begins the next turn.
            let said = &whole[before.len()..];
            let ends = Some(&*self.eos_token)
                .filter(|eos| !eos.is_empty())
                .and_then(|eos| Some(said.find(eos)? + eos.len()));
            assistant.push(before.len()..before.len() + ends.unwrap_or(said.len()));
        }
        Ok(RenderedChat { text: marked, assistant })
    }

    /// What `work` makes of the compiled template.
    fn compiled<T>(&self, work: impl FnOnce(&Template<'_, '_>) -> Result<T, String>) -> Result<T, String> {
        let source = with_markers(&self.source);
        let environment = environment();
        // A bug of the engine is a template that cannot be used.
        let template =
            foreign::caught(|| environment.template_from_str(&source))?.map_err(|error| in_words(&error))?;
        work(&template)
    }

    fn render_marked(
        &self,
        template: &Template<'_, '_>,
        messages: &[Json],
        add_generation_prompt: bool,
    ) -> Result<String, String> {
        let render = || {
            template.render(context! {
                messages => Value::from(Serde(messages)),
                add_generation_prompt,
                bos_token => self.bos_token.as_str(),
                eos_token => self.eos_token.as_str(),
                tools => Value::from(()),
                documents => Value::from(()),
            })
        };
        foreign::caught(render)?.map_err(|error| in_words(&error))
    }
}

/// What Hugging Face's templates are given.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the usual delimiters differ"));
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    // The same text at any time: a template that writes the date gets no date.
    environment.add_function("strftime_now", |_format: String| -> Result<String, Error> {
        Err(Error::new(
            ErrorKind::InvalidOperation,
            "the template writes the date of today, so that rows would differ from day to day; give a `template` without",
        ))
    });
    environment
}

/// The text of an error, the cause included.
fn in_words(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("chat template, line {line}: {detail}"),
        None => format!("chat template: {detail}"),
    }
}

/// The template of a key that holds a text, or a list of `{name, template}`.
fn named_template(found: &Json) -> Option<String> {
    if let Some(text) = found.as_str() {
        return Some(text.to_owned());
    }
    let all = found.as_array()?;
    let default = all.iter().find(|one| one["name"] == "default").or(all.first())?;
    default["template"].as_str().map(str::to_owned)
}

/// The source with markers in place of `{% generation %}` and `{% endgeneration %}`, which plain Jinja does not know; spaces around these
/// tags are taken away as around any tag of a block.
fn with_markers(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        let Some(length) = rest[begin..].find("%}").map(|end| end + 2) else { break };
        let inner = &rest[begin + 2..begin + length - 2];
        let name = inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        let marker = match name {
            "generation" => MARKERS[0],
            "endgeneration" => MARKERS[1],
            _ => {
                out.push_str(&rest[..begin + length]);
                rest = &rest[begin + length..];
                continue;
            }
        };
        let before = &rest[..begin];
        let after = &rest[begin + length..];
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        let alone = before[line..].chars().all(|c| c == ' ' || c == '\t') && (line > 0 || out.is_empty());
        out.push_str(if inner.starts_with('-') {
            before.trim_end()
        } else if alone {
            &before[..line]
        } else {
            before
        });
        let open = if inner.starts_with('-') { "{{-" } else { "{{" };
        out.push_str(&format!("{open} \"{marker}\" }}}}"));
        rest =
            if inner.ends_with('-') { after.trim_start() } else { after.strip_prefix('\n').unwrap_or(after) };
    }
    out + rest
}

/// A text without its markers, and the ranges between them.
fn unmarked(marked: &str) -> RenderedChat {
    let mut found = RenderedChat::default();
    let mut begin = None;
    for c in marked.chars() {
        match MARKERS.iter().position(|marker| *marker == c) {
            Some(0) => begin = Some(found.text.len()),
            Some(_) => found.assistant.extend(begin.take().map(|begin| begin..found.text.len())),
            None => found.text.push(c),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}\
                          {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate { source: source.into(), bos_token: "<s>".into(), eos_token: "<|im_end|>".into() }
    }

    fn messages() -> Vec<Json> {
        let message = |role: &str, content: &str| json!({"role": role, "content": content});
        vec![
            message("user", "Hi"),
            message("assistant", "Hello!"),
            message("user", "?"),
            message("assistant", "Yes"),
        ]
    }

    fn said(chat: &RenderedChat) -> Vec<&str> {
        chat.assistant.iter().map(|range| &chat.text[range.clone()]).collect()
    }

    #[test]
    fn what_the_assistant_says_is_found_with_marks_and_without() {
        let plain = template(CHATML).render_turns(&messages()).unwrap();
        assert_eq!(said(&plain), ["Hello!<|im_end|>", "Yes<|im_end|>"]);
        assert!(plain.text.ends_with("assistant\nYes<|im_end|>\n"), "{}", plain.text);
        let marked = "{% for m in messages %}\n  {%- if m.role == 'assistant' %}\n    {% generation %}\n{{ m.content }}<|im_end|>\n    \
                      {%- endgeneration %}\n  {%- else %}\n{{ m.content }}|\n  {%- endif %}\n{% endfor %}";
        let marked = template(marked).render_turns(&messages()).unwrap();
        assert_eq!(said(&marked), ["Hello!<|im_end|>", "Yes<|im_end|>"], "{marked:?}");
        assert!(!marked.text.contains(MARKERS));
    }

    #[test]
    fn the_prompt_begins_the_whole_conversation() {
        let template = template(CHATML);
        let (all, prompt) =
            (template.render(&messages(), false).unwrap(), template.render(&messages()[..3], true).unwrap());
        assert!(all.starts_with(&prompt) && prompt.ends_with("<|im_start|>assistant\n"));
    }

    #[test]
    fn templates_that_cannot_be_used_say_why() {
        let error = |source: &str| template(source).render_turns(&messages()).unwrap_err();
        assert!(error("{{ raise_exception('roles must alternate') }}").contains("roles must alternate"));
        assert!(error("{{ strftime_now('%d') }}").contains("date of today"));
        assert!(
            error("{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}")
                .contains("chat template")
        );
        let last = "{% for m in messages %}{{ loop.length }}{{ m.content }}{% endfor %}";
        assert!(error(last).contains("{% generation %}"));
        assert!(template("{% if %}").check().unwrap_err().contains("line 1"));
        assert!(
            template("{{ messages[0].content.strip().upper() }}").render(&messages(), false).unwrap() == "HI"
        );
    }
}
