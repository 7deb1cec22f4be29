//! `virtual_server` and its `real_server`s.

use std::net::{IpAddr, SocketAddr};

use super::{
    Context, boolean,
    check::{self, Defaults},
    command,
    group::{self, Group},
    number,
    tree::Node,
};
use crate::{
    config::{
        model::{ForwardingMethod, IpFamily, Persistence, Protocol, Scheduler, Tunnel, TunnelKind},
        persistence::{self, MAX_TIMEOUT_S},
    },
    import::{
        document::{Identity, Real, Service, SorryServer},
        fit::family_of_mark,
        source::ImportError,
    },
};

/// What a `virtual_server` is of.
enum Target {
    Address(SocketAddr),
    Mark(u32),
    Group(String, Group),
}

/// All that stands in the block besides reals, before it is known how often the
/// service is there.
struct Settings {
    service: Service,
    protocol: Protocol,
    family: Option<IpFamily>,
    tunnel: Tunnel,
    weight: u32,
    checks: Defaults,
}

pub(super) fn read(node: &Node, context: &mut Context<'_>) -> Result<(), ImportError> {
    let target = target(node, context)?;
    let mut settings = settings(node, &target, context)?;
    for line in node.block() {
        if line.keyword() == "real_server" {
            let real = real(line, &settings, context)?;
            settings.service.reals.push(real);
        }
    }
    for (identity, name) in identities(&target, &settings) {
        let mut service = settings.service.clone();
        service.name = service.name.or(name);
        service.identity = identity;
        context.document.services.push(service);
    }
    Ok(())
}

fn target(node: &Node, context: &Context<'_>) -> Result<Target, ImportError> {
    match node.values() {
        [word, name, ..] if word == "group" => {
            let Some(group) = context.groups.get(name) else {
                return Err(node.error(&format!("there is no virtual_server_group {name}")));
            };
            Ok(Target::Group(name.clone(), group::read(group)?))
        }
        [word, mark, ..] if word == "fwmark" => {
            let mark = mark.parse().ok().filter(|mark| *mark != 0);
            let error = || node.error("expected a mark from 1 to 4294967295");
            Ok(Target::Mark(mark.ok_or_else(error)?))
        }
        _ => {
            let (address, port) = address(node)?;
            Ok(Target::Address(SocketAddr::new(address, port.unwrap_or(0))))
        }
    }
}

/// `<IPADDR> [<PORT>]`.
fn address(node: &Node) -> Result<(IpAddr, Option<u16>), ImportError> {
    let address = node.value()?;
    let address = address
        .parse()
        .map_err(|_| node.error(&format!("{address:?} is not an IP address")))?;
    let port = node.values().get(1);
    let port = port.map(|port| {
        port.parse()
            .map_err(|_| node.error(&format!("{port:?} is not a port")))
    });
    Ok((address, port.transpose()?))
}

/// A service for the addresses of a group, and one for each of its marks.
fn identities(target: &Target, settings: &Settings) -> Vec<(Identity, Option<String>)> {
    let protocol = settings.protocol;
    let service = &settings.service;
    let family = || {
        let own = settings.family;
        own.unwrap_or_else(|| family_of_mark(&service.reals, service.sorry_server.as_ref()))
    };
    match target {
        Target::Address(address) => {
            vec![(Identity::Addresses(protocol, vec![*address]), None)]
        }
        Target::Mark(mark) => vec![(Identity::Mark(*mark, family()), None)],
        Target::Group(name, group) => {
            let addresses = (!group.addresses.is_empty())
                .then(|| Identity::Addresses(protocol, group.addresses.clone()));
            let marks = group.marks.iter();
            let marks = marks.map(|(mark, own)| Identity::Mark(*mark, own.unwrap_or_else(family)));
            let all = addresses.into_iter().chain(marks);
            all.map(|identity| (identity, Some(name.clone()))).collect()
        }
    }
}

