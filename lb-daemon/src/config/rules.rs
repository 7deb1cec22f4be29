//! The rules that hold for a service and its reals, whoever made them: the
//! file, lbctl or the API.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use lb_common::{
    addr::Addr,
    limits::{MAX_REALS_PER_SERVICE, POOL_ADDRESSES},
};

use super::{
    health::Check,
    model::{
        ForwardingMethod, IpFamily, Protocol, Real, RealId, Service, ServiceId, Tunnel, TunnelKind,
    },
    via,
};

/// Why an object cannot be as asked for. The text names the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Invalid {
    /// The key of `lbd.toml` at fault, of the service or the real.
    pub key: &'static str,
    pub problem: String,
}

pub(super) fn invalid(key: &'static str, problem: impl Into<String>) -> Invalid {
    Invalid {
        key,
        problem: problem.into(),
    }
}

impl Service {
    /// Every rule about the service and each of its reals.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.check_settings()?;
        self.check_reals()?;
        self.reals
            .iter()
            .try_for_each(|real| real.validate(self.id))
    }

    /// The rules about the service itself; of its reals, their number alone
    /// matters.
    pub(super) fn check_settings(&self) -> Result<(), Invalid> {
        let id = self.id;
        if id.port() == Some(0) && self.persistence.is_none() {
            return Err(invalid(
                "port",
                format!("service {id}: port 0, every port, needs persistence"),
            ));
        }
        if let Some(address) = id.address() {
            check_unicast(address)
                .map_err(|problem| invalid("address", format!("service {id}: {problem}")))?;
        }
        self.check_scheduling()?;
        self.check_one_packet()?;
        self.check_pool()?;
        self.health.validate(id)
    }

    /// The rules about its reals together.
    pub(super) fn check_reals(&self) -> Result<(), Invalid> {
        let id = self.id;
        let limit = MAX_REALS_PER_SERVICE as usize;
        if self.reals.len() > limit {
            return Err(invalid(
                "real",
                format!("service {id}: more than {limit} reals"),
            ));
        }
        let mut reals: Vec<_> = self.reals.iter().map(|real| real.id).collect();
        reals.sort_unstable();
        match reals.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(invalid(
                "real",
                format!("service {id}: real {} is listed twice", pair[0]),
            )),
            None if reals.iter().any(|real| self.is_sorry_server(*real)) => Err(invalid(
                "sorry_server",
                format!("service {id}: the sorry server is one of its reals"),
            )),
            None => self
                .check_inherited_checks()
                .and_then(|()| via::check(self)),
        }
    }

    fn is_sorry_server(&self, real: RealId) -> bool {
        self.health
            .sorry_server
            .is_some_and(|sorry| sorry.id == real)
    }

    /// The service's checks can ask each real that has none of its own.
    fn check_inherited_checks(&self) -> Result<(), Invalid> {
        let checks = &self.health.checks;
        let inherits = |real: &&Real| real.own_checks().is_none();
        self.reals
            .iter()
            .filter(inherits)
            .try_for_each(|real| real.check_ports(self.id, checks))
    }

    /// A pool that nothing would use is a mistake. Asked where somebody sets
    /// one: the last real under nat may be deleted all the same.
    pub fn check_pool_is_used(&self) -> Result<(), Invalid> {
        let nat = ForwardingMethod::Nat;
        let is_used = self.forward == nat || self.reals.iter().any(|real| real.forward == nat);
        if self.masquerade.is_empty() || is_used {
            return Ok(());
        }
        let problem = format!(
            "service {}: only nat can masquerade, and neither the service (forward = \"{}\") nor a real of it \
             is forwarded to by nat",
            self.id,
            self.forward.name()
        );
        Err(invalid("masquerade", problem))
    }

    fn check_one_packet(&self) -> Result<(), Invalid> {
        let id = self.id;
        if !self.one_packet {
            return Ok(());
        }
        if id.protocol() != Some(Protocol::Udp) {
            let problem = format!("service {id}: one_packet is for services of udp");
            return Err(invalid("one_packet", problem));
        }
        if !self.masquerade.is_empty() {
            let problem = format!(
                "service {id}: one_packet keeps no entry that would tell whose client a masqueraded reply is for"
            );
            return Err(invalid("one_packet", problem));
        }
        Ok(())
    }

    fn check_pool(&self) -> Result<(), Invalid> {
        let pool = &self.masquerade;
        let refuse = |problem: String| {
            Err(invalid(
                "masquerade",
                format!("service {}: {problem}", self.id),
            ))
        };
        if pool.is_empty() {
            return Ok(());
        }
        if self.id.protocol() == Some(Protocol::Sctp) {
            return refuse(format!("masquerade translates the port; {SCTP_CHECKSUM}"));
        }
        if pool.len() > POOL_ADDRESSES {
            return refuse(format!(
                "more than {POOL_ADDRESSES} addresses to masquerade as"
            ));
        }
        for (i, address) in pool.iter().enumerate() {
            if let Err(problem) = check_unicast(*address) {
                return refuse(format!("masquerade: {address}: {problem}"));
            }
            if IpFamily::of(*address) != self.id.family() {
                let (other, own) = (IpFamily::of(*address).name(), self.id.family().name());
                return refuse(format!(
                    "masquerade: {address}: {other} in a service of {own}"
                ));
            }
            if pool[..i].contains(address) {
                return refuse(format!("masquerade: {address} is listed twice"));
            }
        }
        Ok(())
    }
}

