//! The way of health probes that ask a real by its service's address: the programs
//! of `lb-ebpf/src/bin/probe_path.rs` on the interfaces that the probes leave by and
//! their answers come in by. Nothing of it is pinned, and nothing stays when it is
//! dropped.

mod hook;

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap as Table, MapData, MapError, PerCpuArray},
    programs::SchedClassifier,
};
pub use lb_common::probe_path::mark;
use lb_common::{
    addr::Be16,
    probe_path::{self, Outcome},
    real::flag,
};
use tracing::debug;

pub use self::hook::remove_leftovers;
use self::hook::{Direction, Hook};
use super::{DataPlaneError, device::index_of, held_signals::HeldSignals, object};
use crate::config::model::Tunnel;

/// How much later than a probe's timeout its last answers may come: the end of a
/// connection that is closed.
const GRACE: Duration = Duration::from_secs(5);

/// What a probe's TCP socket with a mark has to set as its largest segment
/// (`TCP_MAXSEG`), bytes: into the longest headers of a tunnel it still fits on every
/// path of IPv6 (RFC 8200 section 5). What is too long for the interface is dropped.
pub const MOST_SEGMENT_BYTES: u16 = 1280 - (40 + 12) - (40 + 20);

/// Where the packets of a probe go that bear its mark. Its socket is connected to the
/// real, from another address than the VIP, and is bound before (`bind(2)` to port 0),
/// so that no other probe has its port: answers from one VIP differ in nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Of the real's family.
    pub vip: IpAddr,
    /// Whom the probe's socket is connected to.
    pub real: IpAddr,
    /// tun: how it is wrapped up.
    pub tunnel: Option<Tunnel>,
    /// The probe's.
    pub timeout: Duration,
}

/// Packets since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Probes' that went to their VIP.
    pub redirected: u64,
    /// Probes' that were dropped: with a mark that is nobody's, from the VIP itself,
    /// too long for the tunnel, in fragments.
    pub dropped: u64,
    /// Answers that came back, and errors.
    pub answered: u64,
}

/// The loaded programs, and where they are. Everything belongs to the network
/// namespace of the thread that makes it and, before Linux 6.6, that drops it.
#[derive(Debug)]
pub struct ProbePath {
    /// By interface name. Before the programs: dropping them detaches.
    attached: BTreeMap<String, Attached>,
    ebpf: Ebpf,
}

/// Both programs on one interface.
#[derive(Debug)]
struct Attached {
    index: u32,
    _out: Hook,
    _in: Hook,
}

impl ProbePath {
    /// Loads the programs and attaches them to those of these interfaces that exist.
    /// What a killed daemon has left there is taken away.
    pub fn start(interfaces: &[String]) -> Result<Self, DataPlaneError> {
        let held = HeldSignals::hold();
        let mut ebpf = EbpfLoader::new().load(object::PROBE_PATH)?;
        for direction in Direction::BOTH {
            let name = direction.program();
            program(&mut ebpf, direction)?
                .load()
                .map_err(|error| DataPlaneError::load(name, error))?;
        }
        drop(held);
        let mut path = Self {
            attached: BTreeMap::new(),
            ebpf,
        };
        path.set_interfaces(interfaces)?;
        Ok(path)
    }

    /// Attaches to these and no others. One that does not exist is left out, and one
    /// that was made again gets the programs again, when this is called the next time.
    ///
    /// # Errors
    /// Of the first interface that cannot have them; all others have been seen to.
    pub fn set_interfaces(&mut self, interfaces: &[String]) -> Result<(), DataPlaneError> {
        let wanted: HashSet<&str> = interfaces.iter().map(String::as_str).collect();
        self.attached
            .retain(|name, _| wanted.contains(name.as_str()));
        let mut outcome = Ok(());
        for name in interfaces {
            if let Err(error) = self.attach(name) {
                outcome = outcome.and(Err(error));
            }
        }
        outcome
    }

