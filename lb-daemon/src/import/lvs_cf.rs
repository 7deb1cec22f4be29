//! Piranha's `lvs.cf` (lvs.cf(5)), which pulse, lvsd and nanny worked by.

mod syntax;

use std::net::{IpAddr, SocketAddr};

use self::syntax::{Entry, Section};
use super::{
    argv,
    document::{Check, CheckKind, Document, Expect, Identity, Mark, Real, Service, SorryServer},
    source::{ImportError, Place, Warnings},
};
use crate::config::{
    model::{ForwardingMethod, IpFamily, MarkRule, Persistence, Protocol, Scheduler},
    persistence::{self, MAX_TIMEOUT_S},
};

/// lvs.cf(5)'s defaults.
const PORT: u16 = 80;
const TIMEOUT_S: u32 = 10;
const REENTRY_S: u32 = 180;

/// nanny's own times are not in the file; a check every 2 s is our default.
const INTERVAL_MS: u64 = 2000;

/// Stands for `quiesce_server`, which has no time: interface.md's example.
const SLOW_START_S: u32 = 30;

/// What is said once and for all virtual servers.
struct Global {
    forward: ForwardingMethod,
}

pub(super) fn read(
    text: &str,
    file: &str,
    warnings: &mut Warnings,
) -> Result<Document, ImportError> {
    let file = syntax::parse(text, file)?;
    let mut document = Document::default();
    let global = globals(&file, &mut document, warnings)?;
    for section in &file.sections {
        match &*section.kind {
            "virtual" => virtual_server(section, &global, &mut document, warnings)?,
            "failover" => {
                let text = format!("failover {}: has no equal in lbd; left out", section.name);
                warnings.add(&section.place, text);
            }
            kind => {
                return Err(section
                    .place
                    .error(format!("{kind}: is no section of lvs.cf")));
            }
        }
    }
    Ok(document)
}

fn globals(
    file: &Section,
    document: &mut Document,
    warnings: &mut Warnings,
) -> Result<Global, ImportError> {
    let mut forward = ForwardingMethod::Dr;
    for entry in &file.entries {
        match &*entry.key {
            "network" => {
                forward = match &*entry.value {
                    "nat" => ForwardingMethod::Nat,
                    "direct" => ForwardingMethod::Dr,
                    "tunnel" => ForwardingMethod::Tun,
                    _ => return Err(entry.error("is none of nat, direct, tunnel")),
                }
            }
            "nat_router" => {
                if let Some(device) = entry.value.split_whitespace().nth(1) {
                    document.add_interface(device);
                }
                let text = "nat_router: lbd does not set the address, which the reals' default \
                            route leads to; its interface is taken";
                warnings.add(&entry.place, text);
            }
            "tcp_timeout" => document.timeouts.tcp_s = Some(entry.number(1..=MAX_TIMEOUT_S)?),
            "tcpfin_timeout" => {
                document.timeouts.tcp_fin_s = Some(entry.number(1..=MAX_TIMEOUT_S)?);
            }
            "udp_timeout" => document.timeouts.udp_s = Some(entry.number(1..=MAX_TIMEOUT_S)?),
            "service" if entry.value == "lvs" => {}
            "service" => {
                let text = format!(
                    "service = {}: the virtual servers were not in force",
                    entry.value
                );
                warnings.add(&entry.place, text);
            }
            _ => no_equal(entry, warnings),
        }
    }
    Ok(Global { forward })
}

fn no_equal(entry: &Entry, warnings: &mut Warnings) {
    let text = format!("{}: has no equal in lbd; left out", entry.key);
    warnings.add(&entry.place, text);
}

/// What a `virtual` section says, before it is known whether it is a service of
/// its own.
struct Virtual {
    service: Service,
    protocol: Protocol,
    address: IpAddr,
    port: u16,
    mark: Option<u32>,
}

fn virtual_server(
    section: &Section,
    global: &Global,
    document: &mut Document,
    warnings: &mut Warnings,
) -> Result<(), ImportError> {
    if is_inactive(section, warnings)? {
        return Ok(());
    }
    let Virtual {
        mut service,
        protocol,
        address,
        port,
        mark,
    } = read_virtual(section, global, document, warnings)?;
    let Some(mark) = mark else {
        let addresses = vec![SocketAddr::new(address, port)];
        service.identity = Identity::Addresses(protocol, addresses);
        document.services.push(service);
        return Ok(());
    };
    document.marks.push(Mark {
        place: section.place.clone(),
        rule: MarkRule {
            mark,
            protocol,
            destination: (address, if address.is_ipv4() { 32 } else { 128 }),
            ports: Vec::from_iter((port != 0).then_some((port, port))),
        },
    });
    service.identity = Identity::Mark(mark, IpFamily::of(address));
    let same = document.services.iter_mut();
    match { same }.find(|other| other.identity == service.identity) {
        Some(first) => join(first, service, warnings),
        None => document.services.push(service),
    }
    Ok(())
}

