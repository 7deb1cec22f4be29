//! TOML as people write it: one key a line, small tables inline, comments
//! above.

use std::fmt::Write as _;

use crate::config::write::quoted;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Integer(u64),
    Boolean(bool),
    List(Vec<Self>),
    /// In the order given.
    Inline(Vec<(&'static str, Self)>),
}

impl Value {
    pub(super) fn texts<S: ToString>(texts: impl IntoIterator<Item = S>) -> Self {
        let texts = texts.into_iter();
        Self::List(texts.map(|text| Self::Text(text.to_string())).collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

/// A document that grows.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// Longest line of an array; a longer one is written an element a line.
const MAX_LINE: usize = 100;

impl Text {
    pub(super) fn comment(&mut self, line: &str) {
        // A line end in a comment would end it.
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let _ = writeln!(self.0, "# {line}");
    }

    pub(super) fn blank(&mut self) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
    }

    pub(super) fn table(&mut self, name: &str) {
        let _ = writeln!(self.0, "[{name}]");
    }

    pub(super) fn array_of_tables(&mut self, name: &str) {
        let _ = writeln!(self.0, "[[{name}]]");
    }

    pub(super) fn entry(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let line = format!("{key} = {}", inline(&value));
        match &value {
            Value::List(elements) if line.chars().count() > MAX_LINE => {
                let _ = writeln!(self.0, "{key} = [");
                for element in elements {
                    let _ = writeln!(self.0, "    {},", inline(element));
                }
                self.0.push_str("]\n");
            }
            _ => {
                let _ = writeln!(self.0, "{line}");
            }
        }
    }

    /// [`Text::entry`], if there is a value.
    pub(super) fn optional(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.entry(key, value);
        }
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::List(elements) => {
            let elements: Vec<_> = elements.iter().map(inline).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Inline(entries) => {
            let entries = entries.iter();
            let entries: Vec<_> = entries
                .map(|(key, value)| format!("{key} = {}", inline(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// `3s`, `1500ms`.
pub(super) fn duration(ms: u64) -> Value {
    Value::Text(if ms.is_multiple_of(1000) {
        format!("{}s", ms / 1000)
    } else {
        format!("{ms}ms")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_comes_back(text: String) {
            let document = format!("key = {}", quoted(&text));
            let table: toml::Table = document.parse().unwrap();
            prop_assert_eq!(table["key"].as_str(), Some(&*text));
        }

        #[test]
        fn any_comment_is_one(text: String) {
            let mut document = Text::default();
            document.comment(&text);
            let table: toml::Table = document.into_string().parse().unwrap();
            prop_assert!(table.is_empty());
        }
    }

    #[test]
    fn long_arrays_are_broken() {
        let mut text = Text::default();
        text.entry("short", Value::texts(["a", "b"]));
        text.entry("long", Value::texts(["a".repeat(60), "b".repeat(60)]));
        let (a, b) = ("a".repeat(60), "b".repeat(60));
        assert_eq!(
            text.into_string(),
            format!("short = [\"a\", \"b\"]\nlong = [\n    \"{a}\",\n    \"{b}\",\n]\n")
        );
    }
}
