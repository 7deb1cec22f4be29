//! What a real says of its weight, and the words that it says it with.

/// What a real says of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// This weight, instead of the configured one.
    Weight(u32),
    /// So much of the configured one.
    Percent(u32),
    /// No new connections.
    Drain,
    /// As configured.
    Ready,
}

/// The largest that a weight can be.
pub(super) const MAX_WEIGHT: u32 = 65_535;

/// A number up to [`MAX_WEIGHT`] in figures alone.
pub(super) fn number(text: &str) -> Option<u32> {
    let figures = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = figures.then(|| text.parse().ok()).flatten();
    number.filter(|number| *number <= MAX_WEIGHT)
}

/// `75%`. More than 100 is more than configured.
pub(super) fn percent(text: &str) -> Option<u32> {
    text.strip_suffix('%').and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_figures() {
        for (text, value) in [
            ("0", Some(0)),
            ("65535", Some(65_535)),
            ("65536", None),
            ("99999999999", None),
            ("+1", None),
            ("", None),
        ] {
            assert_eq!(number(text), value, "{text}");
            assert_eq!(percent(&format!("{text}%")), value, "{text}");
        }
        assert_eq!(percent("75"), None);
    }
}
