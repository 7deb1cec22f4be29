//! A command line as it is read, option by option, and what it asks for in the
//! end.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    command::{Checksum, Command, List, Netmask, Real, Service, Subject, Tunnel, Usage},
    legal,
    options::{Kind, Verb, Word},
    values,
};
use crate::config::{
    model::{
        FirewallMark, ForwardingMethod, IpFamily, Protocol, RealId, ServiceId, TunnelKind,
        VirtualAddress,
    },
    persistence::MAX_TIMEOUT_S,
};

/// Where no scheduler is named.
const DEFAULT_SCHEDULER: &str = "wlc";
/// Seconds, where `-p` has no value.
const DEFAULT_PERSISTENCE_S: u32 = 360;

/// What the options have said so far.
#[derive(Debug)]
pub(super) struct Settings {
    given: Vec<Kind>,
    /// Before a service is named it is `None:0`, of no family.
    protocol: Option<Protocol>,
    address: Option<IpAddr>,
    port: u16,
    mark: Option<FirewallMark>,
    scheduler: String,
    flags: String,
    persistence_s: Option<u32>,
    netmask: Netmask,
    engine: Option<String>,
    real: Option<RealId>,
    forward: ForwardingMethod,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    tunnel: TunnelKind,
    tunnel_port: Option<u16>,
    checksum: Checksum,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            given: Vec::new(),
            protocol: None,
            address: None,
            port: 0,
            mark: None,
            scheduler: String::new(),
            flags: String::new(),
            persistence_s: None,
            netmask: Netmask::V4(Ipv4Addr::BROADCAST),
            engine: None,
            real: None,
            forward: ForwardingMethod::Dr,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: TunnelKind::Ipip,
            tunnel_port: None,
            checksum: Checksum::Off,
        }
    }
}

impl Settings {
    pub(super) fn take(&mut self, word: Word, value: Option<&str>) -> Result<(), Usage> {
        let text = value.unwrap_or_default();
        match word {
            // The caller has seen to it.
            Word::Verb(_) | Word::Sort => Ok(()),
            Word::Tcp => self.service(Protocol::Tcp, text),
            Word::Udp => self.service(Protocol::Udp, text),
            Word::Sctp => self.service(Protocol::Sctp, text),
            Word::Mark => self.mark(text),
            Word::Ipv6 => self.ipv6(),
            Word::Dr => self.forward(ForwardingMethod::Dr),
            Word::Tun => self.forward(ForwardingMethod::Tun),
            Word::Nat => self.forward(ForwardingMethod::Nat),
            Word::Option(kind) => {
                self.once(kind)?;
                self.option(kind, value)
            }
        }
    }

    fn once(&mut self, kind: Kind) -> Result<(), Usage> {
        if self.given.contains(&kind) {
            let name = kind.name();
            return Err(Usage::fail(format!("multiple '{name}' options specified")));
        }
        self.given.push(kind);
        Ok(())
    }

    fn service(&mut self, protocol: Protocol, text: &str) -> Result<(), Usage> {
        self.once(Kind::ServiceAddress)?;
        let error = || Usage::fail("illegal virtual server address[:port] specified");
        let (address, port) = values::address(text, Some(protocol)).ok_or_else(error)?;
        self.protocol = Some(protocol);
        self.address = Some(address);
        self.port = port.unwrap_or(0);
        if address.is_ipv6() {
            self.netmask = Netmask::V6(128);
        }
        Ok(())
    }

    fn mark(&mut self, text: &str) -> Result<(), Usage> {
        self.once(Kind::ServiceAddress)?;
        let error = || Usage::fail(format!("invalid fwmark value `{text}' specified"));
        let mark = small(text, 1, u32::MAX.into()).ok_or_else(error)?;
        self.protocol = Some(Protocol::Tcp);
        let family = IpFamily::V4;
        self.mark = Some(FirewallMark { mark, family });
        Ok(())
    }

    fn ipv6(&mut self) -> Result<(), Usage> {
        let Some(mark) = &mut self.mark else {
            // Its message has a line end of its own.
            return Err(Usage::fail("-6 used before -f\n"));
        };
        mark.family = IpFamily::V6;
        self.netmask = Netmask::V6(128);
        Ok(())
    }

    fn forward(&mut self, forward: ForwardingMethod) -> Result<(), Usage> {
        self.once(Kind::ForwardingMethod)?;
        self.forward = forward;
        Ok(())
    }

