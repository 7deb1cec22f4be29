//! Where a page ended: what the API's clients hand back, and need not
//! understand.

use std::{fmt, str::FromStr};

/// A place in one of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) table: Table,
    pub(super) place: Place,
}

/// The tables in the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    V4,
    V6,
    Templates,
}

/// A place in a table: a bucket, and in it the entries with numbers above
/// `after`. Entries of a bucket have no order of their own that would last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub bucket: u32,
    pub after: Option<u64>,
}

impl Cursor {
    /// Where the first page begins.
    pub const START: Self = Self::start_of(Table::V4);

    pub(super) const fn start_of(table: Table) -> Self {
        Self {
            table,
            place: Place {
                bucket: 0,
                after: None,
            },
        }
    }
}

impl Table {
    const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Templates];

    pub const fn next(self) -> Option<Self> {
        match self {
            Self::V4 => Some(Self::V6),
            Self::V6 => Some(Self::Templates),
            Self::Templates => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
            Self::Templates => "t",
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { bucket, after } = self.place;
        write!(f, "{}.{bucket}", self.table.name())?;
        match after {
            Some(after) => write!(f, ".{after:x}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let mut parts = text.split('.');
            let name = parts.next()?;
            let table = Table::ALL.into_iter().find(|table| table.name() == name)?;
            let bucket = parts.next()?.parse().ok()?;
            let after = match parts.next() {
                Some(after) => Some(u64::from_str_radix(after, 16).ok()?),
                None => None,
            };
            let place = Place { bucket, after };
            parts.next().is_none().then_some(Self { table, place })
        };
        read().ok_or_else(|| format!("{text:?} is not a cursor of this list"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        for text in ["v4.0", "v6.4294967295", "t.12.0", "v4.7.ffffffffffffffff"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        assert_eq!(Cursor::START.to_string(), "v4.0");
        for text in [
            "",
            "v4",
            "v5.0",
            "v4.x",
            "v4.0.g",
            "v4.0.1.2",
            "v4.4294967296",
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
