//! The values on ipvsadm's command line, as the C library reads them.

use std::{
    ffi::{CStr, CString},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs},
    ops::RangeInclusive,
};

use crate::config::model::Protocol;

/// A decimal number as strtol(3) reads it: blanks and a sign may stand before.
pub(super) fn number(text: &str, range: RangeInclusive<i64>) -> Option<i64> {
    let digits = text.trim_start_matches(is_blank);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| range.contains(number))
}

/// As atoi(3): what follows the digits is ignored.
pub(super) fn leading_number(text: &str) -> i64 {
    let text = text.trim_start_matches(is_blank);
    let sign = text.len() - text.trim_start_matches(['+', '-']).len();
    let digits = text[sign..].find(|c: char| !c.is_ascii_digit());
    let end = digits.map_or(text.len(), |digits| sign + digits);
    text[..end].parse().unwrap_or(0)
}

/// A netmask of IPv4, which may be any.
pub(super) fn mask(text: &str) -> Option<Ipv4Addr> {
    numeric_address(text).or_else(|| host(text))
}

/// An address or a host's name, and the port behind it; a port may have a name
/// where the protocol is known.
pub(super) fn address(text: &str, protocol: Option<Protocol>) -> Option<(IpAddr, Option<u16>)> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (host_text, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, Some(rest.strip_prefix(':')?))
        }
        None => (text, None),
    };
    let (address, port) = match host_text.parse::<Ipv6Addr>() {
        Ok(address) => (IpAddr::V6(address), port),
        Err(_) => {
            let (host_text, port) = match host_text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host_text, None),
            };
            let address = numeric_address(host_text).or_else(|| host(host_text))?;
            (IpAddr::V4(address), port)
        }
    };
    let port = match port {
        Some(port) => Some(port_number(port, protocol)?),
        None => None,
    };
    Some((address, port))
}

fn port_number(text: &str, protocol: Option<Protocol>) -> Option<u16> {
    match number(text, 0..=u16::MAX.into()) {
        Some(port) => u16::try_from(port).ok(),
        None => named_port(text, protocol?),
    }
}

/// As inet_aton(3): one to four parts, each decimal, octal or hexadecimal; the
/// last fills what is left. Anything may follow a blank.
fn numeric_address(text: &str) -> Option<Ipv4Addr> {
    let text = text.find(is_blank).map_or(text, |end| &text[..end]);
    let parts: Vec<_> = text.split('.').map(part).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let room = 32 - 8 * first.len();
    if u64::from(*last) >> room != 0 {
        return None;
    }
    let places = first.iter().zip([24, 16, 8]);
    let bits = places.fold(*last, |bits, (part, place)| bits | part << place);
    Some(Ipv4Addr::from_bits(bits))
}

fn part(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or(text.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (text, 10),
    };
    let is_number = digits.chars().all(|c| c.is_digit(radix));
    let value = is_number.then(|| u32::from_str_radix(digits, radix).ok());
    value.flatten()
}

/// The first IPv4 address that the system's resolver has.
fn host(name: &str) -> Option<Ipv4Addr> {
    // gethostbyname(3) asks nobody about digits and dots.
    let is_numeric = name.chars().all(|c| c.is_ascii_digit() || c == '.');
    if is_numeric || name.contains(is_blank) {
        return None;
    }
    let mut found = (name, 0).to_socket_addrs().ok()?;
    found.find_map(|socket| match socket.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })
}

/// From /etc/services or wherever nsswitch.conf points to.
fn named_port(name: &str, protocol: Protocol) -> Option<u16> {
    let name = CString::new(name).ok()?;
    let protocol: &CStr = match protocol {
        Protocol::Tcp => c"tcp",
        Protocol::Udp => c"udp",
        Protocol::Sctp => c"sctp",
    };
    // SAFETY: both are strings that end with a NUL and outlive the call.
    let entry = unsafe { libc::getservbyname(name.as_ptr(), protocol.as_ptr()) };
    // SAFETY: null, or an entry that is valid until the next call, which no
    // other thread makes: whoever reads ipvsadm's command lines has one.
    let entry = unsafe { entry.as_ref() }?;
    Some(u16::from_be(entry.s_port as u16))
}

/// As isspace(3) has them.
fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_strtols() {
        assert_eq!(number("80", 0..=100), Some(80));
        assert_eq!(number(" +80", 0..=100), Some(80));
        for text in [
            "",
            "-",
            "+-8",
            "80x",
            "80 ",
            "101",
            "-1",
            "99999999999999999999",
        ] {
            assert_eq!(number(text, 0..=100), None, "{text:?}");
        }
        for (text, expected) in [("64x", 64), ("x", 0), ("-5", -5), (" 7 8", 7), ("", 0)] {
            assert_eq!(leading_number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn addresses_are_inet_atons() {
        for (text, expected) in [
            ("192.0.2.10", Some([192, 0, 2, 10])),
            ("0x01020304", Some([1, 2, 3, 4])),
            ("010.1.1.1", Some([8, 1, 1, 1])),
            ("1.2", Some([1, 0, 0, 2])),
            ("1.2.515", Some([1, 2, 2, 3])),
            ("24", Some([0, 0, 0, 24])),
            ("1.2.3.4 x", Some([1, 2, 3, 4])),
            ("1.2.3.256", None),
            ("256.1.1.1", None),
            ("1.2.3.4.5", None),
            ("1.2.3.4x", None),
            ("4294967296", None),
            ("08.1.1.1", None),
            (" 1.2.3.4", None),
            ("1..2", None),
            ("", None),
        ] {
            assert_eq!(
                numeric_address(text),
                expected.map(Ipv4Addr::from),
                "{text:?}"
            );
        }
    }

    #[test]
    fn addresses_have_ports_behind_them() {
        let v4 = |octets: [u8; 4]| IpAddr::from(octets);
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        for (text, expected) in [
            ("1.2.3.4:80", Some((v4([1, 2, 3, 4]), Some(80)))),
            ("1.2.3.4", Some((v4([1, 2, 3, 4]), None))),
            ("[1.2.3.4]:80", Some((v4([1, 2, 3, 4]), None))),
            ("[2001:db8::1]:80", Some((v6("2001:db8::1"), Some(80)))),
            ("2001:db8::1", Some((v6("2001:db8::1"), None))),
            ("[2001:db8::1]", None),
            ("[2001:db8::1]x80", None),
            ("[2001:db8::1:80", None),
            ("1.2.3.4:", None),
            ("1.2.3.4:70000", None),
            ("300.1.1.1:80", None),
            ("80", None),
            ("", None),
        ] {
            assert_eq!(address(text, Some(Protocol::Tcp)), expected, "{text:?}");
        }
    }
}
