//! The lines of an `lvs.cf`: `key = value`, and sections in braces.

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc};

use super::place;
use crate::import::source::{ImportError, Place};

/// Sections in sections: `virtual`, `server`.
const MAX_DEPTH: usize = 4;

/// `key = value`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) key: String,
    /// Without its quotes, its escapes resolved.
    pub(super) value: String,
}

impl Entry {
    /// An error about the value.
    pub(super) fn error(&self, problem: &str) -> ImportError {
        let (key, value) = (&self.key, &self.value);
        self.place.error(format!("{key}: {value:?} {problem}"))
    }

    pub(super) fn number(&self, range: RangeInclusive<u32>) -> Result<u32, ImportError> {
        let number = self.value.parse().ok();
        let number = number.filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.ok_or_else(|| self.error(&format!("is not a number from {least} to {most}")))
    }

    pub(super) fn flag(&self) -> Result<bool, ImportError> {
        match &*self.value {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(self.error("is neither 0 nor 1")),
        }
    }

    /// `text` is the value or a part of it.
    pub(super) fn address(&self, text: &str) -> Result<IpAddr, ImportError> {
        text.parse()
            .map_err(|_| self.error("does not begin with an IP address"))
    }
}

/// `kind name { … }`; the whole file is one without a name.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) place: Place,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) entries: Vec<Entry>,
    pub(super) sections: Vec<Self>,
}

impl Section {
    /// The last of several holds.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }
}

pub(super) fn parse(text: &str, file: &str) -> Result<Section, ImportError> {
    let file: Arc<str> = file.into();
    let section = |place, kind: &str, name: &str| Section {
        place,
        kind: kind.to_owned(),
        name: name.to_owned(),
        entries: Vec::new(),
        sections: Vec::new(),
    };
    let mut current = section(place(&file, 1), "", "");
    let mut outer: Vec<Section> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let place = place(&file, i + 1);
        let line = without_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        if line == "}" {
            let Some(mut around) = outer.pop() else {
                return Err(place.error("} without a {"));
            };
            std::mem::swap(&mut around, &mut current);
            current.sections.push(around);
        } else if let Some((key, value)) = assignment(line) {
            let value = value_of(value).map_err(|problem| place.error(problem))?;
            current.entries.push(Entry {
                key: key.to_owned(),
                value,
                place,
            });
        } else if let Some(head) = line.strip_suffix('{') {
            if outer.len() == MAX_DEPTH {
                return Err(place.error("sections are too deep"));
            }
            let head = head.trim();
            let (kind, name) = head.split_once(char::is_whitespace).unwrap_or((head, ""));
            let name = name.trim().trim_matches('"');
            let new = section(place, kind, name);
            outer.push(std::mem::replace(&mut current, new));
        } else {
            return Err(place.error("neither key = value nor a section"));
        }
    }
    if outer.is_empty() {
        return Ok(current);
    }
    let (kind, name) = (&current.kind, &current.name);
    Err(current
        .place
        .error(format!("{kind} {name}: its {{ has no }}")))
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!key.is_empty() && key.chars().all(is_key)).then_some((key, value.trim()))
}

/// A quoted string with `\n`, `\r`, `\t`, and any other character for itself
/// behind a backslash; or the rest of the line.
fn value_of(text: &str) -> Result<String, &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Ok(text.to_owned());
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        let c = characters
            .next()
            .ok_or("a quote that does not end on its line")?;
        match c {
            '"' => break,
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(other) => value.push(other),
                None => {}
            },
            c => value.push(c),
        }
    }
    if characters.as_str().trim().is_empty() {
        Ok(value)
    } else {
        Err("something stands behind the quoted value")
    }
}

/// `#` begins one anywhere but in quotes.
fn without_comment(line: &str) -> &str {
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '#' if !is_quoted => return &line[..at],
            _ => {}
        }
    }
    line
}
