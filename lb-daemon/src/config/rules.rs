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

use super::model::{
    ForwardingMethod, IpFamily, Protocol, Real, RealId, Service, ServiceId, Tunnel, TunnelKind,
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
            None => Ok(()),
        }
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
            .or_else(|(key, problem)| refuse(key, problem.into()))
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
mod tests {
    use super::*;
    use crate::config::model::{Persistence, Scheduler, VirtualAddress};

    fn service(id: &str, forward: ForwardingMethod, reals: &[&str]) -> Service {
        let id: ServiceId = id.parse().unwrap();
        let real = |real: &&str| {
            let socket: std::net::SocketAddr = real.parse().unwrap();
            let id = RealId {
                address: socket.ip(),
                port: socket.port(),
            };
            Real::new(id, forward)
        };
        Service {
            forward,
            reals: reals.iter().map(real).collect(),
            ..Service::new(id, Scheduler::Rr)
        }
    }

    use ForwardingMethod::{Dr, Local, Nat, Tun};

    #[test]
    fn both_families_are_served_and_tun_alone_mixes_them() {
        for (id, method, real) in [
            ("tcp:192.0.2.10:80", Dr, "10.0.0.2:80"),
            ("tcp:[2001:db8::a]:80", Dr, "[2001:db8:1::2]:80"),
            ("tcp:[2001:db8::a]:80", Nat, "[fd00::2]:8080"),
            ("tcp:[2001:db8::a]:80", Tun, "10.0.0.2:80"),
            ("udp:192.0.2.10:53", Tun, "[2001:db8:1::2]:53"),
            ("sctp:192.0.2.10:2905", Nat, "10.0.0.2:2905"),
            ("tcp:192.0.2.10:80", Local, "127.0.0.1:80"),
            ("tcp:[2001:db8::a]:80", Local, "[::1]:80"),
            ("tcp:192.0.2.10:80", Local, "192.0.2.10:80"),
        ] {
            let service = service(id, method, &[real]);
            assert_eq!(service.validate(), Ok(()), "{service:?}");
        }
        for (id, method, real) in [
            ("tcp:192.0.2.10:80", Dr, "[2001:db8::2]:80"),
            ("tcp:[2001:db8::a]:80", Nat, "10.0.0.2:80"),
            ("tcp:[2001:db8::a]:80", Local, "10.0.0.2:80"),
        ] {
            let error = service(id, method, &[real]).validate().unwrap_err();
            let name = method.name();
            assert_eq!(error.key, "address");
            assert!(
                error
                    .problem
                    .contains(&format!("service {id}: real {real}: "))
                    && error.problem.contains(&format!("{name} keeps")),
                "{error}"
            );
        }
    }

    #[test]
    fn addresses_that_no_frame_gets_to_are_refused_with_the_reason() {
        for (address, reason) in [
            ("0.0.0.0", "not a unicast address"),
            ("224.0.0.1", "not a unicast address"),
            ("255.255.255.255", "not a unicast address"),
            ("127.0.0.1", "a loopback address"),
            ("::", "not a unicast address"),
            ("::1", "a loopback address"),
            ("ff02::1", "not a unicast address"),
            ("fe80::1", "a link-local address"),
            (
                "::ffff:192.0.2.1",
                "an IPv4-mapped address; write 192.0.2.1",
            ),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let of: ServiceId = "tcp:192.0.2.10:80".parse().unwrap();
            let vip = Service {
                id: ServiceId::Address(VirtualAddress {
                    protocol: Protocol::Tcp,
                    address,
                    port: 80,
                }),
                ..service("tcp:192.0.2.10:80", Dr, &[])
            };
            let error = vip.validate().unwrap_err().to_string();
            assert!(error.contains(reason), "{address}: {error}");
            let mut real = service("tcp:192.0.2.10:80", Tun, &["10.0.0.2:80"])
                .reals
                .remove(0);
            real.id.address = address;
            let error = real.validate(of).unwrap_err().to_string();
            assert!(error.contains(reason), "{address}: {error}");
        }
    }

    #[test]
    fn a_service_of_many_ports_leaves_them_to_its_reals() {
        let mut every = service("tcp:192.0.2.10:0", Dr, &["10.0.0.2:0"]);
        let error = every.validate().unwrap_err();
        assert_eq!(
            (error.key, &*error.problem),
            (
                "port",
                "service tcp:192.0.2.10:0: port 0, every port, needs persistence"
            )
        );
        every.persistence = Some(Persistence::default());
        assert_eq!(every.validate(), Ok(()));
        for (id, method, real, problem) in [
            ("fwmark:80", Dr, "10.0.0.2:0", None),
            ("fwmark6:80", Nat, "[fd00::2]:8080", None),
            ("fwmark6:80", Tun, "10.0.0.2:0", None),
            ("fwmark:80", Dr, "10.0.0.2:80", Some("the service has many")),
            (
                "fwmark6:80",
                Nat,
                "10.0.0.2:0",
                Some("IPv4 in a service of IPv6"),
            ),
            ("tcp:192.0.2.10:80", Nat, "10.0.0.2:0", Some("port 0")),
        ] {
            let error = service(id, method, &[real]).validate().err();
            match (&error, problem) {
                (None, None) => {}
                (Some(error), Some(part)) if error.problem.contains(part) => {}
                _ => panic!("{id} {real}: {error:?}"),
            }
        }
    }

