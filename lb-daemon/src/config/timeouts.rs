//! `[timeouts]`: seconds for each connection state, and the names that the
//! file, the API and the state file have for them.

use lb_common::connection_state::ConnectionState;

/// Seconds that an idle connection in each state is kept, indexed by
/// [`ConnectionState`]; numbers that are no state's have 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts(pub [u32; ConnectionState::NUMBERS]);

/// ipvsadm's limit: 31 days.
pub const MAX_TIMEOUT_S: u32 = 31 * 86_400;

/// A state whose timeout can be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As in `lbd.toml`.
    pub name: &'static str,
    /// As in the API.
    pub field: &'static str,
    /// ipvsadm's name for the same, where it has one; and as in the API.
    pub alias: Option<(&'static str, &'static str)>,
    pub state: ConnectionState,
}

macro_rules! key {
    ($name:literal, $state:ident) => {
        Key {
            name: $name,
            field: concat!($name, "_s"),
            alias: None,
            state: ConnectionState::$state,
        }
    };
    ($name:literal, $state:ident, $alias:literal) => {
        Key {
            alias: Some(($alias, concat!($alias, "_s"))),
            ..key!($name, $state)
        }
    };
}

/// In the order of the states' numbers. NONE is no state to stay in, and CUT's
/// timeout is the director's own affair.
pub const KEYS: [Key; 24] = [
    key!("tcp_established", Established, "tcp"),
    key!("tcp_syn_sent", SynSent),
    key!("tcp_syn_recv", SynRecv),
    key!("tcp_fin_wait", FinWait, "tcp_fin"),
    key!("tcp_time_wait", TimeWait),
    key!("tcp_close", Close),
    key!("tcp_close_wait", CloseWait),
    key!("tcp_last_ack", LastAck),
    key!("tcp_listen", Listen),
    key!("tcp_synack", SynAck),
    key!("udp", Udp),
    key!("sctp_init1", SctpInit1),
    key!("sctp_init", SctpInit),
    key!("sctp_cookie_sent", SctpCookieSent),
    key!("sctp_cookie_replied", SctpCookieReplied),
    key!("sctp_cookie_wait", SctpCookieWait),
    key!("sctp_cookie", SctpCookie),
    key!("sctp_cookie_echoed", SctpCookieEchoed),
    key!("sctp_established", SctpEstablished),
    key!("sctp_shutdown_sent", SctpShutdownSent),
    key!("sctp_shutdown_received", SctpShutdownReceived),
    key!("sctp_shutdown_ack_sent", SctpShutdownAckSent),
    key!("sctp_rejected", SctpRejected),
    key!("sctp_closed", SctpClosed),
];

impl Default for Timeouts {
    /// IPVS's.
    fn default() -> Self {
        let mut timeouts = Self([0; ConnectionState::NUMBERS]);
        for state in ConnectionState::ALL {
            timeouts.0[state as usize] = state.default_timeout_s();
        }
        timeouts
    }
}

impl Timeouts {
    #[must_use]
    pub const fn of(&self, state: ConnectionState) -> u32 {
        self.0[state as usize]
    }

    pub const fn set(&mut self, state: ConnectionState, seconds: u32) {
        self.0[state as usize] = seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_but_none_and_cut_has_a_key() {
        let with_key = |state: ConnectionState| KEYS.iter().any(|key| key.state == state);
        let without: Vec<_> = ConnectionState::ALL
            .into_iter()
            .filter(|state| !with_key(*state))
            .collect();
        assert_eq!(
            without,
            [
                ConnectionState::None,
                ConnectionState::Cut,
                ConnectionState::SctpNone
            ]
        );
    }
}
