//! Reals as `lbctl simulate` names them.

use std::str::FromStr;

use lb_common::limits::MAX_WEIGHT;

use crate::config::model::Weight;

/// `NAME[:WEIGHT[:UPPER[:LOWER]]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Any word, or an address.
    pub name: String,
    pub weight: Weight,
    /// 0: none.
    pub upper_threshold: u32,
    /// 0: 75 % of the upper.
    pub lower_threshold: u32,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = split_name(text)?;
        let mut fields = rest.into_iter().flat_map(|rest| rest.split(':'));
        let weight = fields.next().map_or(Ok(Weight::ONE), |field| {
            weight(field).map_err(|problem| format!("real {name}: {problem}"))
        })?;
        let threshold = |field: Option<&str>| {
            let number = field.map_or(Ok(0), str::parse);
            number.map_err(|_| {
                let field = field.unwrap_or_default();
                format!("real {name}: {field:?} is not a threshold: expected a number")
            })
        };
        let named = Self {
            weight,
            upper_threshold: threshold(fields.next())?,
            lower_threshold: threshold(fields.next())?,
            name,
        };
        match fields.next() {
            None => Ok(named),
            Some(_) => Err(format!(
                "real {}: too many fields: expected NAME:WEIGHT:UPPER:LOWER",
                named.name
            )),
        }
    }
}

/// A name, and what follows it behind a colon. An IPv6 address stands in
/// brackets, which are not part of the name.
pub(super) fn split_name(text: &str) -> Result<(String, Option<&str>), String> {
    let no_name = || format!("{text:?} has no real's name: letters, digits, \".\", \"_\", \"-\"");
    let (name, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']').ok_or_else(no_name)?;
            let address: std::net::Ipv6Addr = address
                .parse()
                .map_err(|_| format!("{address:?} is not an IPv6 address"))?;
            (address.to_string(), rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            let allowed = |c: char| c.is_alphanumeric() || "._-".contains(c);
            if name.is_empty() || !name.chars().all(allowed) {
                return Err(no_name());
            }
            (name.to_owned(), rest)
        }
    };
    match rest.strip_prefix(':') {
        Some(rest) => Ok((name, Some(rest))),
        None if rest.is_empty() => Ok((name, None)),
        None => Err(no_name()),
    }
}

pub(super) fn weight(text: &str) -> Result<Weight, String> {
    let weight = text.parse().ok().and_then(Weight::new);
    weight.ok_or_else(|| format!("{text:?} is not a weight: expected 0 to {MAX_WEIGHT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> (String, u32, u32, u32) {
        let named: Named = text.parse().unwrap();
        let weight = named.weight.get();
        (
            named.name,
            weight,
            named.upper_threshold,
            named.lower_threshold,
        )
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(named("a"), ("a".into(), 1, 0, 0));
        assert_eq!(named("web-1.x:0"), ("web-1.x".into(), 0, 0, 0));
        assert_eq!(named("a:3:100"), ("a".into(), 3, 100, 0));
        assert_eq!(named("10.0.0.2:3:9:5"), ("10.0.0.2".into(), 3, 9, 5));
        assert_eq!(named("[2001:DB8::0:1]:2"), ("2001:db8::1".into(), 2, 0, 0));
    }

    #[test]
    fn what_is_wrong_names_the_real() {
        for (text, part) in [
            ("", "has no real's name"),
            (":1", "has no real's name"),
            ("a b", "has no real's name"),
            ("[2001:db8::1", "has no real's name"),
            ("[2001:db8::1]x", "has no real's name"),
            ("[10.0.0.2]", "is not an IPv6 address"),
            ("a:", "real a: \"\" is not a weight"),
            ("a:-1", "real a: \"-1\" is not a weight"),
            (
                "a:65536",
                "real a: \"65536\" is not a weight: expected 0 to 65535",
            ),
            ("a:1:x", "real a: \"x\" is not a threshold"),
            ("a:1:2:1:0", "real a: too many fields"),
        ] {
            let error = text.parse::<Named>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
