//! Which connections are asked for; the service and the real are the
//! [`super::Roster`]'s, as slots.

use std::net::IpAddr;

use lb_common::{addr::Addr, connection_state::ConnectionState, prefix};

use super::cursor::Table;
use crate::config::vocabulary::unknown;

/// What a connection must be like; `None`: anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this network.
    pub client: Option<(IpAddr, u8)>,
    /// In a state of this name.
    pub state: Option<&'static str>,
}

/// What persistent clients have in place of a state.
pub(super) const NO_STATE: &str = ConnectionState::None.name();

/// The name of a state, however it is spelt.
pub fn state_name(word: &str) -> Result<&'static str, String> {
    let mut names: Vec<_> = ConnectionState::ALL.iter().map(|s| s.name()).collect();
    names.sort_unstable();
    names.dedup();
    let found = names.iter().find(|name| name.eq_ignore_ascii_case(word));
    found
        .copied()
        .ok_or_else(|| unknown("state", &word.to_ascii_uppercase(), &names))
}

impl Filter {
    /// Whether anything in a table can pass.
    pub(super) fn reads(&self, table: Table) -> bool {
        match table {
            Table::V4 => self.client.is_none_or(|(client, _)| client.is_ipv4()),
            Table::V6 => self.client.is_none_or(|(client, _)| client.is_ipv6()),
            Table::Templates => self.has_state(NO_STATE),
        }
    }

    pub(super) fn has_state(&self, name: &str) -> bool {
        self.state.is_none_or(|state| state == name)
    }

    /// Whether it asks for any of the clients in a network.
    pub(super) fn has_client(&self, network: Addr, length: u8) -> bool {
        let Some((wanted, wanted_length)) = self.client else {
            return true;
        };
        let is_v4 = network.is_v4();
        let shorter = length.min(wanted_length);
        let start = |address| prefix::network(address, shorter, is_v4);
        wanted.is_ipv4() == is_v4 && start(network) == start(Addr::from(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(client: &str, length: u8) -> Filter {
        Filter {
            client: Some((client.parse().unwrap(), length)),
            state: None,
        }
    }

    #[test]
    fn clients_are_in_networks() {
        let has = |filter: Filter, network: &str, length| {
            filter.has_client(network.parse::<IpAddr>().unwrap().into(), length)
        };
        let filter_24 = filter("198.51.100.0", 24);
        assert!(has(filter_24, "198.51.100.7", 32) && !has(filter_24, "198.51.101.7", 32));
        assert!(!has(filter_24, "2001:db8::1", 128));
        // The persistence of a whole network is this client's, too.
        let one = filter("198.51.100.7", 32);
        assert!(has(one, "198.51.0.0", 16) && !has(one, "198.52.0.0", 16));
        let v6 = filter("2001:db8::", 32);
        assert!(has(v6, "2001:db8::1", 128) && !has(v6, "2001:db9::1", 128));
        assert!(has(Filter::default(), "2001:db8::1", 128));
    }

    #[test]
    fn tables_that_cannot_have_it_are_not_read() {
        use Table::{Templates, V4, V6};
        let reads = |filter: Filter| [V4, V6, Templates].map(|table| filter.reads(table));
        assert_eq!(reads(Filter::default()), [true; 3]);
        assert_eq!(reads(filter("192.0.2.1", 32)), [true, false, true]);
        let established = Filter {
            state: Some("ESTABLISHED"),
            client: None,
        };
        assert_eq!(reads(established), [true, true, false]);
    }

    #[test]
    fn states_have_names() {
        assert_eq!(state_name("ESTABLISHED"), Ok("ESTABLISHED"));
        assert_eq!(state_name("c-wait"), Ok("C-WAIT"));
        assert_eq!(
            state_name("establishd").unwrap_err(),
            "unknown state \"ESTABLISHD\"; did you mean ESTABLISHED?"
        );
    }
}