    fn attach(&mut self, name: &str) -> Result<(), DataPlaneError> {
        let index = index_of(name).map_err(|source| DataPlaneError::Path {
            action: "look up interface",
            path: name.into(),
            source,
        })?;
        if self.attached.get(name).map(|attached| attached.index) == index {
            return Ok(());
        }
        // Gone with its interface.
        self.attached.remove(name);
        let Some(index) = index else {
            debug!(
                interface = name,
                "no such interface: no probes go through it"
            );
            return Ok(());
        };
        let attached = Attached {
            index,
            _in: Hook::attach(&mut self.ebpf, name, Direction::In)?,
            _out: Hook::attach(&mut self.ebpf, name, Direction::Out)?,
        };
        self.attached.insert(name.to_owned(), attached);
        Ok(())
    }

    /// Redirects what has this mark, a [`mark`].
    pub fn insert(&mut self, mark: u32, redirect: Redirect) -> Result<(), DataPlaneError> {
        let entry = probe_path::Redirect::from(&redirect);
        table(&mut self.ebpf)?
            .insert(mark, entry, 0)
            .map_err(map_error)
    }

    /// Packets that have this mark are dropped from now on.
    pub fn remove(&mut self, mark: u32) -> Result<(), DataPlaneError> {
        match table(&mut self.ebpf)?.remove(&mark) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(map_error(error)),
        }
    }

    pub fn counts(&self) -> Result<Counts, DataPlaneError> {
        const NAME: &str = "COUNTS";
        let refused = |source| DataPlaneError::Map { name: NAME, source };
        let map = self.ebpf.map(NAME).ok_or_else(|| missing(NAME))?;
        let counts: PerCpuArray<&MapData, u64> = map.try_into().map_err(refused)?;
        let of = |outcome: Outcome| -> Result<u64, DataPlaneError> {
            let per_cpu = counts.get(&(outcome as u32), 0).map_err(refused)?;
            Ok(per_cpu.iter().sum())
        };
        Ok(Counts {
            redirected: of(Outcome::Redirected)?,
            dropped: of(Outcome::Dropped)?,
            answered: of(Outcome::Answered)?,
        })
    }

    /// One of the programs, for tests.
    pub fn program(&mut self, name: &str) -> Result<&mut SchedClassifier, DataPlaneError> {
        let direction = Direction::BOTH
            .into_iter()
            .find(|direction| direction.program() == name)
            .ok_or_else(|| missing(name))?;
        program(&mut self.ebpf, direction)
    }
}

impl From<&Redirect> for probe_path::Redirect {
    fn from(redirect: &Redirect) -> Self {
        let lifetime = redirect.timeout.saturating_add(GRACE);
        let tunnel = redirect.tunnel.unwrap_or_default();
        Self {
            lifetime_ns: lifetime.as_nanos().try_into().unwrap_or(u64::MAX),
            vip: redirect.vip.into(),
            real: redirect.real.into(),
            tunnel_port: Be16::new(tunnel.port),
            is_tunnel: redirect.tunnel.is_some().into(),
            tunnel: tunnel.kind as u8,
            flags: if tunnel.checksum {
                flag::TUNNEL_CHECKSUM
            } else {
                0
            },
            pad: [0; 3],
        }
    }
}

fn program(ebpf: &mut Ebpf, direction: Direction) -> Result<&mut SchedClassifier, DataPlaneError> {
    let name = direction.program();
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program
        .try_into()
        .map_err(|source| DataPlaneError::Program {
            name: name.to_owned(),
            source,
        })
}

fn table(
    ebpf: &mut Ebpf,
) -> Result<Table<&mut MapData, u32, probe_path::Redirect>, DataPlaneError> {
    let map = ebpf.map_mut(REDIRECTS).ok_or_else(|| missing(REDIRECTS))?;
    map.try_into().map_err(map_error)
}

const REDIRECTS: &str = "REDIRECTS";

fn map_error(source: MapError) -> DataPlaneError {
    DataPlaneError::Map {
        name: REDIRECTS,
        source,
    }
}

fn missing(what: &str) -> DataPlaneError {
    DataPlaneError::Missing(what.to_owned())
}
