//! `lbd decap`, the real servers' half of tun: an XDP program that takes the
//! outer header off IPIP and IP6IP6 packets, for kernels and containers
//! without the ipip device. In the foreground; it detaches when it ends.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::{
    EbpfLoader,
    maps::lpm_trie::{Key, LpmTrie},
    programs::Xdp,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::{
    config::model::XdpMode,
    dataplane::{DataPlaneError, attach, object, privilege::check_privilege},
};

/// What `lbd decap` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The interface that tunnelled packets come in by.
    #[arg(long, value_name = "IF", required = true)]
    pub interface: Vec<String>,
    /// Accept outer sources in this network only: the directors' (repeatable).
    #[arg(long, value_name = "CIDR", value_parser = Network::parse)]
    pub from: Vec<Network>,
    /// auto: native, else generic; native; generic.
    #[arg(long, value_name = "MODE", default_value = "auto", value_parser = parse_mode)]
    pub xdp_mode: XdpMode,
}

/// An address with a prefix length, both within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `10.0.0.0/24`, or an address alone.
    pub fn parse(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is not a network such as 10.0.0.0/24 or 2001:db8::/32");
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix
            .map_or(Ok(longest), str::parse)
            .map_err(|_| error())?;
        if prefix > longest {
            return Err(error());
        }
        Ok(Self { address, prefix })
    }

    /// The key of the allow list, in which IPv4 networks are mapped ones.
    fn key(self) -> Key<[u8; 16]> {
        match self.address {
            IpAddr::V4(v4) => Key::new(96 + u32::from(self.prefix), v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => Key::new(u32::from(self.prefix), v6.octets()),
        }
    }
}

fn parse_mode(text: &str) -> Result<XdpMode, String> {
    match text {
        "auto" => Ok(XdpMode::Auto),
        "native" => Ok(XdpMode::Native),
        "generic" => Ok(XdpMode::Generic),
        _ => Err("auto, native or generic".into()),
    }
}

/// Attaches and waits for the end.
pub async fn run(args: Args) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    check_privilege()?;
    let mut ebpf = EbpfLoader::new()
        .load(object::DECAP)
        .context("load the decapsulator")?;
    allow(&mut ebpf, &args.from)?;
    let program: &mut Xdp = ebpf
        .program_mut("decap")
        .context("the BPF object has no program decap")?
        .try_into()?;
    program
        .load()
        .map_err(|error| DataPlaneError::load("decap", error))?;
    // Dropping a link detaches it.
    let mut links = Vec::new();
    for interface in &args.interface {
        let (link, mode, warning) = attach::attach(program, interface, args.xdp_mode)?;
        if let Some(warning) = warning {
            warn!("{warning}");
        }
        info!(%interface, mode, "decapsulating");
        links.push(link);
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    info!("detached");
    Ok(())
}

/// Fills the list of outer sources; without `--from`, everyone.
fn allow(ebpf: &mut aya::Ebpf, from: &[Network]) -> Result<()> {
    let map = ebpf
        .map_mut("ALLOWED")
        .context("the BPF object has no map ALLOWED")?;
    let mut allowed: LpmTrie<_, [u8; 16], u8> = map.try_into()?;
    if from.is_empty() {
        warn!("no --from: tunnelled packets are accepted from any source");
        allowed
            .insert(&Key::new(0, [0; 16]), 1, 0)
            .context("fill the list of sources")?;
    }
    for network in from {
        allowed
            .insert(&network.key(), 1, 0)
            .context("fill the list of sources")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for text in [
            "10.0.0.0/24",
            "10.0.0.1",
            "::/0",
            "2001:db8::/32",
            "0.0.0.0/0",
        ] {
            Network::parse(text).unwrap();
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "2001:db8::/129",
            "10.0.0.1/x",
        ] {
            assert!(
                Network::parse(text)
                    .unwrap_err()
                    .contains("is not a network"),
                "{text}"
            );
        }
    }
}
