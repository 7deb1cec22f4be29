//! Makes an imported document one that lbd loads. The rules are the
//! configuration's own ([`crate::config::rules`]): what they refuse is changed or
//! left out until they do not, and every change is warned of with their words.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use lb_common::limits::MAX_REALS_PER_SERVICE;

use super::{
    document::{Document, Identity, Quorum, Real, Service, SorryServer},
    output::{alerts_alone, called, check_alone},
    source::Warnings,
};
use crate::config::{
    file::{self, ConfigError},
    mark::{self, MarkRule},
    model::{
        self, FirewallMark, ForwardingMethod, IpFamily, RealId, ServiceId, Tunnel, VirtualAddress,
        Weight,
    },
    rules::{Invalid, check_replies},
    scheduling,
};

/// Longest interface name: the kernel's IFNAMSIZ less the final NUL.
const MAX_INTERFACE_NAME_BYTES: usize = 15;

pub(super) fn fit(document: &mut Document, warnings: &mut Warnings) {
    document
        .interfaces
        .retain(|name| name.len() <= MAX_INTERFACE_NAME_BYTES && !name.contains('/'));
    let mut services = Vec::new();
    let mut known = HashSet::new();
    for service in std::mem::take(&mut document.services) {
        for mut service in by_family(service) {
            if fit_service(&mut service, &mut known, warnings) {
                services.push(service);
            }
        }
    }
    fit_replies(&mut services, warnings);
    fit_names(&mut services);
    fit_checks(&mut services, warnings);
    document.services = services;
    fit_marks(document, warnings);
    if let Some(alerts) = &document.alerts
        && let Some(problem) = refusal(&alerts_alone(alerts))
    {
        let text = format!("{problem}; no mails are set up");
        warnings.add(&alerts.place, text);
        document.alerts = None;
    }
}

/// The addresses of one service share reals, and reals are of one family unless
/// the method is tun.
fn by_family(service: Service) -> Vec<Service> {
    let Identity::Addresses(protocol, addresses) = &service.identity else {
        return vec![service];
    };
    let (v4, v6): (Vec<SocketAddr>, Vec<_>) =
        addresses.iter().partition(|address| address.is_ipv4());
    if v4.is_empty() || v6.is_empty() {
        return vec![service];
    }
    let of = |addresses| Service {
        identity: Identity::Addresses(*protocol, addresses),
        ..service.clone()
    };
    vec![of(v4), of(v6)]
}

/// Whether there is still a service. `known` has all before it.
fn fit_service(
    service: &mut Service,
    known: &mut HashSet<ServiceId>,
    warnings: &mut Warnings,
) -> bool {
    let scheduler = service.scheduler;
    let place = service.place.clone();
    service.scheduler_flags.retain(|flag| {
        let problem = scheduling::flags(scheduler, &[flag]).err();
        if let Some(problem) = &problem {
            warnings.add(&place, format!("{problem}; the flag is left out"));
        }
        problem.is_none()
    });
    if !fit_identity(service, known, warnings) {
        let name = called(&service.identity);
        warnings.add(&place, format!("{name} is left out"));
        return false;
    }
    let ids = ids(&service.identity);
    service.sorry_server = service
        .sorry_server
        .take()
        .and_then(|sorry| fit_sorry_server(sorry, service, &ids, warnings));
    let mut reals: Vec<Real> = Vec::new();
    for real in std::mem::take(&mut service.reals) {
        let Some(real) = fit_real(real, service, &ids, warnings) else {
            continue;
        };
        let place = real.place.clone();
        let is_same = |other: &Real| (other.address, other.port) == (real.address, real.port);
        if reals.iter().any(is_same) {
            let (name, real) = (called(&service.identity), real.address);
            let text = format!("{name}: real {real} is there already; this one is left out");
            warnings.add(&place, text);
        } else if reals.len() == MAX_REALS_PER_SERVICE as usize {
            let name = called(&service.identity);
            let text = format!("{name}: more than {MAX_REALS_PER_SERVICE} reals; left out");
            warnings.add(&place, text);
        } else {
            reals.push(real);
        }
    }
    service.reals = reals;
    true
}