impl Real {
    /// The rules that hold for one real of the service `of`.
    pub fn validate(&self, of: ServiceId) -> Result<(), Invalid> {
        let id = self.id;
        let refuse =
            |key, problem: String| Err(invalid(key, format!("service {of}: real {id}: {problem}")));
        let method = self.forward.name();
        let is_local = self.forward == ForwardingMethod::Local && id.address.is_loopback();
        if !is_local && let Err(problem) = check_unicast(id.address) {
            return refuse("address", problem);
        }
        if self.forward != ForwardingMethod::Tun && IpFamily::of(id.address) != of.family() {
            let (real, service) = (IpFamily::of(id.address).name(), of.family().name());
            return refuse(
                "address",
                format!(
                    "a real of {real} in a service of {service}: {method} keeps the packet as it is, only tun gets \
                     it across"
                ),
            );
        }
        let own_port = of.default_real_port();
        if id.port == 0 && own_port != 0 {
            return refuse("port", "port 0".into());
        }
        if self.forward != ForwardingMethod::Nat && id.port != own_port {
            let has = service_port(of);
            return refuse(
                "port",
                format!("{method} cannot change the port ({has}); use nat or leave the port out"),
            );
        }
        if of.protocol() == Some(Protocol::Sctp) && id.port != own_port {
            let has = service_port(of);
            return refuse(
                "port",
                format!("nat cannot change the port of SCTP ({has}); {SCTP_CHECKSUM}"),
            );
        }
        let (upper, lower) = (self.upper_threshold, self.lower_threshold);
        if upper > 0 && lower > upper {
            return refuse(
                "lower_threshold",
                format!("lower_threshold {lower} is above upper_threshold {upper}"),
            );
        }
        self.check_tunnel()
            .or_else(|(key, problem)| refuse(key, problem.into()))?;
        self.check_ports(of, self.own_checks().unwrap_or_default())
    }

    /// None: it has the service's.
    #[must_use]
    pub fn own_checks(&self) -> Option<&[Check]> {
        self.health.as_deref()?.checks.as_deref()
    }

    fn check_ports(&self, of: ServiceId, checks: &[Check]) -> Result<(), Invalid> {
        let id = self.id;
        let mut problems = checks.iter().filter_map(|check| check.port_problem(id));
        problems.next().map_or(Ok(()), |problem| {
            let problem = format!("service {of}: real {id}: {problem}");
            Err(invalid("health", problem))
        })
    }

