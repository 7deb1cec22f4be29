//! What texts look like that are no plain words, as regular expressions of ECMA 262
//! (JSON Schema's), without `^` and `$` so that they can be put together.

use crate::config::model::Protocol;

/// `^…$`.
pub(super) fn whole(pattern: &str) -> String {
    format!("^({pattern})$")
}

/// A service, by its name or its identity.
pub(super) fn service() -> String {
    format!("{NAME}|{}", service_id())
}

/// `tcp:192.0.2.10:80`, `fwmark6:80`.
pub(super) fn service_id() -> String {
    let protocols = Protocol::ALL.map(Protocol::name).join("|");
    let mark = number(1, u32::MAX);
    format!("({protocols}):{}|fwmark6?:({mark})", socket())
}

/// What a service is called.
pub(super) const NAME: &str = "[0-9A-Za-z._-]+";

/// `10.0.0.2:80`, `[2001:db8::2]:80`.
pub(super) fn socket() -> String {
    let (v4, v6) = (v4(), v6());
    format!(r"({v4}|\[({v6})\]):({})", number(0, u16::MAX.into()))
}

/// As [`socket`], or an address alone.
pub(super) fn real() -> String {
    let address = address();
    format!(r"{}|{address}|\[({address})\]", socket())
}

pub(super) fn address() -> String {
    format!("{}|{}", v4(), v6())
}

/// An address, or a prefix: `192.0.2.0/24`.
pub(super) fn destination() -> String {
    format!(
        "{}(/({}))?|({})(/({}))?",
        v4(),
        number(0, 32),
        v6(),
        number(0, 128)
    )
}

/// `80` or `10000-20000`.
pub(super) fn port_range() -> String {
    let port = number(1, u16::MAX.into());
    format!("({port})(-({port}))?")
}

/// [`port_range`]s with commas; `all` is all ports.
pub(super) fn ports() -> String {
    let range = port_range();
    format!("all|{range}(,{range})*")
}

fn v4() -> String {
    let octet = number(0, u8::MAX.into());
    format!(r"(({octet})\.){{3}}({octet})")
}

/// RFC 4291 section 2.2, but for its third form, which ends as an IPv4 address.
fn v6() -> String {
    const GROUP: &str = "[0-9a-fA-F]{1,4}";
    let mut forms = vec![format!("({GROUP}:){{7}}{GROUP}")];
    for before in 1..=7 {
        let after = 7 - before;
        let rest = match after {
            0 => ":".into(),
            _ => format!("(:{GROUP}){{1,{after}}}|:"),
        };
        forms.push(format!("({GROUP}:){{{before}}}({rest})"));
    }
    forms.push(format!(":((:{GROUP}){{1,7}}|:)"));
    forms.join("|")
}

/// The whole numbers from `least`, 0 or 1, to `most`, without leading zeros.
fn number(least: u32, most: u32) -> String {
    let digits = most.to_string();
    let mut forms = Vec::new();
    if least == 0 {
        forms.push("0".to_owned());
    }
    // Those with fewer digits.
    match digits.len() - 1 {
        0 => {}
        1 => forms.push("[1-9]".into()),
        fewer => forms.push(format!("[1-9][0-9]{{0,{}}}", fewer - 1)),
    }
    // Those that are equal up to a digit and less there, then `most` itself.
    for (at, digit) in digits.bytes().enumerate() {
        let first = if at == 0 { b'1' } else { b'0' };
        if digit > first {
            let (first, last) = (char::from(first), char::from(digit - 1));
            let (equal, free) = (&digits[..at], digits.len() - 1 - at);
            let rest = match free {
                0 => String::new(),
                _ => format!("[0-9]{{{free}}}"),
            };
            forms.push(format!("{equal}[{first}-{last}]{rest}"));
        }
    }
    forms.push(digits);
    forms.join("|")
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::{
        api::service_ref,
        config::{mark, vocabulary},
    };

    fn matches(pattern: &str, text: &str) -> bool {
        Regex::new(&whole(pattern)).unwrap().is_match(text)
    }

    #[test]
    fn numbers_end_where_they_should() {
        for (least, most) in [(0, 32), (0, 128), (0, 255), (1, 9), (1, 100)] {
            let pattern = Regex::new(&whole(&number(least, most))).unwrap();
            for n in 0..1000 {
                let is_in = (least..=most).contains(&n);
                assert_eq!(pattern.is_match(&n.to_string()), is_in, "{n} of {most}");
            }
        }
        for (number, is_in) in [
            (u64::from(u32::MAX), true),
            (u64::from(u32::MAX) + 1, false),
            (4_294_967_199, true),
            (1_000_000_000, true),
            (999_999_999, true),
            (10_000_000_000, false),
        ] {
            assert_eq!(
                matches(&super::number(1, u32::MAX), &number.to_string()),
                is_in
            );
        }
    }

    /// The document says of each what the parser does.
    #[test]
    fn patterns_and_parsers_agree() {
        let addresses = [
            "192.0.2.10",
            "::",
            "::1",
            "1::",
            "2001:db8::a",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1::3:4:5:6:7:8",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            "192.0.2",
            "192.0.2.256",
            "192.0.02.1",
            "12345::",
            ":1",
            "1:",
            "www",
            "",
        ];
        for text in addresses {
            let parsed = vocabulary::address(text).is_ok();
            assert_eq!(matches(&address(), text), parsed, "{text}");
            let parsed = vocabulary::real(text).is_ok();
            assert_eq!(matches(&real(), text), parsed, "{text}");
            for (before, after) in [("[", "]"), ("", ":80"), ("[", "]:0"), ("[", "]:65536")] {
                let text = format!("{before}{text}{after}");
                let parsed = vocabulary::real(&text).is_ok();
                assert_eq!(matches(&real(), &text), parsed, "{text}");
                let text = format!("tcp:{text}");
                let parsed = vocabulary::service_id(&text).is_ok();
                assert_eq!(matches(&service_id(), &text), parsed, "{text}");
            }
        }
        for text in [
            "web-1.x_y",
            "",
            "a b",
            "tcp:",
            "fwmark:1",
            "fwmark6:80",
            "fwmark:0",
            "fwmark7:1",
        ] {
            let parsed = service_ref(text).is_ok();
            assert_eq!(matches(&service(), text), parsed, "{text}");
        }
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::/128",
            "::1/129",
            "10.0.0.1/33",
            "10.0.0.1/",
        ] {
            let parsed = mark::destination(text).is_ok();
            assert_eq!(matches(&destination(), text), parsed, "{text}");
        }
        for text in [
            "all",
            "80",
            "80,443-450",
            "0",
            "80,",
            "",
            "65536",
            "1-2-3",
            "80,all",
        ] {
            assert_eq!(matches(&ports(), text), mark::ports(text).is_ok(), "{text}");
        }
    }
}