fn settings(
    node: &Node,
    target: &Target,
    context: &mut Context<'_>,
) -> Result<Settings, ImportError> {
    let family = match target {
        Target::Address(address) => Some(IpFamily::of(address.ip())),
        Target::Group(_, group) => {
            let first = group.addresses.first();
            first.map(|address| IpFamily::of(address.ip()))
        }
        Target::Mark(_) => None,
    };
    // The identity comes when the family of the reals is known.
    let mut service = Service::new(node.place.clone(), Identity::Mark(0, IpFamily::V4));
    service.forward = ForwardingMethod::Nat;
    let mut settings = Settings {
        service,
        protocol: Protocol::Tcp,
        family,
        tunnel: Tunnel::default(),
        weight: 1,
        checks: Defaults::default(),
    };
    for line in node.block() {
        if !settings.checks.take(line, context)? {
            setting(line, &mut settings, context)?;
        }
    }
    sorry_server(node, &mut settings, context)?;
    let scheduler = settings.service.scheduler;
    let flags = std::mem::take(&mut settings.service.scheduler_flags);
    // `flag-1` and `flag-2` are what the scheduler calls otherwise.
    settings.service.scheduler_flags = flags
        .into_iter()
        .map(|flag| match (&*flag, scheduler) {
            ("flag-1", Scheduler::Sh) => "sh-fallback".into(),
            ("flag-2", Scheduler::Sh) => "sh-port".into(),
            ("flag-1", Scheduler::Mh) => "mh-fallback".into(),
            ("flag-2", Scheduler::Mh) => "mh-port".into(),
            _ => flag,
        })
        .collect();
    Ok(settings)
}

fn setting(
    line: &Node,
    settings: &mut Settings,
    context: &mut Context<'_>,
) -> Result<(), ImportError> {
    let service = &mut settings.service;
    match line.keyword() {
        "lb_algo" | "lvs_sched" => match Scheduler::from_name(line.value()?) {
            Some(scheduler) => service.scheduler = scheduler,
            None => {
                let text = format!("there is no scheduler {:?}; wlc is taken", line.value()?);
                context.warn(line, &text);
            }
        },
        "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback" | "flag-1" | "flag-2" | "flag-3" => {
            service.scheduler_flags.push(line.keyword().to_owned());
        }
        "lb_kind" | "lvs_method" => {
            (service.forward, settings.tunnel) = method(line, context)?;
        }
        "ops" => service.one_packet = true,
        "persistence_timeout" => {
            let timeout_s = persistence_timeout(line, context)?;
            service.persistence.get_or_insert_default().timeout_s = timeout_s;
        }
        "persistence_granularity" => {
            let (length, family) =
                persistence::netmask(line.value()?).map_err(|problem| line.error(&problem))?;
            let persistence = service.persistence.get_or_insert_default();
            // A dotted mask is of IPv4, and a length of IPv6 unless the service
            // is known to be of IPv4.
            let family = family.or(settings.family).unwrap_or(IpFamily::V6);
            match family {
                IpFamily::V4 => persistence.netmask = length,
                IpFamily::V6 => persistence.netmask_v6 = length,
            }
            settings.family.get_or_insert(family);
        }
        "protocol" => {
            let protocol = line.value()?.to_ascii_lowercase();
            settings.protocol = Protocol::from_name(&protocol)
                .ok_or_else(|| line.error(&format!("{protocol:?} is none of TCP, UDP, SCTP")))?;
        }
        "ip_family" => {
            settings.family = Some(match line.value()? {
                "inet" => IpFamily::V4,
                "inet6" => IpFamily::V6,
                other => return Err(line.error(&format!("{other:?} is no address family"))),
            });
        }
        "quorum" => service.quorum.up = number::<u32>(line)?.max(1),
        "hysteresis" => service.quorum.hysteresis = number(line)?,
        "quorum_up" => service.quorum.notify_up = command(line, context)?,
        "quorum_down" => service.quorum.notify_down = command(line, context)?,
        "weight" => settings.weight = weight(line)?,
        "snmp_name" => service.name = Some(line.value()?.to_owned()),
        "smtp_alert" => smtp_alert(line, context)?,
        "sorry_server" | "sorry_server_lvs_method" | "real_server" => {}
        "ha_suspend" | "hashed" | "persistence_engine" | "sorry_server_inhibit" => {
            context.no_equal(line);
        }
        _ => context.unknown(line),
    }
    Ok(())
}

fn sorry_server(
    node: &Node,
    settings: &mut Settings,
    context: &mut Context<'_>,
) -> Result<(), ImportError> {
    let find = |keyword| node.block().iter().find(|line| line.keyword() == keyword);
    let own_method = find("sorry_server_lvs_method");
    let Some(line) = find("sorry_server") else {
        return Ok(());
    };
    let (forward, tunnel) = match own_method {
        Some(line) => method(line, context)?,
        None => (settings.service.forward, settings.tunnel),
    };
    if tunnel != Tunnel::default() {
        context.warn(line, "its tunnel is ipip here");
    }
    let (address, port) = address(line)?;
    settings.service.sorry_server = Some(SorryServer {
        place: line.place.clone(),
        address,
        port,
        forward,
    });
    Ok(())
}

