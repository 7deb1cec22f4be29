//! From arguments to what they ask for. Checks and messages are ipvsadm's, in
//! its order: first each option as it comes, then what goes together.

use std::net::Ipv4Addr;

use super::{
    options::{Misuse, Scanner, Verb, Word},
    settings::{Settings, seconds},
};
use crate::config::model::{ForwardingMethod, RealId, ServiceId, TunnelKind};

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    AddService(Service),
    EditService(Service),
    DeleteService(ServiceId),
    AddReal(ServiceId, Real),
    EditReal(ServiceId, Real),
    DeleteReal(ServiceId, RealId),
    Flush,
    List(List),
    Zero(Option<ServiceId>),
    /// Seconds; 0: stays.
    SetTimeouts {
        tcp: u32,
        tcp_fin: u32,
        udp: u32,
    },
    StartDaemon,
    StopDaemon,
    Restore,
    Save {
        numeric: bool,
    },
    Help,
    Version,
}

/// A virtual service with all of its settings: what is not named has its
/// default, when it is edited too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub id: ServiceId,
    /// Not checked.
    pub scheduler: String,
    /// Each once: `sh-fallback`, `sh-port` and so on; `flag-1` to `flag-3`
    /// where the scheduler has no name for them.
    pub scheduler_flags: Vec<&'static str>,
    /// 1 to 31 days.
    pub persistence_s: Option<u32>,
    /// Also without persistence.
    pub netmask: Netmask,
    pub one_packet: bool,
    /// Of persistence: `sip`.
    pub engine: Option<String>,
}

/// Which clients count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netmask {
    /// Any bits.
    V4(Ipv4Addr),
    /// Prefix length, 1 to 128.
    V6(u8),
}

impl Netmask {
    /// None: the bits are no prefix.
    #[must_use]
    pub const fn prefix(self) -> Option<u8> {
        match self {
            Self::V6(length) => Some(length),
            Self::V4(mask) => {
                let length = mask.to_bits().leading_ones();
                let is_prefix = mask.to_bits().count_ones() == length;
                if is_prefix { Some(length as u8) } else { None }
            }
        }
    }
}

/// A real server with all of its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real {
    /// Under dr and tun the port is the service's, whatever was given; a
    /// mark's reals keep theirs.
    pub id: RealId,
    /// All but local.
    pub forward: ForwardingMethod,
    /// 0 to 2^31 - 1, as the thresholds.
    pub weight: u32,
    pub upper_threshold: u32,
    pub lower_threshold: u32,
    /// Under tun alone.
    pub tunnel: Option<Tunnel>,
}

/// How a real's packets are wrapped up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub kind: TunnelKind,
    /// gue has one.
    pub port: Option<u16>,
    pub checksum: Checksum,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    #[default]
    Off,
    On,
    /// gue's remote checksum offload.
    Remote,
}

/// What `-L` shows and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    pub subject: Subject,
    pub numeric: bool,
    pub exact: bool,
    pub nosort: bool,
    /// Several may be; ipvsadm's order of preference is that of the fields.
    pub stats: bool,
    pub rate: bool,
    pub thresholds: bool,
    pub persistent_conn: bool,
    pub tun_info: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    #[default]
    All,
    Service(ServiceId),
    Connections,
    Timeouts,
    Daemons,
}

/// A command line that means nothing: what ipvsadm says to standard error and
/// how it exits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Usage {
    pub message: String,
    pub status: u8,
    /// `-R` goes on behind such a line.
    pub restore_goes_on: bool,
}

impl Usage {
    pub(super) fn fail(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: 2,
            restore_goes_on: false,
        }
    }

    /// Also for `-R` among the lines that `-R` reads.
    #[must_use]
    pub fn try_help() -> Self {
        Self {
            message: "Try `ipvsadm -h' or 'ipvsadm --help' for more information.".into(),
            status: 255,
            restore_goes_on: false,
        }
    }

    fn misuse(argument: &str, misuse: Misuse) -> Self {
        Self {
            message: format!("{argument}: {}", misuse.text()),
            status: 255,
            restore_goes_on: true,
        }
    }
}

/// Reads the arguments behind the program's name. Names of hosts and ports are
/// looked up by the system's resolver, which may take its time; numbers are
/// not.
pub fn parse(args: &[String]) -> Result<Command, Usage> {
    if args.is_empty() {
        return Ok(Command::List(List::default()));
    }
    let mut scanner = Scanner::new(args);
    let Ok(Some(first)) = scanner.next() else {
        return Err(Usage::try_help());
    };
    let Word::Verb(verb) = first.word else {
        return Err(Usage::try_help());
    };
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        Verb::StartDaemon | Verb::StopDaemon => check_daemon(verb, first.value.as_deref())?,
        _ => {}
    }
    let mut settings = Settings::default();
    loop {
        match scanner.next() {
            Ok(Some(given)) => match given.word {
                Word::Verb(_) => {
                    return Err(Usage::fail(format!("invalid option `{}'", scanner.last)));
                }
                word => settings.take(word, given.value.as_deref())?,
            },
            Ok(None) => break,
            Err(misuse) => return Err(Usage::misuse(scanner.last, misuse)),
        }
    }
    let timeouts = if verb == Verb::Set {
        three_timeouts(&mut scanner)?
    } else {
        [0; 3]
    };
    if let Some(argument) = scanner.others.pop_front() {
        return Err(Usage::fail(format!("unexpected argument {argument}")));
    }
    settings.command(verb, timeouts)
}

fn check_daemon(verb: Verb, state: Option<&str>) -> Result<(), Usage> {
    if matches!(state, Some("master" | "backup")) {
        return Ok(());
    }
    Err(Usage::fail(if verb == Verb::StartDaemon {
        "illegal start-daemon parameter specified"
    } else {
        "illegal start_daemon specified"
    }))
}

fn three_timeouts(scanner: &mut Scanner<'_>) -> Result<[u32; 3], Usage> {
    let others = &mut scanner.others;
    if others.len() < 3 {
        return Err(Usage::fail("--set option requires 3 timeout values"));
    }
    let mut timeouts = [0; 3];
    for (timeout, text) in timeouts.iter_mut().zip(others.drain(..3)) {
        *timeout = seconds(text, 0)?;
    }
    Ok(timeouts)
}

#[cfg(test)]
mod tests;