/// Takes out addresses that cannot be served and are served already. Whether any
/// is left.
fn fit_identity(
    service: &mut Service,
    known: &mut HashSet<ServiceId>,
    warnings: &mut Warnings,
) -> bool {
    let place = service.place.clone();
    let mut refused = Vec::new();
    for id in ids(&service.identity) {
        if known.contains(&id) {
            let text = format!("service {id} is there already; this one is left out");
            warnings.add(&place, text);
            refused.push(id);
            continue;
        }
        // Each turn takes away what is refused, so there are few.
        while let Err(Invalid { key, problem }) = bare(service, id).validate() {
            match key {
                "one_packet" if service.one_packet => service.one_packet = false,
                "slow_start" if service.slow_start_s.is_some() => service.slow_start_s = None,
                _ => {
                    warnings.add(&place, problem);
                    refused.push(id);
                    break;
                }
            }
            warnings.add(&place, format!("{problem}; {key} is left out"));
        }
        if !refused.contains(&id) {
            known.insert(id);
        }
    }
    match &mut service.identity {
        Identity::Mark(..) => refused.is_empty(),
        Identity::Addresses(protocol, addresses) => {
            let protocol = *protocol;
            let id = |address: &SocketAddr| {
                ServiceId::Address(VirtualAddress {
                    protocol,
                    address: address.ip(),
                    port: address.port(),
                })
            };
            let all = addresses.clone();
            addresses.retain(|address| !refused.contains(&id(address)));
            let is_any_left = !addresses.is_empty();
            if !is_any_left {
                // For the warning.
                *addresses = all;
            } else if addresses.len() < all.len() {
                let gone = all.iter().filter(|address| !addresses.contains(address));
                let gone: Vec<_> = gone.map(SocketAddr::to_string).collect();
                let text = format!("{} is left out of the service", gone.join(", "));
                warnings.add(&place, text);
            }
            is_any_left
        }
    }
}

fn fit_real(
    mut real: Real,
    service: &Service,
    ids: &[ServiceId],
    warnings: &mut Warnings,
) -> Option<Real> {
    let given = real.port;
    fit_local(&mut real, service, ids, warnings);
    let default = service.default_real_port();
    if real.port == default || real.port == Some(0) {
        real.port = None;
    }
    if Weight::new(real.weight).is_none() {
        let most = lb_common::limits::MAX_WEIGHT;
        let text = format!(
            "weight {} is more than {most}; it is {most} now",
            real.weight
        );
        warnings.add(&real.place, text);
        real.weight = most;
    }
    if matches!(service.identity, Identity::Mark(..)) && real.forward != ForwardingMethod::Nat {
        // Nothing is lost: a packet keeps its own port, in IPVS too.
        real.port = None;
    }
    for id in ids {
        while let Err(Invalid { key, problem }) = as_model(&real, *id).validate(*id) {
            match key {
                "port" if real.port.is_some() => {
                    real.port = None;
                    let text = format!("{problem}; the port is left out");
                    warnings.add(&real.place, text);
                    continue;
                }
                "lower_threshold" if real.lower_threshold > 0 => real.lower_threshold = 0,
                _ if key.starts_with("tunnel") && real.tunnel != Tunnel::default() => {
                    real.tunnel = Tunnel::default();
                }
                _ => {
                    warnings.add(&real.place, format!("{problem}; the real is left out"));
                    return None;
                }
            }
            warnings.add(&real.place, format!("{problem}; {key} is left out"));
        }
    }
    fit_ports(&mut real, given, service, warnings);
    Some(real)
}

