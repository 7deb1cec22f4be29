//! What a table's entry looks like in the list.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use lb_common::{
    connection::{Connection, ForwardingMethod, direction, mark},
    flow::{Endpoint, FlowKey},
    persistence::{Template, TemplateKey},
};

use super::{
    Roster,
    filter::{Filter, NO_STATE},
    page::Kind,
};
use crate::{
    api::wire,
    config::model::{Protocol, ServiceId},
    dataplane::buckets::Buckets,
};

/// Of a mark's persistent clients, who may come by any protocol.
const ANY_PROTOCOL: &str = "ip";

/// The rows of a connection table.
pub(super) struct Connections<'a, K> {
    table: &'a dyn Buckets<K, Connection>,
    roster: &'a Roster,
    filter: &'a Filter,
    now_ns: u64,
}

impl<'a, K> Connections<'a, K> {
    pub fn new(
        table: &'a dyn Buckets<K, Connection>,
        roster: &'a Roster,
        filter: &'a Filter,
        now_ns: u64,
    ) -> Self {
        Self {
            table,
            roster,
            filter,
            now_ns,
        }
    }
}

impl<K: FlowKey> Connections<'_, K> {
    /// What comes back from the real, under nat.
    fn reverse(&self, key: &K, entry: &Connection) -> io::Result<Option<Connection>> {
        if entry.method != ForwardingMethod::Nat as u8 {
            return Ok(None);
        }
        let partner = self.table.get(&entry.partner_key(key.protocol()))?;
        Ok(Some(
            partner
                .filter(|partner| partner.direction == direction::REVERSE)
                .unwrap_or_default(),
        ))
    }
}

impl<K: FlowKey> Kind<K, Connection> for Connections<'_, K> {
    fn is_listed(&self, key: &K, entry: &Connection) -> bool {
        let client = key.source().address;
        let whole = if client.is_v4() { 32 } else { 128 };
        entry.direction == direction::FORWARD
            && !mark::is_gone(entry.state)
            && is_chosen(self.roster, entry.real)
            && self.filter.has_state(entry.state().name())
            && self.filter.has_client(client, whole)
    }

    fn row(&self, key: &K, entry: &Connection) -> io::Result<wire::Connection> {
        let reverse = self.reverse(key, entry)?;
        let timeout_s = self.roster.timeouts.of(entry.state());
        let last_seen_ns = reverse.map_or(0, |reverse| reverse.last_seen_ns);
        let last_seen_ns = last_seen_ns.max(entry.last_seen_ns);
        // Of a tunnel the port is the outer header's: the packet's own stays.
        let real = match reverse {
            Some(_) => entry.new_destination(),
            None => Endpoint {
                address: entry.new_destination,
                port: key.destination().port,
            },
        };
        let protocol = Protocol::from_number(key.protocol());
        Ok(wire::Connection {
            protocol: protocol.map_or(ANY_PROTOCOL, Protocol::name).into(),
            client: socket(key.source()).to_string(),
            virtual_end: socket(key.destination()).to_string(),
            real: socket(real).to_string(),
            forward: forward(ForwardingMethod::from_number(entry.method)),
            state: entry.state().name().into(),
            expires_s: expires_s(timeout_s, last_seen_ns, self.now_ns),
            in_packets: entry.packets.into(),
            in_bytes: entry.bytes,
            out_packets: reverse.map(|reverse| reverse.packets.into()),
            out_bytes: reverse.map(|reverse| reverse.bytes),
        })
    }

    fn number(key: &K) -> u64 {
        key.tag()
    }
}

/// The rows of the persistence templates.
pub(super) struct Templates<'a> {
    roster: &'a Roster,
    filter: &'a Filter,
    now_ns: u64,
}

impl<'a> Templates<'a> {
    pub const fn new(roster: &'a Roster, filter: &'a Filter, now_ns: u64) -> Self {
        Self {
            roster,
            filter,
            now_ns,
        }
    }
}

impl Kind<TemplateKey, Template> for Templates<'_> {
    /// One of a service or a real that is not known leads nowhere any more.
    fn is_listed(&self, key: &TemplateKey, template: &Template) -> bool {
        template.connections != lb_common::persistence::Hold::CLAIMED
            && self.roster.services.contains_key(&key.service)
            && self.roster.reals.contains_key(&template.real)
            && is_chosen(self.roster, template.real)
            && self.filter.has_client(key.client, key.prefix)
    }

    fn row(&self, key: &TemplateKey, template: &Template) -> io::Result<wire::Connection> {
        let (service, (real, method)) = (
            self.roster.services[&key.service],
            self.roster.reals[&template.real],
        );
        let virtual_end = match service {
            ServiceId::Address(at) => SocketAddr::new(at.address, at.port).to_string(),
            ServiceId::Mark(_) => service.to_string(),
        };
        Ok(wire::Connection {
            protocol: service
                .protocol()
                .map_or(ANY_PROTOCOL, Protocol::name)
                .into(),
            client: SocketAddr::new(key.client.into(), 0).to_string(),
            virtual_end,
            real: real.to_string(),
            forward: forward(Some(method)),
            state: NO_STATE.into(),
            expires_s: expires_s(template.timeout_s, template.last_seen_ns, self.now_ns),
            in_packets: 0,
            in_bytes: 0,
            out_packets: None,
            out_bytes: None,
        })
    }

    fn number(key: &TemplateKey) -> u64 {
        key.hash() ^ u64::from(key.service)
    }
}

fn is_chosen(roster: &Roster, real: u32) -> bool {
    let chosen = roster.chosen.as_ref();
    chosen.is_none_or(|chosen| chosen.contains(real))
}

fn forward(method: Option<ForwardingMethod>) -> String {
    method.map_or("", ForwardingMethod::name).into()
}

fn socket(end: Endpoint) -> SocketAddr {
    SocketAddr::new(IpAddr::from(end.address), end.port.get())
}

/// What is left of a timeout, rounded up.
fn expires_s(timeout_s: u32, last_seen_ns: u64, now_ns: u64) -> u64 {
    const SECOND_NS: u64 = 1_000_000_000;
    let idle_ns = now_ns.saturating_sub(last_seen_ns);
    let left_ns = (u64::from(timeout_s) * SECOND_NS).saturating_sub(idle_ns);
    left_ns.div_ceil(SECOND_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_up() {
        let left = |idle_ns| expires_s(60, 5, 5 + idle_ns);
        assert_eq!((left(0), left(1)), (60, 60));
        assert_eq!((left(1_000_000_000), left(59_000_000_001)), (59, 1));
        assert_eq!((left(60_000_000_000), left(u64::MAX - 5)), (0, 0));
        // A packet came while we read the clock.
        assert_eq!(expires_s(60, 10, 5), 60);
    }
}
