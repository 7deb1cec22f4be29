//! The words of TOML: values as text, and the lines of a table.

use std::{fmt, time::Duration};

use crate::config::file;

/// The keys of one table with their values as TOML has them, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keys(Vec<(&'static str, String)>);

impl Keys {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers make the value for it"
    )]
    pub(super) fn set(&mut self, key: &'static str, value: impl ToString) {
        self.0.push((key, value.to_string()));
    }

    /// Sets a key whose value is not the `default`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers make the value for it"
    )]
    pub(super) fn unless<T: PartialEq + ToString>(
        &mut self,
        default: T,
        key: &'static str,
        value: T,
    ) {
        if value != default {
            self.set(key, value);
        }
    }

    /// Sets a key that has a value.
    pub(super) fn set_some(&mut self, key: &'static str, value: Option<String>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As an inline table.
    pub(super) fn inline(&self) -> String {
        inline(self.0.iter().map(|(key, value)| (*key, value.as_str())))
    }
}

/// A line for each key.
impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut keys = self.0.iter();
        keys.try_for_each(|(key, value)| writeln!(f, "{key} = {value}"))
    }
}

/// An inline table of keys and values that are TOML already.
pub(super) fn inline<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> = pairs
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    if pairs.is_empty() {
        return "{}".into();
    }
    format!("{{ {} }}", pairs.join(", "))
}

/// An array of values that are TOML already.
pub(super) fn array(values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<_> = values.into_iter().collect();
    format!("[{}]", values.join(", "))
}

/// A basic string, with every escape that TOML 1.0 asks for.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An array of strings.
pub(super) fn words(words: &[String]) -> String {
    array(words.iter().map(|word| quoted(word)))
}

pub(super) fn duration(duration: Duration) -> String {
    quoted(&file::duration_text(duration))
}

pub(super) fn seconds(seconds: u32) -> String {
    duration(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_back() {
        for text in ["", "a\"b\\c", "\r\n\t\0\u{7f}\u{85}", "ü€😀", "'''"] {
            let document: toml::Table = format!("x = {}", quoted(text)).parse().unwrap();
            assert_eq!(document["x"].as_str(), Some(text));
        }
    }
}
