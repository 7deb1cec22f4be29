//! The text of the file, and errors that name a line of it.

use super::ConfigError;

/// The file that is being read.
#[derive(Debug)]
pub(super) struct Source<'a> {
    file: String,
    text: &'a str,
}

/// Number of the line that `before` ends on, from 1.
pub(super) fn line(before: &[u8]) -> usize {
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

impl<'a> Source<'a> {
    pub(super) fn new(file: String, text: &'a str) -> Self {
        Self { file, text }
    }

    /// What the TOML parser refused. It names no key, so for a duplicate the
    /// key is read from the text and its table from the header above.
    pub(super) fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let problem = error
            .message()
            .lines()
            .next()
            .unwrap_or("not TOML")
            .to_owned();
        if problem != "duplicate key" {
            return self.refused(span.start, "", "", problem);
        }
        let key = self.text.get(span.clone()).unwrap_or_default();
        let line_start = self.text[..span.start].rfind('\n').map_or(0, |end| end + 1);
        let in_header = self.text[line_start..].trim_start().starts_with('[');
        let header = self.text[..line_start]
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| line.starts_with('['));
        let path = match header {
            Some(header) if !in_header => {
                let table = header
                    .split(']')
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches('[')
                    .trim();
                format!("{table}.{key}")
            }
            _ => key.to_owned(),
        };
        self.refused(span.start, "", &path, problem)
    }

    /// An error about `key` of the table at `table`, on the line of the
    /// position `at`. A key that is a path already stands in no table.
    pub(super) fn refused(
        &self,
        at: usize,
        table: &str,
        key: &str,
        problem: String,
    ) -> ConfigError {
        let key = match table {
            "" => key.to_owned(),
            table => format!("{table}.{key}"),
        };
        ConfigError::Refused {
            file: self.file.clone(),
            line: self.line(at),
            key,
            problem,
        }
    }

    /// The line of a position: goes through all of the text before it.
    pub(super) fn line(&self, at: usize) -> usize {
        line(&self.text.as_bytes()[..at.min(self.text.len())])
    }
}
