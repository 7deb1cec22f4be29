//! What the operator should know though nothing has failed: settings of the
//! host that keep packets from their way. Each is said once for as long as it
//! holds, and shown by `lbctl status`.

use std::{net::IpAddr, time::Instant};

use tracing::{debug, warn};

use super::{
    desired::{RealEntry, ServiceEntry},
    director::Director,
};
use crate::{
    config::model::ForwardingMethod,
    net::{
        forwarding::{self, Family},
        ownership,
    },
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn forwarding_warning(family: Family) -> String {
    let setting = family.setting();
    format!("{setting} is off: services with nat get no answers back to their clients")
}

impl Director {
    /// All of them.
    pub(super) fn all_warnings(&self) -> Vec<String> {
        let lasting = self.warnings.iter().chain(&self.foreign).cloned();
        let findings = self.interfaces.findings.iter().map(ToString::to_string);
        let rollback = self.rollback.iter().map(|rollback| {
            let left = rollback.at.saturating_duration_since(Instant::now());
            format!(
                "an applied configuration is undone in {} s unless it is confirmed (lbctl confirm)",
                left.as_secs()
            )
        });
        let metrics = self.metrics_problem.borrow().clone();
        let passing = findings
            .chain(self.addresses.warnings())
            .chain(rollback)
            .chain(metrics);
        lasting
            .chain(passing)
            .chain(self.health.warnings())
            .collect()
    }

    /// nat needs the kernel's forwarding for the way back; dr and tun do not.
    pub(super) fn warn_of_forwarding(&mut self) {
        for family in FAMILIES {
            let is_nat = |entry: &RealEntry| {
                entry.real.forward == ForwardingMethod::Nat
                    && entry.real.id.address.is_ipv4() == (family == Family::V4)
            };
            let mut reals = self.desired.services.iter().flat_map(|s| &s.reals);
            let has_nat = reals.any(is_nat);
            let interfaces = self.config.director.interfaces.iter();
            let is_off = || {
                let enabled = forwarding::is_enabled(family, interfaces.map(String::as_str));
                matches!(enabled, Ok(false))
            };
            self.set_warning(forwarding_warning(family), has_nat && is_off());
        }
    }

    /// Warns once for as long as something holds.
    fn set_warning(&mut self, warning: String, holds: bool) {
        let position = self.warnings.iter().position(|said| *said == warning);
        match (holds, position) {
            (true, None) => {
                warn!("{warning}");
                self.warnings.push(warning);
            }
            (false, Some(position)) => drop(self.warnings.remove(position)),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Whether a warning is about forwarding: [`Self::warn_of_forwarding`]
    /// takes it back.
    pub(super) fn is_about_forwarding(warning: &str) -> bool {
        FAMILIES
            .iter()
            .any(|family| warning == forwarding_warning(*family))
    }

    /// Addresses that packets come to this host for, and that it does not
    /// have.
    pub(super) async fn warn_of_foreign(&mut self) {
        let claims: Vec<_> = self.desired.services.iter().flat_map(claims).collect();
        let addresses = claims.iter().map(|(address, _)| *address).collect();
        let foreign = match ownership::foreign(addresses).await {
            Ok(foreign) => foreign,
            Err(error) => {
                debug!(%error, "which addresses are this host's is not known");
                return;
            }
        };
        let warnings: Vec<String> = claims
            .into_iter()
            .filter(|(address, _)| foreign.contains(address))
            .map(|(_, warning)| warning)
            .collect();
        for warning in warnings.iter().filter(|w| !self.foreign.contains(w)) {
            warn!("{warning}");
        }
        self.foreign = warnings;
    }

    /// Looks again whether what was missing is there.
    pub(super) async fn withdraw_foreign(&mut self) {
        if !self.foreign.is_empty() {
            self.warn_of_foreign().await;
        }
    }
}

/// The addresses that a service needs this host to have, with what to say
/// where it does not.
fn claims(service: &ServiceEntry) -> Vec<(IpAddr, String)> {
    let id = service.id;
    let mut claims: Vec<_> = service
        .masquerade
        .iter()
        .map(|address| {
            let warning = format!(
                "service {id}: masquerade {address} is not an address of this host: the reals' answers to it find \
                 their way here only if the network routes it so"
            );
            (*address, warning)
        })
        .collect();
    let local = ForwardingMethod::Local;
    let mut reals = service.reals.iter();
    let local_real = reals.find(|entry| entry.real.forward == local);
    if let (Some(vip), Some(entry)) = (id.address(), local_real) {
        let real = entry.real.id;
        let warning = format!(
            "service {id}: real {real} is this host (forward = \"local\"), and {vip} is not an address of it: its \
             stack does not take the packets"
        );
        claims.push((vip, warning));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::model::{Real, RealId, Scheduler, Service},
        state::desired::Desired,
    };

    #[test]
    fn what_this_host_should_have_is_named_with_its_service() {
        let real = |host, forward| {
            let id = RealId {
                address: [10, 0, 0, host].into(),
                port: 80,
            };
            Real::new(id, forward)
        };
        let id = "tcp:192.0.2.10:80".parse().unwrap();
        let mut service = Service {
            forward: ForwardingMethod::Nat,
            masquerade: vec![[10, 0, 0, 250].into()],
            reals: vec![
                real(2, ForwardingMethod::Nat),
                real(3, ForwardingMethod::Local),
                real(4, ForwardingMethod::Local),
            ],
            ..Service::new(id, Scheduler::Rr)
        };
        let claims_of = |service: &Service| {
            let file = std::slice::from_ref(service);
            let desired = Desired::merge(file, &[], &Desired::default(), true);
            claims(&desired.0.services[0])
        };
        let [(pool, pool_warning), (vip, vip_warning)] = &claims_of(&service)[..] else {
            panic!("{:?}", claims_of(&service))
        };
        assert_eq!(
            (pool.to_string(), vip.to_string()),
            ("10.0.0.250".into(), "192.0.2.10".into())
        );
        assert!(
            pool_warning.starts_with("service tcp:192.0.2.10:80: masquerade 10.0.0.250 is not")
        );
        assert!(vip_warning.contains("real 10.0.0.3:80 is this host"));
        service.masquerade.clear();
        service.reals.truncate(1);
        assert_eq!(claims_of(&service), []);
    }
}
