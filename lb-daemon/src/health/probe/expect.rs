//! Whether an answer is the one that was waited for.

use regex::bytes::Regex;

use crate::config::health::{Expected, Pattern};

/// Made ready from [`Expected`].
#[derive(Debug)]
pub(super) enum Expectation {
    Prefix(Vec<u8>),
    Match(Regex),
}

/// What is known of an answer that may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Matches,
    NotYet,
    /// Whatever follows.
    Never,
}

/// Of an answer that came and is another one.
pub(super) const DIFFERS: &str = "answer does not match";

impl Expectation {
    /// # Errors
    /// The pattern does not compile.
    pub(super) fn new(expected: &Expected) -> Result<Self, String> {
        Ok(match expected {
            Expected::Prefix(octets) => Self::Prefix(octets.as_bytes().to_vec()),
            Expected::Match(pattern) => Self::Match(compile(pattern)?),
        })
    }

    pub(super) fn judge(&self, so_far: &[u8]) -> Verdict {
        match self {
            Self::Prefix(prefix) if so_far.starts_with(prefix) => Verdict::Matches,
            Self::Prefix(prefix) if prefix.starts_with(so_far) => Verdict::NotYet,
            Self::Prefix(_) => Verdict::Never,
            Self::Match(regex) if regex.is_match(so_far) => Verdict::Matches,
            Self::Match(_) => Verdict::NotYet,
        }
    }

    /// Of a whole answer.
    ///
    /// # Errors
    /// It is another one.
    pub(super) fn of_whole(&self, answer: &[u8]) -> Result<(), String> {
        match self.judge(answer) {
            Verdict::Matches => Ok(()),
            Verdict::NotYet | Verdict::Never => Err(DIFFERS.into()),
        }
    }
}

/// # Errors
/// It does not; no [`Pattern`] is made of one that doesn't.
pub(super) fn compile(pattern: &Pattern) -> Result<Regex, String> {
    let regex = pattern.compile();
    regex.map_err(|_| format!("{:?} is not a regular expression", pattern.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_refuted_early() {
        let prefix = Expectation::Prefix(b"+OK".to_vec());
        for (so_far, verdict) in [
            (&b""[..], Verdict::NotYet),
            (b"+O", Verdict::NotYet),
            (b"+OK", Verdict::Matches),
            (b"+OK ready", Verdict::Matches),
            (b"-", Verdict::Never),
            (b"+ER", Verdict::Never),
        ] {
            assert_eq!(prefix.judge(so_far), verdict, "{so_far:?}");
        }
        assert_eq!(prefix.of_whole(b"+O").unwrap_err(), DIFFERS);
    }

    #[test]
    fn a_pattern_may_match_later() {
        let expected = Expected::Match("re.dy".parse().unwrap());
        let pattern = Expectation::new(&expected).unwrap();
        assert_eq!(pattern.judge(b"not re"), Verdict::NotYet);
        assert_eq!(pattern.judge(b"\xffre\xfe"), Verdict::NotYet);
        assert_eq!(pattern.judge(b"\xffready"), Verdict::Matches);
    }
}