/// A real that is the director itself: IPVS delivers its packets to this host,
/// whatever the method.
fn fit_local(real: &mut Real, service: &Service, ids: &[ServiceId], warnings: &mut Warnings) {
    let is_vip = ids.iter().any(|id| id.address() == Some(real.address));
    if !(real.address.is_loopback() || is_vip) || real.forward == ForwardingMethod::Local {
        return;
    }
    let (name, address) = (called(&service.identity), real.address);
    let method = real.forward.name();
    let text = format!(
        "{name}: real {address} is this host: forward is \"local\" and not \"{method}\", as IPVS does"
    );
    warnings.add(&real.place, text);
    real.forward = ForwardingMethod::Local;
    real.tunnel = Tunnel::default();
}

/// Ports of checks are said where they are not the real's.
fn fit_ports(real: &mut Real, given: Option<u16>, service: &Service, warnings: &mut Warnings) {
    let port = real.port.or_else(|| service.default_real_port());
    let place = &real.place;
    let address = real.address;
    real.checks.retain_mut(|check| {
        if !check.kind.has_port() {
            check.port = None;
            return true;
        }
        let target = check.port.or(given).filter(|port| *port != 0);
        check.port = target.filter(|target| Some(*target) != port);
        let has_one = check.port.is_some() || port.is_some_and(|port| port != 0);
        if !has_one {
            let name = called(&service.identity);
            let text = format!("{name}: real {address}: a check without a port; it is left out");
            warnings.add(place, text);
        }
        has_one
    });
}

fn fit_sorry_server(
    sorry: SorryServer,
    service: &Service,
    ids: &[ServiceId],
    warnings: &mut Warnings,
) -> Option<SorryServer> {
    let real = Real::new(sorry.place, sorry.address, sorry.port, sorry.forward);
    let real = fit_real(real, service, ids, warnings)?;
    Some(SorryServer {
        place: real.place,
        address: real.address,
        port: real.port,
        forward: real.forward,
    })
}

/// Leaves out the checks that the configuration's reader refuses. Most are alike,
/// so each is asked for once.
fn fit_checks(services: &mut [Service], warnings: &mut Warnings) {
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    for service in services {
        fit_quorum(service, warnings);
        for real in &mut service.reals {
            let (place, address) = (&real.place, real.address);
            real.checks.retain(|check| {
                let problem = known
                    .entry(check_alone(check))
                    .or_insert_with_key(|text| refusal(text));
                if let Some(problem) = problem {
                    let text = format!("real {address}: {problem}; the check is left out");
                    warnings.add(place, text);
                }
                problem.is_none()
            });
        }
    }
}

/// What the configuration's reader says against a file.
fn refusal(text: &str) -> Option<String> {
    match file::parse(text, "") {
        Err(ConfigError::Refused { key, problem, .. }) => Some(format!("{key}: {problem}")),
        _ => None,
    }
}

/// keepalived takes any hysteresis; one as large as the quorum would never let it
/// be lost.
fn fit_quorum(service: &mut Service, warnings: &mut Warnings) {
    let Quorum { up, hysteresis, .. } = service.quorum;
    if hysteresis >= up {
        service.quorum.hysteresis = up - 1;
        let text = format!(
            "hysteresis {hysteresis} is not below quorum {up}, which would never be lost; {} is taken",
            up - 1
        );
        warnings.add(&service.place, text);
    }
}

/// Without entries, only the real's address and port tell whose replies are.
fn fit_replies(services: &mut [Service], warnings: &mut Warnings) {
    let mut kept: Vec<model::Service> = Vec::new();
    for service in services.iter_mut().filter(|service| service.one_packet) {
        let own: Vec<_> = ids(&service.identity)
            .into_iter()
            .map(|id| model::Service {
                reals: service
                    .reals
                    .iter()
                    .map(|real| as_model(real, id))
                    .collect(),
                ..bare(service, id)
            })
            .collect();
        let all = own.iter().enumerate();
        let refused = all
            .map(|(i, one)| check_replies(one, kept.iter().chain(&own[..i])))
            .find_map(Result::err);
        if let Some(Invalid { problem, .. }) = refused {
            let text = format!("{problem}; one_packet is left out");
            warnings.add(&service.place, text);
            service.one_packet = false;
        } else {
            kept.extend(own);
        }
    }
}

