//! `[timeouts]`: a key for every state, and ipvsadm's names for two of them.

use super::{ConfigError, schema, sections::section, table::Table};
use crate::config::timeouts::{KEYS, MAX_TIMEOUT_S, Timeouts};

const RANGE_S: std::ops::RangeInclusive<u64> = 1..=MAX_TIMEOUT_S as u64;

pub(super) fn timeouts(root: &Table<'_>) -> Result<Timeouts, ConfigError> {
    let mut timeouts = Timeouts::default();
    let Some(table) = section(root, "timeouts", schema::TIMEOUTS)? else {
        return Ok(timeouts);
    };
    for key in KEYS {
        let alias = key.alias.map(|(alias, _)| alias);
        if let Some(seconds) = timeout(&table, key.name, alias)? {
            timeouts.set(key.state, seconds);
        }
    }
    Ok(timeouts)
}

/// The value of `key` under either of its names; both with different values
/// contradict each other.
fn timeout(
    table: &Table<'_>,
    key: &'static str,
    alias: Option<&'static str>,
) -> Result<Option<u32>, ConfigError> {
    let seconds = |key: &'static str| {
        table
            .get(key)
            .map(|entry| entry.seconds(RANGE_S))
            .transpose()
    };
    let value = seconds(key)?;
    let Some(alias) = alias else { return Ok(value) };
    match (value, seconds(alias)?) {
        (Some(value), Some(other)) if value != other => {
            // Whichever stands later in the file is told.
            let (first, second) = if table.position_of(key) <= table.position_of(alias) {
                (key, alias)
            } else {
                (alias, key)
            };
            let line = table.line(table.position_of(first));
            Err(table.error(
                second,
                format!("contradicts {first} on line {line}: they are the same timeout"),
            ))
        }
        (value, other) => Ok(value.or(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    const DIRECTOR: &str = "[director]\ninterfaces = ['eth0']\n";

    fn refused(text: &str) -> String {
        parse(text, "lbd.toml").unwrap_err().to_string()
    }

    /// The states by their keys, in the order of ip_vs.h.
    const STATES: [&str; 24] = [
        "tcp_established",
        "tcp_syn_sent",
        "tcp_syn_recv",
        "tcp_fin_wait",
        "tcp_time_wait",
        "tcp_close",
        "tcp_close_wait",
        "tcp_last_ack",
        "tcp_listen",
        "tcp_synack",
        "udp",
        "sctp_init1",
        "sctp_init",
        "sctp_cookie_sent",
        "sctp_cookie_replied",
        "sctp_cookie_wait",
        "sctp_cookie",
        "sctp_cookie_echoed",
        "sctp_established",
        "sctp_shutdown_sent",
        "sctp_shutdown_received",
        "sctp_shutdown_ack_sent",
        "sctp_rejected",
        "sctp_closed",
    ];

    #[test]
    fn every_state_has_its_timeout() {
        let keys = STATES.iter().enumerate();
        let lines: String = keys
            .map(|(n, key)| format!("{key} = '{}s'\n", n + 11))
            .collect();
        let text = format!("{DIRECTOR}[timeouts]\n{lines}");
        let config = parse(&text, "lbd.toml").unwrap();
        let expected = [
            2, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 60, 0, 0, 0, // TCP, UDP, cut
            2, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 0, 0, // SCTP
        ];
        assert_eq!(config.timeouts.0, expected);
    }

    #[test]
    fn two_of_them_have_ipvsadms_names_too() {
        let text =
            format!("{DIRECTOR}[timeouts]\ntcp = '1s'\ntcp_fin = '4s'\ntcp_fin_wait = '4000ms'\n");
        let timeouts = parse(&text, "lbd.toml").unwrap().timeouts.0;
        assert_eq!((timeouts[1], timeouts[4]), (1, 4));
    }

    #[test]
    fn one_timeout_under_two_names_must_agree() {
        assert_eq!(
            refused(&format!(
                "{DIRECTOR}[timeouts]\ntcp = '1s'\ntcp_established = '2s'\n"
            )),
            "lbd.toml:5: timeouts.tcp_established: contradicts tcp on line 4: they are the same timeout"
        );
        assert_eq!(
            refused(&format!(
                "{DIRECTOR}[timeouts]\ntcp_fin_wait = '1s'\ntcp_fin = '2s'\n"
            )),
            "lbd.toml:5: timeouts.tcp_fin: contradicts tcp_fin_wait on line 4: they are the same timeout"
        );
    }

    #[test]
    fn timeouts_are_whole_seconds_within_reason() {
        for (value, problem) in [
            ("'500ms'", "whole seconds only"),
            ("'0s'", "out of range: 1s to 2678400s"),
            ("'32d'", "out of range: 1s to 2678400s"),
            ("900", "expected a string, found integer"),
            (
                "'15 m'",
                "\"15 m\" is not a duration: expected \"500ms\", \"3s\", \"15m\" or \"24h\"",
            ),
        ] {
            assert_eq!(
                refused(&format!("{DIRECTOR}[timeouts]\nudp = {value}\n")),
                format!("lbd.toml:4: timeouts.udp: {problem}")
            );
        }
    }
}
