//! The replay on the host: picks from [`Host`], states by the programs' own
//! table, persistence and reuse as semantics.md has them.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use lb_common::{
    connection_state::ConnectionState,
    transition::{self, Half},
    wire::protocol,
};
use lb_daemon::{
    config::model::{MarkRule, RealId, Service},
    simulate::Host,
};

use super::{Flow, Plane, States};
use crate::packet::{FIN, RST, SYN};

/// What there is of one connection.
struct Connection {
    real: RealId,
    state: u32,
}

pub struct Plain {
    host: Host,
    connections: BTreeMap<(Ipv4Addr, u16), Connection>,
    /// By the client's network of 24 bits, where the service is persistent.
    templates: BTreeMap<[u8; 3], RealId>,
    is_persistent: bool,
}

impl Plain {
    pub fn new() -> Self {
        Self {
            host: Host::new(1, Duration::from_hours(24)),
            connections: BTreeMap::new(),
            templates: BTreeMap::new(),
            is_persistent: false,
        }
    }

    fn move_state(&mut self, flow: &Flow, flags: u8) {
        let Some(connection) = self.connections.get_mut(&(flow.src, flow.sport)) else {
            return;
        };
        let table = transition::table(protocol::TCP, Half::ClientOnly, false);
        let state = transition::next_number(table, flags, connection.state);
        let change = count(state, 1);
        let undo = count(connection.state, -1);
        connection.state = state;
        let real = connection.real;
        self.host.count(real, change.0 + undo.0, change.1 + undo.1);
    }
}

/// What a connection in a state adds to the active and inactive ones.
fn count(state: u32, number: i32) -> (i32, i32) {
    match ConnectionState::from_number(state).is_active() {
        true => (number, 0),
        false => (0, number),
    }
}

impl Plane for Plain {
    fn serve(&mut self, service: &Service, _: &[MarkRule]) {
        self.change(service);
    }

    fn change(&mut self, service: &Service) {
        self.is_persistent = service.persistence.is_some();
        self.host.set_service(service).unwrap();
    }

    fn syn(&mut self, flow: &Flow) -> Option<Ipv4Addr> {
        let key = (flow.src, flow.sport);
        if let Some(old) = self.connections.get(&key) {
            let is_over = [ConnectionState::TimeWait, ConnectionState::Close]
                .contains(&ConnectionState::from_number(old.state));
            if !is_over || self.is_persistent {
                let real = old.real;
                self.move_state(flow, SYN);
                return v4(real);
            }
            let undo = count(old.state, -1);
            self.host.count(old.real, undo.0, undo.1);
            self.connections.remove(&key);
        }
        let [a, b, c, _] = flow.src.octets();
        let known = self.templates.get(&[a, b, c]).copied();
        let client = (flow.src, flow.sport).into();
        let real = known.or_else(|| self.host.pick(client, flow.dst.into()))?;
        if self.is_persistent {
            self.templates.insert([a, b, c], real);
        }
        let state = ConnectionState::SynRecv as u32;
        self.connections.insert(key, Connection { real, state });
        let (active, inactive) = count(state, 1);
        self.host.count(real, active, inactive);
        v4(real)
    }

    fn segment(&mut self, flow: &Flow, flags: u8) {
        debug_assert!(flags & SYN == 0 || flags & (FIN | RST) == 0);
        self.move_state(flow, flags);
    }

    fn counts(&mut self, _: &Service, real: RealId) -> (u32, u32) {
        self.host.counts(real)
    }

    fn states(&mut self) -> States {
        let row = |(key, connection): (&(Ipv4Addr, u16), &Connection)| {
            let state = ConnectionState::from_number(connection.state);
            ((key.0.into(), key.1), state.name().to_owned())
        };
        self.connections.iter().map(row).collect()
    }
}

fn v4(real: RealId) -> Option<Ipv4Addr> {
    match real.address {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(_) => None,
    }
}
