//! The decapsulator's program and its maps: `lb-ebpf/src/bin/decap.rs`.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData, PerCpuArray, lpm_trie::LpmTrie},
    programs::Xdp,
};
use lb_common::{addr::Be16, decap::Outcome};

use super::network::Network;
use crate::dataplane::{DataPlaneError, object};

/// The loaded program. Dropping it detaches nothing.
pub struct Decapsulator {
    ebpf: Ebpf,
}

/// Packets since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to the stack without their outer headers.
    pub unwrapped: u64,
    /// Dropped: from a source that is not allowed.
    pub refused: u64,
    /// Dropped: a wrong length or checksum, or no such packet inside.
    pub malformed: u64,
    /// Dropped: marked by congestion, of a sender that does not know ECN.
    pub congested: u64,
}

impl Decapsulator {
    /// Takes tunnelled packets from these networks, and UDP to these ports for
    /// GUE. No network at all allows none.
    pub fn load(from: &[Network], gue_ports: &[u16]) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .load(object::DECAP)
            .context("load the decapsulator")?;
        allow(&mut ebpf, from).context("fill the list of sources")?;
        listen(&mut ebpf, gue_ports).context("fill the list of GUE ports")?;
        let mut decapsulator = Self { ebpf };
        decapsulator
            .program()?
            .load()
            .map_err(|error| DataPlaneError::load("decap", error))?;
        Ok(decapsulator)
    }

    pub fn program(&mut self) -> Result<&mut Xdp> {
        let program = self.ebpf.program_mut("decap");
        Ok(program
            .context("the BPF object has no program decap")?
            .try_into()?)
    }

    pub fn counts(&self) -> Result<Counts> {
        let map = self.ebpf.map("COUNTS");
        let map = map.context("the BPF object has no map COUNTS")?;
        let counts: PerCpuArray<&MapData, u64> = map.try_into()?;
        let of = |outcome: Outcome| -> Result<u64> {
            let per_cpu = counts
                .get(&(outcome as u32), 0)
                .context("read the counts")?;
            Ok(per_cpu.iter().sum())
        };
        Ok(Counts {
            unwrapped: of(Outcome::Unwrapped)?,
            refused: of(Outcome::Refused)?,
            malformed: of(Outcome::Malformed)?,
            congested: of(Outcome::Congested)?,
        })
    }
}

fn allow(ebpf: &mut Ebpf, from: &[Network]) -> Result<()> {
    let map = ebpf.map_mut("ALLOWED");
    let map = map.context("the BPF object has no map ALLOWED")?;
    let mut allowed: LpmTrie<_, [u8; 16], u8> = map.try_into()?;
    for network in from {
        allowed.insert(&network.key(), 1, 0)?;
    }
    Ok(())
}

fn listen(ebpf: &mut Ebpf, gue_ports: &[u16]) -> Result<()> {
    let map = ebpf.map_mut("GUE_PORTS");
    let map = map.context("the BPF object has no map GUE_PORTS")?;
    let mut ports: HashMap<_, u16, u8> = map.try_into()?;
    for port in gue_ports {
        ports.insert(Be16::new(*port).raw(), 1, 0)?;
    }
    Ok(())
}
