//! `[timeouts]`: a key for every state, and ipvsadm's names for two of them.

use super::{ConfigError, schema, sections::section, table::Table};
use crate::config::model::Timeouts;
use lb_common::tcp_state::ConnectionState;

/// ipvsadm's limit: 31 days.
const RANGE_S: std::ops::RangeInclusive<u64> = 1..=31 * 86_400;

/// The state that each key is about.
const KEYS: [(&str, ConnectionState); 11] = [
    ("tcp_established", ConnectionState::Established),
    ("tcp_syn_sent", ConnectionState::SynSent),
    ("tcp_syn_recv", ConnectionState::SynRecv),
    ("tcp_fin_wait", ConnectionState::FinWait),
    ("tcp_time_wait", ConnectionState::TimeWait),
    ("tcp_close", ConnectionState::Close),
    ("tcp_close_wait", ConnectionState::CloseWait),
    ("tcp_last_ack", ConnectionState::LastAck),
    ("tcp_listen", ConnectionState::Listen),
    ("tcp_synack", ConnectionState::SynAck),
    ("udp", ConnectionState::Udp),
];

/// ipvsadm's names for two of them.
const ALIASES: [(&str, &str); 2] = [("tcp", "tcp_established"), ("tcp_fin", "tcp_fin_wait")];

pub(super) fn timeouts(root: &Table<'_>) -> Result<Timeouts, ConfigError> {
    let mut timeouts = ConnectionState::ALL.map(ConnectionState::default_timeout_s);
    let Some(table) = section(root, "timeouts", schema::TIMEOUTS)? else {
        return Ok(Timeouts(timeouts));
    };
    for (key, state) in KEYS {
        let alias = ALIASES
            .iter()
            .find(|(_, of)| *of == key)
            .map(|(alias, _)| *alias);
        if let Some(seconds) = timeout(&table, key, alias)? {
            timeouts[state as usize] = seconds;
        }
    }
    Ok(Timeouts(timeouts))
}

/// The value of `key` under either of its names; both with different values
/// contradict each other.
fn timeout(table: &Table<'_>, key: &str, alias: Option<&str>) -> Result<Option<u32>, ConfigError> {
    let seconds = |key: &str| {
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
            let (first, second) = if table.line_of(key) <= table.line_of(alias) {
                (key, alias)
            } else {
                (alias, key)
            };
            let line = table.line_of(first);
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

    #[test]
    fn every_state_has_its_timeout() {
        let text = format!(
            "{DIRECTOR}[timeouts]\ntcp = '1s'\ntcp_syn_sent = '2s'\ntcp_syn_recv = '3s'\n\
             tcp_fin = '4s'\ntcp_fin_wait = '4000ms'\ntcp_time_wait = '5s'\ntcp_close = '6s'\ntcp_close_wait = '7s'\n\
             tcp_last_ack = '8s'\ntcp_listen = '9s'\ntcp_synack = '10s'\nudp = '11m'\n"
        );
        let config = parse(&text, "lbd.toml").unwrap();
        assert_eq!(
            config.timeouts.0,
            [2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 660, 900]
        );
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
