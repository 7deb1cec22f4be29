//! What `ipvsadm -S` prints, and scripts that call ipvsadm. A command line is read
//! by [`crate::ipvsadm`], as `lbctl ipvsadm` reads it.

use std::{collections::HashMap, net::SocketAddr};

use super::{
    document::{Document, Identity, Mark, Real, Service},
    iptables,
    shell::{self, ShellCommand},
    source::{ImportError, Place, Warnings},
};
use crate::{
    config::model::{ForwardingMethod, Persistence, Scheduler, ServiceId, Tunnel},
    ipvsadm::{
        self,
        command::{self, Checksum, Command, Netmask},
    },
};

pub(super) fn read(
    text: &str,
    file: &str,
    warnings: &mut Warnings,
) -> Result<Document, ImportError> {
    let mut table = Table {
        document: Document::default(),
        places: HashMap::new(),
        warnings,
    };
    let mut is_ipvsadms = false;
    let mut first = None;
    for command in shell::commands(text, file)? {
        let place = command.place.clone();
        match arguments(&command) {
            Some(arguments) => {
                is_ipvsadms = true;
                table.line(&command, arguments)?;
            }
            None => table.other(&command),
        }
        first.get_or_insert(place);
    }
    match first {
        Some(place) if !is_ipvsadms => Err(place.error("there is no line of ipvsadm's")),
        _ => Ok(table.document),
    }
}

/// What stands behind ipvsadm's name, whatever its path; lines of a saved table
/// have no name.
fn arguments(command: &ShellCommand) -> Option<&[String]> {
    let (name, arguments) = command.words.split_first()?;
    if name.rsplit('/').next() == Some("ipvsadm") {
        Some(arguments)
    } else if name.starts_with('-') {
        Some(&command.words)
    } else {
        None
    }
}

/// The table that the commands make.
struct Table<'a> {
    document: Document,
    /// Where each service is among the document's.
    places: HashMap<ServiceId, usize>,
    warnings: &'a mut Warnings,
}