    fn option(&mut self, kind: Kind, value: Option<&str>) -> Result<(), Usage> {
        let text = value.unwrap_or_default();
        let illegal = |what: &str| Usage::fail(format!("illegal {what} specified"));
        let count = |what: &str| small(text, 0, i32::MAX.into()).ok_or_else(|| illegal(what));
        match kind {
            Kind::Scheduler => text.clone_into(&mut self.scheduler),
            Kind::SchedulerFlags => text.clone_into(&mut self.flags),
            Kind::PersistenceEngine => self.engine = Some(text.to_owned()),
            Kind::Persistent => {
                let given = value.map(|text| seconds(text, 1)).transpose()?;
                self.persistence_s = Some(given.unwrap_or(DEFAULT_PERSISTENCE_S));
            }
            Kind::Netmask => self.netmask = self.netmask(text)?,
            Kind::RealServer => {
                let found = values::address(text, self.protocol);
                let (address, port) = found.ok_or_else(|| illegal("real server address[:port]"))?;
                let port = port.unwrap_or(self.port);
                self.real = Some(RealId { address, port });
            }
            Kind::Weight => self.weight = count("weight")?,
            Kind::UpperThreshold => self.upper_threshold = count("u_threshold")?,
            Kind::LowerThreshold => self.lower_threshold = count("l_threshold")?,
            Kind::TunType => {
                let kind = TunnelKind::from_name(text);
                self.tunnel = kind.ok_or_else(|| illegal("tunnel type"))?;
            }
            Kind::TunPort => {
                let port = small(text, 1, u16::MAX.into());
                let port = port.ok_or_else(|| illegal("tunnel port"))?;
                self.tunnel_port = u16::try_from(port).ok();
            }
            Kind::TunCsum => self.checksum = Checksum::On,
            Kind::TunRemcsum => self.checksum = Checksum::Remote,
            Kind::SyncId if small(text, 0, 255).is_none() => return Err(illegal("syncid")),
            Kind::McastPort if small(text, 1, 65_535).is_none() => {
                return Err(illegal("mcast-port"));
            }
            Kind::McastTtl if small(text, 1, 255).is_none() => return Err(illegal("mcast-ttl")),
            Kind::SyncMaxlen if small(text, 1, MAX_SYNC_BYTES).is_none() => {
                return Err(illegal("sync-maxlen"));
            }
            Kind::McastGroup => check_group(text)?,
            _ => {}
        }
        Ok(())
    }

    fn netmask(&self, text: &str) -> Result<Netmask, Usage> {
        if self.family() == Some(IpFamily::V6) {
            let length = u8::try_from(values::leading_number(text)).ok();
            let length = length.filter(|length| (1..=128).contains(length));
            let error = || Usage::fail("illegal ipv6 netmask specified");
            return Ok(Netmask::V6(length.ok_or_else(error)?));
        }
        let error = || Usage::fail("illegal virtual server persistent mask specified");
        Ok(Netmask::V4(values::mask(text).ok_or_else(error)?))
    }

    fn family(&self) -> Option<IpFamily> {
        let of_mark = self.mark.map(|mark| mark.family);
        of_mark.or(self.address.map(IpFamily::of))
    }

    /// The service that is named.
    fn id(&self) -> Option<ServiceId> {
        if let Some(mark) = self.mark {
            return Some(ServiceId::Mark(mark));
        }
        Some(ServiceId::Address(VirtualAddress {
            protocol: self.protocol?,
            address: self.address?,
            port: self.port,
        }))
    }

    /// What `verb` is to do.
    pub(super) fn command(self, verb: Verb, timeouts: [u32; 3]) -> Result<Command, Usage> {
        let flags = scheduler_flags(&self.flags, &self.scheduler)?;
        legal::check_command(verb, &self.given)?;
        // What a verb needs is there by now.
        let named = || self.id().ok_or_else(Usage::try_help);
        let real = || self.real.ok_or_else(Usage::try_help);
        Ok(match verb {
            Verb::AddService => Command::AddService(self.whole_service(flags)?),
            Verb::EditService => Command::EditService(self.whole_service(flags)?),
            Verb::DeleteService => Command::DeleteService(named()?),
            Verb::AddReal => Command::AddReal(named()?, self.whole_real(named()?, real()?)?),
            Verb::EditReal => Command::EditReal(named()?, self.whole_real(named()?, real()?)?),
            Verb::DeleteReal => Command::DeleteReal(named()?, real()?),
            Verb::Flush => Command::Flush,
            Verb::List => Command::List(self.list()?),
            Verb::Zero => Command::Zero(self.id()),
            Verb::Set => {
                let [tcp, tcp_fin, udp] = timeouts;
                Command::SetTimeouts { tcp, tcp_fin, udp }
            }
            Verb::StartDaemon => Command::StartDaemon,
            Verb::StopDaemon => Command::StopDaemon,
            Verb::Restore => Command::Restore,
            Verb::Save => Command::Save {
                numeric: self.has(Kind::Numeric),
            },
            Verb::Help => Command::Help,
            Verb::Version => Command::Version,
        })
    }

    fn has(&self, kind: Kind) -> bool {
        self.given.contains(&kind)
    }