    #[test]
    fn thresholds_are_in_order() {
        let thresholds = |upper_threshold, lower_threshold| {
            let real = Real {
                upper_threshold,
                lower_threshold,
                ..service("tcp:192.0.2.10:80", Dr, &["10.0.0.2:80"])
                    .reals
                    .remove(0)
            };
            real.validate("tcp:192.0.2.10:80".parse().unwrap())
        };
        for (upper, lower) in [(0, 0), (100, 0), (100, 100), (0, 50)] {
            assert_eq!(thresholds(upper, lower), Ok(()));
        }
        assert_eq!(
            thresholds(50, 51).unwrap_err().to_string(),
            "service tcp:192.0.2.10:80: real 10.0.0.2:80: lower_threshold 51 is above upper_threshold 50"
        );
    }

    #[test]
    fn one_packet_is_udps_and_its_replies_are_told_apart() {
        let one_packet = |id, method, reals: &[&str]| Service {
            one_packet: true,
            ..service(id, method, reals)
        };
        for id in ["tcp:192.0.2.10:80", "fwmark:80"] {
            let error = one_packet(id, Dr, &[]).validate().unwrap_err();
            assert_eq!(error.key, "one_packet", "{error}");
        }
        let dns = one_packet("udp:192.0.2.10:53", Nat, &["10.0.0.2:53", "10.0.0.3:53"]);
        assert_eq!(dns.validate(), Ok(()));
        let pool = Service {
            masquerade: vec![[10, 0, 0, 250].into()],
            ..dns.clone()
        };
        assert_eq!(pool.validate().unwrap_err().key, "one_packet");

        let other = |method, real| one_packet("udp:192.0.2.11:53", method, &[real]);
        let error = check_replies(&other(Nat, "10.0.0.3:53"), [&dns]).unwrap_err();
        assert_eq!(
            error.problem,
            "service udp:192.0.2.11:53: real 10.0.0.3:53: one_packet with nat, and service udp:192.0.2.10:53 has it \
             too: whose its replies are could not be told"
        );
        for fine in [other(Nat, "10.0.0.3:5353"), other(Dr, "10.0.0.3:53")] {
            assert_eq!(check_replies(&fine, [&dns]), Ok(()));
        }
        assert_eq!(check_replies(&dns, [&dns]), Ok(()));
        let stateful = service("udp:192.0.2.11:53", Nat, &["10.0.0.3:53"]);
        assert_eq!(check_replies(&stateful, [&dns]), Ok(()));
    }

    #[test]
    fn sctp_keeps_its_port() {
        let error = service("sctp:192.0.2.10:2905", Nat, &["10.0.0.2:2906"])
            .validate()
            .unwrap_err();
        assert_eq!(error.key, "port");
        assert!(error.problem.contains("CRC32c"), "{error}");
        let mut service = service("sctp:192.0.2.10:2905", Nat, &[]);
        service.masquerade = vec![[10, 0, 0, 250].into()];
        let error = service.validate().unwrap_err();
        assert_eq!(error.key, "masquerade");
        assert!(error.problem.contains("CRC32c"), "{error}");
    }

    #[test]
    fn a_pool_is_of_the_services_family_and_of_use() {
        let pool = |addresses: &[&str], forward| {
            let mut service = service("tcp:192.0.2.10:80", forward, &["10.0.0.2:80"]);
            service.masquerade = addresses.iter().map(|text| text.parse().unwrap()).collect();
            service
        };
        let good = pool(&["10.0.0.250", "10.0.0.251"], Nat);
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(good.check_pool_is_used(), Ok(()));
        for (addresses, part) in [
            (vec!["10.0.0.1"; 9], "more than 8"),
            (
                vec!["10.0.0.250", "10.0.0.250"],
                "10.0.0.250 is listed twice",
            ),
            (
                vec!["2001:db8::1"],
                "2001:db8::1: IPv6 in a service of IPv4",
            ),
            (vec!["224.0.0.1"], "224.0.0.1: not a unicast address"),
        ] {
            let error = pool(&addresses, Nat).validate().unwrap_err();
            assert!(error.problem.contains(part), "{error}");
        }
        let error = pool(&["10.0.0.250"], Dr).check_pool_is_used().unwrap_err();
        assert!(error.problem.contains("only nat can masquerade"), "{error}");
    }

    #[test]
    fn tunnels_have_what_their_kind_has() {
        let of: ServiceId = "tcp:192.0.2.10:80".parse().unwrap();
        let real = |forward, kind, port, checksum| {
            let mut real = service("tcp:192.0.2.10:80", forward, &["10.0.0.2:80"])
                .reals
                .remove(0);
            real.tunnel = Tunnel {
                kind,
                port,
                checksum,
            };
            real.validate(of).map_err(|error| error.key)
        };
        use TunnelKind::{Gre, Gue, Ipip};
        assert_eq!(real(Tun, Gue, 7000, true), Ok(()));
        assert_eq!(real(Tun, Gre, 6080, true), Ok(()));
        assert_eq!(real(Tun, Gre, 7000, false), Err("tunnel.port"));
        assert_eq!(real(Tun, Ipip, 6080, true), Err("tunnel.checksum"));
        assert_eq!(real(Tun, Gue, 0, false), Err("tunnel.port"));
        assert_eq!(real(Dr, Gre, 6080, false), Err("tunnel"));
    }
}