impl Table<'_> {
    /// Arguments are not printed: they could be anything.
    fn other(&mut self, command: &ShellCommand) {
        let name = &command.words[0];
        let place = command.place.clone();
        let rule = iptables::mark_rule(&command.words).filter(|_| command.unknown.is_none());
        let text = match rule {
            Some(Ok(rule)) => {
                self.document.marks.push(Mark { place, rule });
                return;
            }
            Some(Err(problem)) => format!("{name}: {problem}; left out"),
            None => format!("{name}: is no line of ipvsadm's; left out"),
        };
        self.warnings.add(&command.place, text);
    }

    fn line(&mut self, command: &ShellCommand, arguments: &[String]) -> Result<(), ImportError> {
        let place = &command.place;
        if let Some(unknown) = &command.unknown {
            let text = format!("ipvsadm: {unknown} has no value that is known here; left out");
            self.warnings.add(place, text);
            return Ok(());
        }
        let meant = ipvsadm::parse(arguments).map_err(|usage| {
            let message = usage.message.trim_end().to_owned();
            place.error(format!("ipvsadm: {message}"))
        })?;
        match meant {
            Command::AddService(service) => {
                if self.find(service.id).is_some() {
                    self.warn(place, "Service already exists");
                } else {
                    let made = self.service(&service, place)?;
                    self.places.insert(service.id, self.document.services.len());
                    self.document.services.push(made);
                }
            }
            Command::EditService(service) => match self.find(service.id) {
                Some(at) => {
                    let mut edited = self.service(&service, place)?;
                    let before = &mut self.document.services[at];
                    edited.reals = std::mem::take(&mut before.reals);
                    edited.forward = before.forward;
                    *before = edited;
                }
                None => self.warn(place, "No such service"),
            },
            Command::AddReal(id, real) => self.real(id, real, false, place),
            Command::EditReal(id, real) => self.real(id, real, true, place),
            Command::SetTimeouts { tcp, tcp_fin, udp } => {
                let timeouts = &mut self.document.timeouts;
                for (timeout, seconds) in [
                    (&mut timeouts.tcp_s, tcp),
                    (&mut timeouts.tcp_fin_s, tcp_fin),
                    (&mut timeouts.udp_s, udp),
                ] {
                    // 0 leaves it as it is.
                    if seconds > 0 {
                        *timeout = Some(seconds);
                    }
                }
            }
            Command::Flush if self.document.services.is_empty() => {}
            // As in the branch of a script that stops what another has started.
            Command::Flush | Command::DeleteService(_) | Command::DeleteReal(..) => {
                let text = "ipvsadm: takes away what lines before it make; not done";
                self.warnings.add(place, text);
            }
            Command::StartDaemon | Command::StopDaemon => {
                self.warn(place, "the sync daemon has no equal in lbd");
            }
            Command::Restore => {
                self.warn(
                    place,
                    "what it reads is not known here; import that file too",
                );
            }
            Command::List(_)
            | Command::Zero(_)
            | Command::Save { .. }
            | Command::Help
            | Command::Version => self.warn(place, "changes nothing"),
        }
        Ok(())
    }

    fn warn(&mut self, place: &Place, text: &str) {
        self.warnings
            .add(place, format!("ipvsadm: {text}; left out"));
    }

    fn find(&self, id: ServiceId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    fn service(&mut self, given: &command::Service, place: &Place) -> Result<Service, ImportError> {
        let mut service = Service::new(place.clone(), identity(given.id));
        service.scheduler = Scheduler::from_name(&given.scheduler)
            .ok_or_else(|| place.error("ipvsadm: Scheduler or persistence engine not found"))?;
        let flags = given.scheduler_flags.iter();
        service.scheduler_flags = flags.map(|flag| (*flag).to_owned()).collect();
        service.one_packet = given.one_packet;
        service.persistence = given.persistence_s.map(|timeout_s| {
            let mut persistence = Persistence {
                timeout_s,
                ..Persistence::default()
            };
            match (given.netmask, given.netmask.prefix()) {
                (Netmask::V6(length), _) => persistence.netmask_v6 = length,
                (Netmask::V4(_), Some(length)) if length > 0 => persistence.netmask = length,
                (Netmask::V4(mask), _) => {
                    let text = format!("ipvsadm: -M {mask} is no prefix; 32 bits are taken");
                    self.warnings.add(place, text);
                }
            }
            persistence
        });
        if let Some(engine) = &given.engine {
            let text = format!("ipvsadm: --pe {engine} has no equal in lbd; left out");
            self.warnings.add(place, text);
        }
        Ok(service)
    }

    fn real(&mut self, id: ServiceId, given: command::Real, is_edit: bool, place: &Place) {
        let Some(at) = self.find(id) else {
            self.warn(place, "Service not defined");
            return;
        };
        // Under dr and tun IPVS takes the service's port, whatever was given.
        let is_nat = given.forward == ForwardingMethod::Nat;
        let port = Some(given.id.port).filter(|port| is_nat && *port != 0);
        let address = given.id.address;
        let mut real = Real::new(place.clone(), address, port, given.forward);
        real.weight = given.weight;
        real.upper_threshold = given.upper_threshold;
        real.lower_threshold = given.lower_threshold;
        if let Some(tunnel) = given.tunnel {
            real.tunnel = Tunnel {
                kind: tunnel.kind,
                port: tunnel.port.unwrap_or(Tunnel::DEFAULT_PORT),
                checksum: tunnel.checksum == Checksum::On,
            };
            if tunnel.checksum == Checksum::Remote {
                let text = "ipvsadm: --tun-remcsum has no equal in lbd; no checksum is sent";
                self.warnings.add(place, text);
            }
        }
        let service = &mut self.document.services[at];
        let default = service.default_real_port();
        let port = |real: &Real| real.port.or(default);
        let is_same = |other: &Real| other.address == address && port(other) == port(&real);
        let same = service.reals.iter().position(is_same);
        match (same, is_edit) {
            (None, false) => {
                if service.reals.is_empty() {
                    service.forward = real.forward;
                }
                service.reals.push(real);
            }
            (Some(same), true) => service.reals[same] = real,
            (Some(_), false) => self.warn(place, "Destination already exists"),
            (None, true) => self.warn(place, "No such destination"),
        }
    }
}

fn identity(id: ServiceId) -> Identity {
    match id {
        ServiceId::Mark(mark) => Identity::Mark(mark.mark, mark.family),
        ServiceId::Address(virtual_address) => Identity::Addresses(
            virtual_address.protocol,
            vec![SocketAddr::new(
                virtual_address.address,
                virtual_address.port,
            )],
        ),
    }
}
