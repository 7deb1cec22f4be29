//! `iptables … -j MARK` in a script: which packets netfilter gives a mark, and so
//! a `[[firewall_mark]]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{
    mark::{self, MarkRule},
    model::{IpFamily, Protocol},
};

/// What a command line marks; none: it marks nothing. An error says why the same
/// cannot be said here.
pub(super) fn mark_rule(words: &[String]) -> Option<Result<MarkRule, String>> {
    let (program, options) = words.split_first()?;
    let family = match program.rsplit('/').next()? {
        "iptables" => IpFamily::V4,
        "ip6tables" => IpFamily::V6,
        _ => return None,
    };
    let marks = options
        .windows(2)
        .any(|pair| pair[0] == "-j" && pair[1] == "MARK");
    marks.then(|| rule(options, family))
}

fn rule(options: &[String], family: IpFamily) -> Result<MarkRule, String> {
    let mut mark = None;
    let mut protocol = None;
    let mut destination = match family {
        IpFamily::V4 => (IpAddr::from(Ipv4Addr::UNSPECIFIED), 0),
        IpFamily::V6 => (IpAddr::from(Ipv6Addr::UNSPECIFIED), 0),
    };
    let mut ports = Vec::new();
    let mut options = options.iter().map(String::as_str);
    while let Some(option) = options.next() {
        let mut value = || options.next().ok_or(format!("{option} has no value"));
        match option {
            // Where the rule stands, and what its other options need.
            "-t" | "-A" | "-I" | "--table" | "--append" | "--insert" | "-j" | "-m" | "--match" => {
                value()?;
            }
            "-p" | "--protocol" => {
                let name = value()?;
                let found = Protocol::from_name(name);
                protocol = Some(found.ok_or(format!("{name} is none of tcp, udp, sctp"))?);
            }
            "-d" | "--destination" => destination = mark::destination(value()?)?,
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
                for range in value()?.split(',') {
                    ports.push(mark::port_range(&range.replace(':', "-"))?);
                }
            }
            "--set-mark" | "--set-xmark" => mark = Some(number(value()?)?),
            other => return Err(format!("{other} has no equal in [[firewall_mark]]")),
        }
    }
    if IpFamily::of(destination.0) != family {
        return Err("a destination of another family".into());
    }
    Ok(MarkRule {
        mark: mark.ok_or("no mark is set")?,
        protocol: protocol.ok_or("no protocol: [[firewall_mark]] is of one")?,
        destination,
        ports: mark::in_order(ports),
    })
}

/// Decimal or hexadecimal, for all of the mark's bits.
fn number(text: &str) -> Result<u32, String> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    let parsed = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match (parsed(value), parsed(mask)) {
        (Some(mark), Some(u32::MAX)) if mark != 0 => Ok(mark),
        (Some(_), Some(_)) => Err(format!("{text}: only a whole mark but 0 can be set")),
        _ => Err(format!("{text} is not a mark")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(line: &str) -> Option<Result<String, String>> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        mark_rule(&words).map(|rule| rule.map(|rule| rule.to_string()))
    }

    #[test]
    fn what_is_marked_is_a_rule() {
        for (line, expected) in [
            (
                "/sbin/iptables -t mangle -A PREROUTING -p tcp -d 192.0.2.10/32 --dport 80 -j MARK --set-mark 80",
                "firewall mark 80: tcp 192.0.2.10/32 80",
            ),
            (
                "iptables -t mangle -I PREROUTING -p tcp -d 192.0.2.0/24 -m multiport --dports 443,80,1000:2000 -j \
                 MARK --set-xmark 0x1f/0xffffffff",
                "firewall mark 31: tcp 192.0.2.0/24 80,443,1000-2000",
            ),
            (
                "ip6tables -t mangle -A PREROUTING -p udp -j MARK --set-mark 1",
                "firewall mark 1: udp ::/0",
            ),
        ] {
            assert_eq!(marked(line), Some(Ok(expected.into())), "{line}");
        }
        for line in ["iptables -F", "iptables -A INPUT -j ACCEPT", "echo -j MARK"] {
            assert_eq!(marked(line), None, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_told() {
        let rule = |options: &str| {
            let line = format!("iptables -p tcp -j MARK {options}");
            marked(&line).unwrap().unwrap_err()
        };
        for (options, expected) in [
            (
                "--set-mark 1 -s 10.0.0.0/8",
                "-s has no equal in [[firewall_mark]]",
            ),
            ("--set-mark 0", "0: only a whole mark but 0 can be set"),
            (
                "--set-mark 1/0xff",
                "1/0xff: only a whole mark but 0 can be set",
            ),
            ("--set-mark x", "x is not a mark"),
            ("--set-mark", "--set-mark has no value"),
            ("-d 192.0.2.10", "no mark is set"),
            (
                "--set-mark 1 -d 2001:db8::1",
                "a destination of another family",
            ),
            ("--set-mark 1 -p icmp", "icmp is none of tcp, udp, sctp"),
        ] {
            assert_eq!(rule(options), expected, "{options}");
        }
        assert_eq!(
            marked("iptables -j MARK --set-mark 1")
                .unwrap()
                .unwrap_err(),
            "no protocol: [[firewall_mark]] is of one"
        );
    }
}
