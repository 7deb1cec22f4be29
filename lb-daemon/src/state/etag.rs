//! Versions of services and reals, so that who changes one can say which he
//! has seen (RFC 9110 section 13.1.1).

use std::{
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::handle::ChangeError;
use crate::config::model::{Real, Service};

/// The version of a service with its reals, or of a real: what is configured and
/// what the operator has it do, and nothing that is counted. A strong entity tag,
/// with its quotes.
fn etag(configured: &impl Debug) -> String {
    let mut hasher = DefaultHasher::new();
    format!("{configured:?}").hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[must_use]
pub fn of_service(service: &Service) -> String {
    etag(service)
}

#[must_use]
pub fn of_real(real: &Real) -> String {
    etag(real)
}

/// `If-Match`: what the object's version has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// From the header's value; `*` is any version there is.
    ///
    /// # Errors
    /// It is no list of strong entity tags.
    pub fn parse(value: &str) -> Result<Self, String> {
        if value.trim() == "*" {
            return Ok(Self(None));
        }
        let tags = value.split(',').map(|tag| {
            let tag = tag.trim();
            let is_quoted = tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"');
            if is_quoted {
                Ok(tag.to_owned())
            } else {
                Err(format!(
                    "If-Match: {tag} is no strong entity tag, as \"0123456789abcdef\""
                ))
            }
        });
        Ok(Self(Some(tags.collect::<Result<_, _>>()?)))
    }

    pub(super) fn check(
        &self,
        what: impl FnOnce() -> String,
        version: &str,
    ) -> Result<(), ChangeError> {
        match &self.0 {
            Some(tags) if tags.iter().all(|tag| tag != version) => Err(ChangeError::Changed(
                format!("{} has changed: its version is {version} now", what()),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_they_are() {
        let version = "\"0123456789abcdef\"";
        let check = |value: &str| IfMatch::parse(value).unwrap().check(|| "x".into(), version);
        assert_eq!(check("*"), Ok(()));
        assert_eq!(check(version), Ok(()));
        assert_eq!(check(&format!("\"a\" , {version}")), Ok(()));
        assert!(matches!(check("\"a\""), Err(ChangeError::Changed(_))));
        assert_eq!(IfMatch::default().check(|| "x".into(), version), Ok(()));
        for bad in ["", "0123456789abcdef", "W/\"a\"", "\"a\", b", "\""] {
            assert!(IfMatch::parse(bad).is_err(), "{bad}");
        }
    }
}
