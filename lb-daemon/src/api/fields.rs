//! Takes a request's JSON object apart, field by field. What is left at the
//! end is unknown, and refused by name like everything that this version does
//! not act on.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{checks, problem::Problem};
use crate::{
    config::{
        health::Check,
        probe::words,
        vocabulary::{is_near, nearest},
    },
    state::patch::Switch,
};

/// A JSON object that is being read.
#[derive(Debug, Default)]
pub(super) struct Fields {
    left: Map<String, Value>,
    /// Every field that was asked for, whether it was there or not.
    valid: Vec<&'static str>,
}

impl Fields {
    /// `body` must be an object.
    pub(super) fn new(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(left) => Ok(Self {
                left,
                valid: Vec::new(),
            }),
            other => Err(Problem::invalid(format!(
                "expected a JSON object, found {}",
                kind(&other)
            ))),
        }
    }

    /// The text in `field`, as `parse` understands it.
    pub(super) fn parsed<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => parse(&text)
                .map(Some)
                .map_err(|problem| Problem::invalid(format!("{field}: {problem}"))),
            Some(other) => Err(wrong_type(field, "a string", &other)),
        }
    }

    /// The number in `field`, from `range`.
    pub(super) fn number(
        &mut self,
        field: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Problem> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let Value::Number(number) = &value else {
            return Err(wrong_type(field, "an integer", &value));
        };
        let in_range = number
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| range.contains(number));
        in_range.map(Some).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            Problem::invalid(format!(
                "{field}: {number} is out of range: {least} to {most}"
            ))
        })
    }

    /// As [`Self::number`], of a prefix's length.
    pub(super) fn prefix_length(
        &mut self,
        field: &'static str,
        bits: u8,
    ) -> Result<Option<u8>, Problem> {
        let length = self.number(field, 1..=bits.into())?;
        Ok(length.and_then(|length| u8::try_from(length).ok()))
    }

    /// The switch in `field`.
    pub(super) fn flag(&mut self, field: &'static str) -> Result<Option<bool>, Problem> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong_type(field, "a boolean", &other)),
        }
    }

    /// The texts listed in `field`, each as `parse` understands it.
    pub(super) fn texts<T>(
        &mut self,
        field: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, Problem> {
        self.values(field, |value| match value {
            Value::String(text) => parse(text),
            other => Err(format!("expected a string, found {}", kind(other))),
        })
    }

    /// The object in `field`.
    pub(super) fn object(&mut self, field: &'static str) -> Result<Option<Fields>, Problem> {
        match self.take(field) {
            None => Ok(None),
            Some(value @ Value::Object(_)) => Self::new(value).map(Some),
            Some(other) => Err(wrong_type(field, "an object", &other)),
        }
    }

    /// As [`Self::object`]; `null` is [`Switch::Off`].
    pub(super) fn switch(&mut self, field: &'static str) -> Result<Switch<Fields>, Problem> {
        if self.left.get(field) == Some(&Value::Null) {
            self.take(field);
            return Ok(Switch::Off);
        }
        Ok(match self.object(field)? {
            None => Switch::Stays,
            Some(fields) => Switch::On(fields),
        })
    }

    /// As [`Self::number`]; `null` is [`Switch::Off`].
    pub(super) fn number_switch(
        &mut self,
        field: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Switch<u32>, Problem> {
        if self.left.get(field) == Some(&Value::Null) {
            self.take(field);
            return Ok(Switch::Off);
        }
        let number = self.number(field, range)?;
        Ok(number.map_or(Switch::Stays, Switch::On))
    }

    /// The values listed in `field`, each as `parse` understands it.
    pub(super) fn values<T>(
        &mut self,
        field: &'static str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, Problem> {
        let elements = match self.take(field) {
            None => return Ok(None),
            Some(Value::Array(elements)) => elements,
            Some(other) => return Err(wrong_type(field, "an array", &other)),
        };
        let values = elements.iter().map(|element| {
            parse(element).map_err(|problem| Problem::invalid(format!("{field}: {problem}")))
        });
        values.collect::<Result<_, _>>().map(Some)
    }

    /// The objects listed in `field`.
    pub(super) fn objects(&mut self, field: &'static str) -> Result<Vec<Fields>, Problem> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(elements)) => elements.into_iter().map(Self::new).collect(),
            Some(other) => Err(wrong_type(field, "an array", &other)),
        }
    }

    /// The checks in `field`, one or an array of them; `null` is [`Switch::Off`].
    pub(super) fn checks(&mut self, field: &'static str) -> Result<Switch<Vec<Check>>, Problem> {
        match self.take(field) {
            None => Ok(Switch::Stays),
            Some(Value::Null) => Ok(Switch::Off),
            Some(value) => checks::read(field, value)
                .map(Switch::On)
                .map_err(Problem::invalid),
        }
    }

    /// The program and its arguments in `field`; none: nothing is run.
    pub(super) fn command(&mut self, field: &'static str) -> Result<Option<Vec<String>>, Problem> {
        let words = self.texts(field, words::argument)?;
        let command = words.map(words::argv).transpose();
        command.map_err(|problem| Problem::invalid(format!("{field}: {problem}")))
    }

    /// Whether `field` is there, with whatever value.
    pub(super) fn is_there(&mut self, field: &'static str) -> bool {
        self.take(field).is_some()
    }

    /// A field of replies: it cannot be asked for.
    pub(super) fn read_only(&mut self, fields: &[&'static str]) -> Result<(), Problem> {
        for field in fields {
            if self.is_there(field) {
                return Err(Problem::invalid(format!("{field}: cannot be set")));
            }
        }
        Ok(())
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let Some(field) = self.left.keys().next() else {
            return Ok(());
        };
        let near = nearest(field, &self.valid).filter(|near| is_near(field, near));
        let hint = near
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        Err(Problem::invalid(format!("{field}: unknown field{hint}")))
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.valid.push(field);
        self.left.remove(field)
    }
}

fn wrong_type(field: &str, expected: &str, found: &Value) -> Problem {
    Problem::invalid(format!(
        "{field}: expected {expected}, found {}",
        kind(found)
    ))
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(body: Value) -> Fields {
        Fields::new(body).unwrap()
    }

    #[test]
    fn what_nobody_takes_is_unknown() {
        let mut fields = fields(json!({"weight": 3, "weigth": 4}));
        assert_eq!(fields.number("weight", 0..=65_535), Ok(Some(3)));
        assert_eq!(
            fields.finish().unwrap_err().detail,
            "weigth: unknown field; did you mean weight?"
        );
    }

    #[test]
    fn values_are_checked() {
        let mut fields = fields(json!({"weight": 65_536, "name": 4, "port": 1.5, "forward": null}));
        let detail = |problem: Problem| problem.detail;
        assert_eq!(
            fields.number("weight", 0..=65_535).map_err(detail),
            Err("weight: 65536 is out of range: 0 to 65535".into())
        );
        assert_eq!(
            fields.parsed("name", |_| Ok(())).map_err(detail),
            Err("name: expected a string, found a number".into())
        );
        assert_eq!(
            fields.number("port", 0..=9).map_err(detail),
            Err("port: 1.5 is out of range: 0 to 9".into())
        );
        assert_eq!(
            fields.parsed("forward", |_| Ok(())).map_err(detail),
            Err("forward: expected a string, found null".into())
        );
        assert_eq!(
            Fields::new(json!([])).map_err(detail).unwrap_err(),
            "expected a JSON object, found an array"
        );
    }
}
