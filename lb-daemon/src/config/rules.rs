//! The rules that hold for a service and its reals, whoever made them: the
//! file, lbctl or the API.

use std::net::{IpAddr, Ipv6Addr};

use lb_common::{
    addr::Addr,
    limits::{MAX_REALS_PER_SERVICE, POOL_ADDRESSES},
};

use super::model::{ForwardingMethod, Protocol, Real, Service, ServiceId, Tunnel, TunnelKind};

/// Why an object cannot be as asked for. The text names the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Invalid {
    /// The key of `lbd.toml` at fault, of the service or the real.
    pub key: &'static str,
    pub problem: String,
}

fn invalid(key: &'static str, problem: impl Into<String>) -> Invalid {
    Invalid {
        key,
        problem: problem.into(),
    }
}

impl Service {
    /// Every rule about the service and each of its reals.
    pub fn validate(&self) -> Result<(), Invalid> {
        let id = self.id;
        if id.port == 0 {
            return Err(invalid(
                "port",
                format!("service {id}: port 0 needs persistence, which is not supported yet"),
            ));
        }
        check_unicast(id.address)
            .map_err(|problem| invalid("address", format!("service {id}: {problem}")))?;
        self.check_pool()?;
        let limit = MAX_REALS_PER_SERVICE as usize;
        if self.reals.len() > limit {
            return Err(invalid(
                "real",
                format!("service {id}: more than {limit} reals"),
            ));
        }
        for (i, real) in self.reals.iter().enumerate() {
            if self.reals[..i].iter().any(|other| other.id == real.id) {
                return Err(invalid(
                    "real",
                    format!("service {id}: real {} is listed twice", real.id),
                ));
            }
            real.validate(id)?;
        }
        Ok(())
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
        if self.id.protocol == Protocol::Sctp {
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
            if address.is_ipv4() != self.id.address.is_ipv4() {
                let (other, own) = (family(*address), family(self.id.address));
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
        if self.forward != ForwardingMethod::Tun && id.address.is_ipv4() != of.address.is_ipv4() {
            let (real, service) = (family(id.address), family(of.address));
            return refuse(
                "address",
                format!(
                    "a real of {real} in a service of {service}: {method} keeps the packet as it is, only tun gets \
                     it across"
                ),
            );
        }
        if id.port == 0 {
            return refuse("port", "port 0".into());
        }
        if self.forward != ForwardingMethod::Nat && id.port != of.port {
            return refuse(
                "port",
                format!(
                    "{method} cannot change the port (the service's is {}); use nat or leave the port out",
                    of.port
                ),
            );
        }
        if of.protocol == Protocol::Sctp && id.port != of.port {
            return refuse(
                "port",
                format!(
                    "nat cannot change the port of SCTP (the service's is {}); {SCTP_CHECKSUM}",
                    of.port
                ),
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

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{RealId, Scheduler, Weight};

    fn service(id: &str, forward: ForwardingMethod, reals: &[&str]) -> Service {
        let id: ServiceId = id.parse().unwrap();
        let real = |real: &&str| {
            let socket: std::net::SocketAddr = real.parse().unwrap();
            Real {
                id: RealId {
                    address: socket.ip(),
                    port: socket.port(),
                },
                weight: Weight::ONE,
                forward,
                tunnel: Tunnel::default(),
            }
        };
        Service {
            id,
            name: None,
            scheduler: Scheduler::Rr,
            forward,
            masquerade: Vec::new(),
            reals: reals.iter().map(real).collect(),
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
                id: ServiceId { address, ..of },
                ..service("tcp:192.0.2.10:80", Dr, &[])
            };
            let error = vip.validate().unwrap_err().to_string();
            assert!(error.contains(reason), "{address}: {error}");
            let mut real = service("tcp:192.0.2.10:80", Tun, &["10.0.0.2:80"]).reals[0];
            real.id.address = address;
            let error = real.validate(of).unwrap_err().to_string();
            assert!(error.contains(reason), "{address}: {error}");
        }
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
            let mut real = service("tcp:192.0.2.10:80", forward, &["10.0.0.2:80"]).reals[0];
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
