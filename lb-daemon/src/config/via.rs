//! Where the packets of a check go that has `via = "service"`, by the real's
//! forwarding method.

use std::net::IpAddr;

use super::{
    health::{Check, Via},
    model::{ForwardingMethod, IpFamily, Real, Service, ServiceId, Tunnel},
    rules::{Invalid, invalid},
};

/// The way to a real by its service's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the real's own address: nat leads clients there too.
    Real,
    /// To the VIP, on the director itself.
    Local(IpAddr),
    /// To the VIP through the real; under tun in its tunnel.
    Through { vip: IpAddr, tunnel: Option<Tunnel> },
}

impl Way {
    /// That of a check; where there is none, which a valid configuration has not, to the
    /// real's own address.
    #[must_use]
    pub fn of_check(service: ServiceId, real: &Real, check: &Check) -> Self {
        match check.via {
            Via::Real => Self::Real,
            Via::Service => Self::of(service, real).unwrap_or(Self::Real),
        }
    }

    /// # Errors
    /// Where there is none: a firewall mark has no address, and a probe has that of
    /// the real's family.
    pub fn of(service: ServiceId, real: &Real) -> Result<Self, Invalid> {
        let refuse = |problem: &str| {
            let problem = format!(
                "service {service}: real {}: health.via = \"service\": {problem}; use via = \"real\"",
                real.id
            );
            Err(invalid("health.via", problem))
        };
        let tunnel = match real.forward {
            ForwardingMethod::Nat => return Ok(Self::Real),
            ForwardingMethod::Dr | ForwardingMethod::Local => None,
            ForwardingMethod::Tun => Some(real.tunnel),
        };
        let Some(vip) = service.address() else {
            return refuse("a firewall mark has no address to ask for");
        };
        if real.forward == ForwardingMethod::Local {
            return Ok(Self::Local(vip));
        }
        let (inner, outer) = (IpFamily::of(vip), IpFamily::of(real.id.address));
        if inner != outer {
            return refuse(&format!(
                "no probe of {} goes through a tunnel over {}",
                inner.name(),
                outer.name()
            ));
        }
        Ok(Self::Through { vip, tunnel })
    }
}

/// Refuses a service with a check that has no way to its real.
pub(super) fn check(service: &Service) -> Result<(), Invalid> {
    service.reals.iter().try_for_each(|real| {
        let checks = real.own_checks().unwrap_or(&service.health.checks);
        if checks.iter().any(|check| check.via == Via::Service) {
            Way::of(service.id, real)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{
        health::{Check, Health, Probe, RealHealth},
        model::{RealId, Scheduler},
    };
    use ForwardingMethod::{Dr, Local, Nat, Tun};

    fn service(id: &str, forward: ForwardingMethod, address: &str) -> Service {
        let id: ServiceId = id.parse().unwrap();
        let port = match forward {
            Nat => 8080,
            _ => id.default_real_port(),
        };
        let address = address.parse().unwrap();
        let check = Check {
            via: Via::Service,
            port: Some(80),
            ..Check::new(Probe::Tcp)
        };
        Service {
            reals: vec![Real::new(RealId { address, port }, forward)],
            health: Arc::new(Health {
                checks: vec![check],
                ..Health::default()
            }),
            ..Service::new(id, Scheduler::Rr)
        }
    }

    #[test]
    fn the_way_is_the_clients() {
        let vip: IpAddr = "192.0.2.10".parse().unwrap();
        let through = |tunnel| Way::Through { vip, tunnel };
        for (forward, way) in [
            (Dr, through(None)),
            (Nat, Way::Real),
            (Tun, through(Some(Tunnel::default()))),
            (Local, Way::Local(vip)),
        ] {
            let service = service("tcp:192.0.2.10:80", forward, "10.0.0.2");
            assert_eq!(Way::of(service.id, &service.reals[0]), Ok(way));
            assert_eq!(service.validate(), Ok(()));
        }
    }

    #[test]
    fn what_has_no_way_is_refused_by_name() {
        for (id, forward, address, reason) in [
            (
                "tcp:192.0.2.10:80",
                Tun,
                "2001:db8::2",
                "service tcp:192.0.2.10:80: real [2001:db8::2]:80: health.via = \"service\": \
                 no probe of IPv4 goes through a tunnel over IPv6; use via = \"real\"",
            ),
            (
                "tcp:[2001:db8::a]:80",
                Tun,
                "10.0.0.2",
                "service tcp:[2001:db8::a]:80: real 10.0.0.2:80: health.via = \"service\": \
                 no probe of IPv6 goes through a tunnel over IPv4; use via = \"real\"",
            ),
            (
                "fwmark:7",
                Dr,
                "10.0.0.2",
                "service fwmark:7: real 10.0.0.2:0: health.via = \"service\": \
                 a firewall mark has no address to ask for; use via = \"real\"",
            ),
        ] {
            let mut service = service(id, forward, address);
            let error = service.validate().unwrap_err();
            assert_eq!((error.key, &*error.problem), ("health.via", reason));
            // Its own checks, of which it has none, stand in place of the service's.
            service.reals[0].health = RealHealth {
                checks: Some(Vec::new()),
                ..RealHealth::default()
            }
            .shared();
            assert_eq!(service.validate(), Ok(()));
        }
    }
}
