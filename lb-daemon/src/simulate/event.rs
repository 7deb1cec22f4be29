//! What happens to reals during a simulation.

use std::{fmt, str::FromStr, time::Duration};

use super::{
    lifetime::time,
    real::{Named, split_name, weight},
};
use crate::config::{model::Weight, vocabulary::unknown};

/// `TIME:WHAT:REAL…`, as on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: Duration,
    pub real: String,
    pub change: Change,
    /// As written.
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Failed its check, or in maint: it is not there for the scheduler.
    Down,
    /// Listed with weight 0.
    Drain,
    /// Up again, and ready.
    Up,
    Weight(Weight),
    Add(Named),
    Remove,
}

const WORDS: [&str; 6] = ["down", "drain", "up", "weight", "add", "remove"];

impl FromStr for Event {
    type Err = String;

    /// `5s:down:b`, `5s:weight:b:3`, `5s:add:d:2`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut fields = text.splitn(3, ':');
        let (Some(at), Some(word), Some(rest)) = (fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("event {text:?}: expected TIME:WHAT:REAL"));
        };
        let told = |problem| format!("event {text:?}: {problem}");
        let at = time(at).map_err(told)?;
        let (real, value) = split_name(rest).map_err(told)?;
        let plain = |change| match value {
            None => Ok(change),
            Some(value) => Err(told(format!("{value:?} is too much"))),
        };
        let change = match word {
            "down" => plain(Change::Down)?,
            "drain" => plain(Change::Drain)?,
            "up" => plain(Change::Up)?,
            "remove" => plain(Change::Remove)?,
            "add" => Change::Add(rest.parse().map_err(told)?),
            "weight" => {
                let value = value.ok_or_else(|| told("no weight behind the real".into()))?;
                Change::Weight(weight(value).map_err(told)?)
            }
            _ => return Err(told(unknown("event", word, &WORDS))),
        };
        Ok(Self {
            at,
            real,
            change,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_a_time_a_word_and_a_real() {
        for (text, seconds, real, change) in [
            ("5s:down:b", 5, "b", Change::Down),
            ("0s:up:[2001:db8::1]", 0, "2001:db8::1", Change::Up),
            (
                "1m:weight:10.0.0.2:0",
                60,
                "10.0.0.2",
                Change::Weight(Weight::new(0).unwrap()),
            ),
            ("1s:add:d:2", 1, "d", Change::Add("d:2".parse().unwrap())),
            ("1s:remove:d", 1, "d", Change::Remove),
            ("1s:drain:d", 1, "d", Change::Drain),
        ] {
            let event: Event = text.parse().unwrap();
            assert_eq!(event.at, Duration::from_secs(seconds));
            assert_eq!((&*event.real, event.change), (real, change));
        }
    }

    #[test]
    fn what_is_wrong_names_the_event() {
        for (text, part) in [
            ("5s:down", "expected TIME:WHAT:REAL"),
            ("5:down:b", "is not a duration"),
            ("5s:dwn:b", "unknown event \"dwn\"; did you mean down?"),
            ("5s:down:b:1", "\"1\" is too much"),
            ("5s:weight:b", "no weight behind the real"),
            ("5s:weight:b:x", "\"x\" is not a weight"),
            ("5s:add:b:x", "real b: \"x\" is not a weight"),
            ("5s:down:", "has no real's name"),
        ] {
            let error = text.parse::<Event>().unwrap_err();
            let whole = format!("event {text:?}: ");
            assert!(error.starts_with(&whole) && error.contains(part), "{error}");
        }
    }
}