/// Several virtual servers of one mark are one service: IPVS has it once, and
/// each nanny takes a real out.
fn join(first: &mut Service, other: Service, warnings: &mut Warnings) {
    let differs = first.scheduler != other.scheduler
        || first.persistence != other.persistence
        || first.slow_start_s != other.slow_start_s;
    let name = other.name.unwrap_or_default();
    let first_name = first.name.clone().unwrap_or_default();
    let text = format!(
        "virtual {name}: has the mark of {first_name} and is one service with it{}",
        if differs {
            ", whose scheduler, persistence and slow_start hold"
        } else {
            ""
        }
    );
    warnings.add(&other.place, text);
    for real in other.reals {
        match first
            .reals
            .iter_mut()
            .find(|own| own.address == real.address)
        {
            Some(own) => own.checks.extend(real.checks),
            None => first.reals.push(real),
        }
    }
}

fn is_inactive(section: &Section, warnings: &mut Warnings) -> Result<bool, ImportError> {
    let Some(entry) = section.get("active") else {
        return Ok(false);
    };
    if entry.flag()? {
        return Ok(false);
    }
    let (kind, name) = (&section.kind, &section.name);
    warnings.add(
        &section.place,
        format!("{kind} {name}: is not active; left out"),
    );
    Ok(true)
}

fn read_virtual(
    section: &Section,
    global: &Global,
    document: &mut Document,
    warnings: &mut Warnings,
) -> Result<Virtual, ImportError> {
    let name = &section.name;
    let mut service = Service::new(section.place.clone(), Identity::Mark(0, IpFamily::V4));
    service.name = Some(name.clone());
    service.forward = global.forward;
    let mut protocol = Protocol::Tcp;
    let mut address = None;
    let mut port = PORT;
    let mut mark = None;
    let mut persistence: Option<Persistence> = None;
    let mut netmask = None;
    let mut sorry = None;
    for entry in &section.entries {
        match &*entry.key {
            "address" => {
                let mut words = entry.value.split_whitespace();
                address = Some(entry.address(words.next().unwrap_or_default())?);
                if let Some(device) = words.next() {
                    document.add_interface(device);
                }
            }
            "port" => port = entry.number(0..=u16::MAX.into())? as u16,
            "fwmark" => mark = Some(entry.number(1..=u32::MAX)?),
            "protocol" => {
                let error = || entry.error("is none of tcp, udp, sctp");
                protocol = Protocol::from_name(&entry.value).ok_or_else(error)?;
            }
            "scheduler" => {
                let error = || entry.error("is no scheduler");
                service.scheduler = Scheduler::from_name(&entry.value).ok_or_else(error)?;
            }
            "persistent" => {
                let timeout_s = entry.number(1..=MAX_TIMEOUT_S)?;
                persistence.get_or_insert_default().timeout_s = timeout_s;
            }
            "pmask" => {
                let mask = persistence::netmask(&entry.value);
                netmask = Some((entry, mask.map_err(|problem| entry.error(&problem))?.0));
            }
            "sorry_server" => {
                let host = entry.value.split_whitespace().next().unwrap_or_default();
                sorry = Some((entry, entry.address(host)?));
            }
            "quiesce_server" => {
                if entry.flag()? {
                    service.slow_start_s = Some(SLOW_START_S);
                    let text = format!(
                        "quiesce_server: slow_start = \"{SLOW_START_S}s\" stands for it; how long \
                         is for you to say"
                    );
                    warnings.add(&entry.place, text);
                }
            }
            "load_monitor" if entry.value == "none" => {}
            // These are the check's.
            "active" | "send" | "expect" | "use_regex" | "send_program" | "timeout" | "reentry" => {
            }
            _ => no_equal(entry, warnings),
        }
    }
    if let (Some(persistence), Some((_, length))) = (&mut persistence, netmask) {
        persistence.netmask = length;
    } else if let Some((entry, _)) = netmask {
        warnings.add(&entry.place, "pmask: without persistent it has no meaning");
    }
    service.persistence = persistence;
    let missing = || {
        section
            .place
            .error(format!("virtual {name}: has no address"))
    };
    let address = address.ok_or_else(missing)?;
    service.sorry_server = sorry.map(|(entry, address)| SorryServer {
        place: entry.place.clone(),
        address,
        port: None,
        forward: global.forward,
    });
    let check = check(section, protocol, warnings)?;
    for server in &section.sections {
        if let Some(mut real) = real(server, section, global, warnings)? {
            // A mark's reals get every port as it comes.
            let target = real.port.unwrap_or(port);
            let is_same = mark.is_some() && real.port == Some(port);
            real.port = real.port.filter(|_| !is_same);
            real.checks.push(Check {
                port: Some(target),
                ..check.clone()
            });
            service.reals.push(real);
        }
    }
    Ok(Virtual {
        service,
        protocol,
        address,
        port,
        mark,
    })
}

