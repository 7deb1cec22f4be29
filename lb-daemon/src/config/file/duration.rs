//! Durations as the file writes them: a whole number and a unit.

use std::time::Duration;

/// Units, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Parses `"500ms"`, `"3s"`, `"15m"`, `"24h"`, `"2d"`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let error =
        || format!("{text:?} is not a duration: expected \"500ms\", \"3s\", \"15m\" or \"24h\"");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| error())?;
    let (_, unit_ms) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(error)?;
    number
        .checked_mul(*unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(error)
}

/// The shortest that [`parse`] takes for `duration`, which is of whole
/// milliseconds.
pub(crate) fn text(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // A day is written in hours, as everywhere in the documentation.
    let units = UNITS[..4].iter().rev();
    let fits = |(_, unit_ms): &&(&str, u64)| ms != 0 && ms.is_multiple_of(*unit_ms);
    let (unit, unit_ms) = units.clone().find(fits).unwrap_or(&UNITS[1]);
    format!("{}{unit}", ms / unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("3s", 3000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        for text_of in ["1ms", "1500ms", "0s", "3s", "90s", "15m", "24h", "49h"] {
            assert_eq!(super::text(parse(text_of).unwrap()), text_of);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "3",
            "s",
            "3 s",
            "-3s",
            "1.5s",
            "3sec",
            "1m30s",
            "99999999999999999999h",
            "99999999999999999d",
        ] {
            assert!(
                parse(text).unwrap_err().contains("is not a duration"),
                "{text}"
            );
        }
    }
}