fn real(node: &Node, settings: &Settings, context: &mut Context<'_>) -> Result<Real, ImportError> {
    let (address, port) = address(node)?;
    let forward = settings.service.forward;
    let mut real = Real::new(node.place.clone(), address, port, forward);
    real.tunnel = settings.tunnel;
    real.weight = settings.weight;
    let mut defaults = settings.checks.clone();
    let mut checkers = Vec::new();
    for line in node.block() {
        if check::is_checker(line.keyword()) {
            checkers.push(line);
        } else if !defaults.take(line, context)? {
            real_setting(line, &mut real, context)?;
        }
    }
    if real.forward != ForwardingMethod::Tun {
        real.tunnel = Tunnel::default();
    }
    for line in checkers {
        check::read(line, &defaults, &mut real, context)?;
    }
    if checkers_are_missing(&defaults, &real) {
        context.warn(node, "inhibit_on_failure without a check does nothing");
    }
    Ok(real)
}

fn checkers_are_missing(defaults: &Defaults, real: &Real) -> bool {
    defaults.quiesce && real.checks.is_empty()
}

fn real_setting(
    line: &Node,
    real: &mut Real,
    context: &mut Context<'_>,
) -> Result<(), ImportError> {
    match line.keyword() {
        "weight" => real.weight = weight(line)?,
        "lb_kind" | "lvs_method" => (real.forward, real.tunnel) = method(line, context)?,
        "uthreshold" => real.upper_threshold = number(line)?,
        "lthreshold" => real.lower_threshold = number(line)?,
        "notify_up" => real.notify_up = command(line, context)?,
        "notify_down" => real.notify_down = command(line, context)?,
        "smtp_alert" => smtp_alert(line, context)?,
        "snmp_name" => context.no_equal(line),
        _ => context.unknown(line),
    }
    Ok(())
}

fn weight(line: &Node) -> Result<u32, ImportError> {
    number(line)
}

/// `NAT`, `DR` or `TUN [type {ipip|gue port NUM|gre} [nocsum|csum|remcsum]]`.
fn method(
    line: &Node,
    context: &mut Context<'_>,
) -> Result<(ForwardingMethod, Tunnel), ImportError> {
    let mut tunnel = Tunnel::default();
    let method = match &*line.value()?.to_ascii_uppercase() {
        "NAT" => ForwardingMethod::Nat,
        "DR" => ForwardingMethod::Dr,
        "TUN" => ForwardingMethod::Tun,
        _ => {
            let text = format!("there is no method {:?}; NAT is taken", line.value()?);
            context.warn(line, &text);
            ForwardingMethod::Nat
        }
    };
    if method != ForwardingMethod::Tun {
        return Ok((method, tunnel));
    }
    let mut words = line.values()[1..].iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "type" => {
                let kind = words.next().unwrap_or_default();
                tunnel.kind = TunnelKind::from_name(kind)
                    .ok_or_else(|| line.error(&format!("{kind:?} is no tunnel")))?;
            }
            "port" => {
                let port = words.next().unwrap_or_default();
                tunnel.port = port
                    .parse()
                    .map_err(|_| line.error(&format!("{port:?} is not a port")))?;
            }
            "csum" => tunnel.checksum = true,
            "nocsum" => tunnel.checksum = false,
            "remcsum" => context.warn(line, "remcsum has no equal in lbd; no checksum is sent"),
            _ => return Err(line.error(&format!("{word:?} is not understood"))),
        }
    }
    Ok((method, tunnel))
}

/// Seconds; without a value IPVS's default.
fn persistence_timeout(line: &Node, context: &mut Context<'_>) -> Result<u32, ImportError> {
    if line.values().is_empty() {
        return Ok(Persistence::default().timeout_s);
    }
    let seconds: u32 = number(line)?;
    if (1..=MAX_TIMEOUT_S).contains(&seconds) {
        return Ok(seconds);
    }
    let nearest = seconds.clamp(1, MAX_TIMEOUT_S);
    let text = format!("{seconds} is out of range: 1 to {MAX_TIMEOUT_S}; {nearest} is taken");
    context.warn(line, &text);
    Ok(nearest)
}

/// Mails are for all services or none.
fn smtp_alert(line: &Node, context: &mut Context<'_>) -> Result<(), ImportError> {
    if !boolean(line)? {
        context.warn(
            line,
            "cannot be switched off for one of them; [alerts] is for all",
        );
    } else if context.document.alerts.is_none() {
        context.warn(line, "no mails are set up in global_defs; left out");
    }
    Ok(())
}