fn real(
    section: &Section,
    of: &Section,
    global: &Global,
    warnings: &mut Warnings,
) -> Result<Option<Real>, ImportError> {
    let name = &section.name;
    if section.kind != "server" {
        let text = format!("{}: is no section of virtual {}", section.kind, of.name);
        return Err(section.place.error(text));
    }
    if is_inactive(section, warnings)? {
        return Ok(None);
    }
    let mut address = None;
    let mut port = None;
    let mut weight = 1;
    for entry in &section.entries {
        match &*entry.key {
            "active" => {}
            "address" => address = Some(entry.address(&entry.value)?),
            "port" => port = Some(entry.number(0..=u16::MAX.into())? as u16),
            "weight" => weight = entry.number(0..=u32::MAX)?,
            _ => no_equal(entry, warnings),
        }
    }
    let missing = || {
        section
            .place
            .error(format!("server {name}: has no address"))
    };
    let address = address.ok_or_else(missing)?;
    let mut real = Real::new(section.place.clone(), address, port, global.forward);
    real.weight = weight;
    Ok(Some(real))
}

/// What nanny did for each real. It took a real out after `timeout` seconds
/// without success, and in after `reentry` seconds of it.
fn check(
    section: &Section,
    protocol: Protocol,
    warnings: &mut Warnings,
) -> Result<Check, ImportError> {
    let text = |key| {
        let value = section.get(key).map(|entry| entry.value.clone());
        value.filter(|value| !value.is_empty())
    };
    let number = |key, default| {
        let entry = section.get(key);
        entry.map_or(Ok(default), |entry| entry.number(1..=86_400))
    };
    let is_regex = section.get("use_regex").map_or(Ok(false), Entry::flag)?;
    let expect = text("expect").map(|text| expected(text, is_regex));
    let program = section.get("send_program");
    let program = program.map(|entry| (entry, entry.value.clone()));
    let program = program.filter(|(_, value)| !value.is_empty());
    let kind = if let Some((entry, program)) = program {
        if let Some(entry) = section.get("send").filter(|entry| !entry.value.is_empty()) {
            let text = "send: nanny ignores it beside send_program; left out";
            warnings.add(&entry.place, text);
        }
        let argv = argv::argv(&program).map_err(|problem| entry.error(problem))?;
        for remark in argv.remarks {
            warnings.add(&entry.place, format!("send_program: {remark}"));
        }
        CheckKind::Exec {
            command: argv.words,
            expect,
            dynamic: false,
        }
    } else {
        match (text("send").map(String::into_bytes), expect) {
            (send, expect) if protocol == Protocol::Udp => CheckKind::Udp { send, expect },
            (None, None) => CheckKind::Tcp,
            (send, expect) => CheckKind::SendExpect { send, expect },
        }
    };
    let in_intervals = |seconds: u32| (u64::from(seconds) * 1000).div_ceil(INTERVAL_MS) as u32;
    Ok(Check {
        kind,
        interval_ms: INTERVAL_MS,
        timeout_ms: INTERVAL_MS,
        rise: in_intervals(number("reentry", REENTRY_S)?),
        fall: in_intervals(number("timeout", TIMEOUT_S)?),
        fast_interval_ms: None,
        warmup_ms: None,
        port: None,
        alpha: false,
        omega: false,
        quiesce: false,
    })
}

/// `*` is any answer.
fn expected(text: String, is_regex: bool) -> Expect {
    if is_regex {
        Expect::Regex(text)
    } else if text == "*" {
        Expect::Regex(".".into())
    } else {
        Expect::Prefix(text.into_bytes())
    }
}

/// For messages of [`syntax`].
fn place(file: &std::sync::Arc<str>, line: usize) -> Place {
    Place {
        file: std::sync::Arc::clone(file),
        line,
    }
}