/// Names are made of what names may have, and each is given once.
fn fit_names(services: &mut [Service]) {
    let mut taken: HashMap<String, u32> = HashMap::new();
    for service in services {
        let Some(name) = &service.name else { continue };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let name: String = name
            .chars()
            .map(|c| if allowed(c) { c } else { '-' })
            .collect();
        let mut unique = name.clone();
        while taken.contains_key(&unique) {
            let count = taken.entry(name.clone()).or_default();
            *count += 1;
            unique = format!("{name}-{}", *count + 1);
        }
        taken.insert(unique.clone(), 0);
        service.name = Some(unique).filter(|name| !name.is_empty());
    }
}

fn fit_marks(document: &mut Document, warnings: &mut Warnings) {
    let mut rules: Vec<MarkRule> = Vec::new();
    document.marks.retain(|mark| {
        let rule = &mark.rule;
        if rules.contains(rule) {
            return false;
        }
        let problem = mark::check(rule, &rules).err();
        match &problem {
            Some(Invalid { problem, .. }) => {
                warnings.add(&mark.place, format!("{problem}; it is left out"));
            }
            None => rules.push(rule.clone()),
        }
        problem.is_none()
    });
    for service in &document.services {
        let Identity::Mark(mark, family) = service.identity else {
            continue;
        };
        let is_known = |rule: &MarkRule| (rule.mark, rule.family()) == (mark, family);
        if !rules.iter().any(is_known) {
            let text = format!(
                "fwmark {mark}: lbd does not see netfilter's marks; write a [[firewall_mark]] that \
                 says which packets have it"
            );
            warnings.add(&service.place, text);
        }
    }
}

/// A service of the identity `id` without its reals.
fn bare(service: &Service, id: ServiceId) -> model::Service {
    model::Service {
        persistence: service.persistence,
        one_packet: service.one_packet,
        slow_start: service
            .slow_start_s
            .map(|seconds| Duration::from_secs(seconds.into())),
        forward: service.forward,
        ..model::Service::new(id, service.scheduler)
    }
}

fn as_model(real: &Real, of: ServiceId) -> model::Real {
    let id = RealId {
        address: real.address,
        port: real.port.unwrap_or_else(|| of.default_real_port()),
    };
    model::Real {
        weight: Weight::new(real.weight).unwrap_or(Weight::ONE),
        tunnel: real.tunnel,
        upper_threshold: real.upper_threshold,
        lower_threshold: real.lower_threshold,
        ..model::Real::new(id, real.forward)
    }
}

fn ids(identity: &Identity) -> Vec<ServiceId> {
    match identity {
        Identity::Mark(mark, family) => vec![ServiceId::Mark(FirewallMark {
            mark: *mark,
            family: *family,
        })],
        Identity::Addresses(protocol, addresses) => addresses
            .iter()
            .map(|address| {
                ServiceId::Address(VirtualAddress {
                    protocol: *protocol,
                    address: address.ip(),
                    port: address.port(),
                })
            })
            .collect(),
    }
}

/// The family of a mark's packets where nothing says it: the reals', unless a
/// tunnel may mix them.
pub(super) fn family_of_mark(reals: &[Real], sorry: Option<&SorryServer>) -> IpFamily {
    let reals = reals.iter().map(|real| (real.forward, real.address));
    let all = reals.chain(sorry.map(|sorry| (sorry.forward, sorry.address)));
    let all: Vec<_> = all
        .map(|(forward, address)| (forward, IpFamily::of(address)))
        .collect();
    let plain = all
        .iter()
        .find(|(forward, _)| *forward != ForwardingMethod::Tun);
    match plain {
        Some((_, family)) => *family,
        None if !all.is_empty() && all.iter().all(|(_, family)| *family == IpFamily::V6) => {
            IpFamily::V6
        }
        None => IpFamily::V4,
    }
}