    fn check_tunnel(&self) -> Result<(), (&'static str, &'static str)> {
        let Tunnel {
            kind,
            port,
            checksum,
        } = self.tunnel;
        if self.forward != ForwardingMethod::Tun && self.tunnel != Tunnel::default() {
            return Err(("tunnel", "only tun has tunnels"));
        }
        if port == 0 {
            return Err(("tunnel.port", "tunnel port 0"));
        }
        if kind != TunnelKind::Gue && port != Tunnel::DEFAULT_PORT {
            return Err(("tunnel.port", "only a gue tunnel has a port"));
        }
        if kind == TunnelKind::Ipip && checksum {
            return Err((
                "tunnel.checksum",
                "an ipip tunnel has no checksum; gue and gre may have one",
            ));
        }
        Ok(())
    }
}

/// Refuses a service whose replies could be taken for those of one of `others`.
pub fn check_replies<'a>(
    service: &Service,
    others: impl IntoIterator<Item = &'a Service>,
) -> Result<(), Invalid> {
    if !service.one_packet {
        return Ok(());
    }
    let mut replies = Replies::default();
    for other in others.into_iter().filter(|other| other.id != service.id) {
        replies.note(other);
    }
    replies.check(service)
}

/// Where replies come from that have no entries: only the real's address and
/// port tell which service's they are.
#[derive(Debug, Default)]
pub struct Replies(HashMap<IpAddr, Vec<(u16, ServiceId)>>);

impl Replies {
    /// Takes a service's replies in, unless they could be taken for those of
    /// another that is in.
    pub fn add(&mut self, service: &Service) -> Result<(), Invalid> {
        self.check(service)?;
        self.note(service);
        Ok(())
    }

    fn note(&mut self, service: &Service) {
        for real in Self::sources(service) {
            let of_address = self.0.entry(real.address).or_default();
            of_address.push((real.port, service.id));
        }
    }

    fn check(&self, service: &Service) -> Result<(), Invalid> {
        for own in Self::sources(service) {
            let others = self.0.get(&own.address).into_iter().flatten();
            let is_same = |port: u16| own.port == 0 || port == 0 || own.port == port;
            if let Some((_, other)) = others.into_iter().find(|(port, _)| is_same(*port)) {
                let problem = format!(
                    "service {}: real {own}: one_packet with nat, and service {other} has it too: whose \
                     its replies are could not be told",
                    service.id
                );
                return Err(invalid("one_packet", problem));
            }
        }
        Ok(())
    }

    fn sources(service: &Service) -> impl Iterator<Item = RealId> + '_ {
        let reals = service.reals.iter().filter(|_| service.one_packet);
        let nat = reals.filter(|real| real.forward == ForwardingMethod::Nat);
        nat.map(|real| real.id)
    }
}

/// Why the port of SCTP stays (RFC 9260 section 6.8).
const SCTP_CHECKSUM: &str =
    "SCTP's CRC32c covers the whole packet and would have to be computed anew";

/// What frames can be sent to and come from, without a word on which link.
fn check_unicast(address: IpAddr) -> Result<(), String> {
    if let IpAddr::V6(v6) = address {
        if let Some(v4) = v6.to_ipv4_mapped() {
            return Err(format!("an IPv4-mapped address; write {v4}"));
        }
        if is_link_local(v6) {
            return Err("a link-local address, which means another host on each link".into());
        }
    }
    if address.is_loopback() {
        return Err("a loopback address, which no other host can use".into());
    }
    if Addr::from(address).is_unicast() {
        Ok(())
    } else {
        Err("not a unicast address".into())
    }
}

/// `fe80::/10` (RFC 4291 section 2.5.6).
fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

fn service_port(id: ServiceId) -> String {
    match id.default_real_port() {
        0 => "the service has many".into(),
        port => format!("the service's is {port}"),
    }
}

#[cfg(test)]
mod tests;