    fn whole_service(&self, scheduler_flags: Vec<&'static str>) -> Result<Service, Usage> {
        let id = self.id().ok_or_else(Usage::try_help)?;
        if id.port() == Some(0) && self.persistence_s.is_none() {
            return Err(Usage::fail(
                "Zero port specified for non-persistent service",
            ));
        }
        let one_packet = self.has(Kind::Ops);
        if one_packet && !matches!(id.protocol(), None | Some(Protocol::Udp)) {
            return Err(Usage::fail(
                "One-Packet Scheduling is only for UDP virtual services",
            ));
        }
        let scheduler = Some(self.scheduler.as_str()).filter(|name| !name.is_empty());
        Ok(Service {
            id,
            scheduler: scheduler.unwrap_or(DEFAULT_SCHEDULER).to_owned(),
            scheduler_flags,
            persistence_s: self.persistence_s,
            netmask: self.netmask,
            one_packet,
            engine: self.engine.clone().filter(|engine| !engine.is_empty()),
        })
    }

    fn whole_real(&self, of: ServiceId, mut id: RealId) -> Result<Real, Usage> {
        let is_tunnel = self.forward == ForwardingMethod::Tun;
        if let Some(port) = of.port()
            && self.forward != ForwardingMethod::Nat
        {
            id.port = port;
        }
        if IpFamily::of(id.address) != of.family() && !is_tunnel {
            return Err(Usage::fail(
                "Different address family is allowed only for tunneling servers",
            ));
        }
        let has_tunnel_option = self.given.iter().any(|kind| *kind >= Kind::TunType);
        if has_tunnel_option && !is_tunnel {
            return Err(Usage::fail("Tunnel options conflict with forward method"));
        }
        legal::check_tunnel(self.tunnel, &self.given)?;
        Ok(Real {
            id,
            forward: self.forward,
            weight: self.weight,
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
            tunnel: is_tunnel.then_some(Tunnel {
                kind: self.tunnel,
                port: self.tunnel_port,
                checksum: self.checksum,
            }),
        })
    }

    fn list(&self) -> Result<List, Usage> {
        let of_table = [Kind::Stats, Kind::Rate, Kind::Thresholds];
        let has_table = of_table.into_iter().any(|kind| self.has(kind));
        let of_director = self.has(Kind::Timeout) || self.has(Kind::Daemon);
        if has_table && (of_director || self.has(Kind::Connection))
            || self.has(Kind::PersistentConn) && of_director
        {
            return Err(Usage::fail("options conflicts in the list command"));
        }
        let subject = match self.id() {
            Some(id) => Subject::Service(id),
            None if self.has(Kind::Connection) => Subject::Connections,
            None if self.has(Kind::Timeout) => Subject::Timeouts,
            None if self.has(Kind::Daemon) => Subject::Daemons,
            None => Subject::All,
        };
        Ok(List {
            subject,
            numeric: self.has(Kind::Numeric),
            exact: self.has(Kind::Exact),
            nosort: self.has(Kind::NoSort),
            stats: self.has(Kind::Stats),
            rate: self.has(Kind::Rate),
            thresholds: self.has(Kind::Thresholds),
            persistent_conn: self.has(Kind::PersistentConn),
            tun_info: self.has(Kind::TunInfo),
        })
    }
}

/// Largest UDP payload of a sync message.
const MAX_SYNC_BYTES: i64 = 65_535 - 20 - 8;

fn check_group(text: &str) -> Result<(), Usage> {
    let (family, is_group) = match text.parse::<IpAddr>() {
        Ok(address) if address.is_ipv6() => ("IPv6", address.is_multicast()),
        parsed => ("IPv4", parsed.is_ok_and(|address| address.is_multicast())),
    };
    if is_group {
        Ok(())
    } else {
        Err(Usage::fail(format!(
            "invalid {family} mcast-group `{text}'"
        )))
    }
}

/// The flags of `text` under the names that `scheduler` has for them.
fn scheduler_flags(text: &str, scheduler: &str) -> Result<Vec<&'static str>, Usage> {
    const OF_ANY: [&str; 3] = ["flag-1", "flag-2", "flag-3"];
    let names = match scheduler {
        "sh" => ["sh-fallback", "sh-port", "flag-3"],
        "mh" => ["mh-fallback", "mh-port", "flag-3"],
        _ => OF_ANY,
    };
    let mut is_set = [false; 3];
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let place = |of: &[&str]| of.iter().position(|name| *name == word);
        match place(&names).or(place(&OF_ANY)) {
            Some(flag) => is_set[flag] = true,
            None => {
                let known = ["sh-fallback", "sh-port", "mh-fallback", "mh-port"];
                let is = if known.contains(&word) {
                    "incompatible"
                } else {
                    "invalid"
                };
                return Err(Usage::fail(format!("{is} scheduler flag `{word}'")));
            }
        }
    }
    let set = names.into_iter().zip(is_set);
    Ok(set
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect())
}

pub(super) fn seconds(text: &str, least: i64) -> Result<u32, Usage> {
    let error = || Usage::fail(format!("invalid timeout value `{text}' specified"));
    small(text, least, MAX_TIMEOUT_S.into()).ok_or_else(error)
}

fn small(text: &str, least: i64, most: i64) -> Option<u32> {
    let number = values::number(text, least..=most)?;
    u32::try_from(number).ok()
}
