//! `lbd decap`, the real servers' half of tun: an XDP program that takes the
//! outer headers off packets in IP, GRE or GUE, for kernels and containers
//! without those devices. In the foreground; it detaches when it ends.

mod network;
mod program;

use anyhow::{Context as _, Result};
use lb_common::wire::gue;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

pub use self::{
    network::Network,
    program::{Counts, Decapsulator},
};
use crate::{
    config::model::XdpMode,
    dataplane::{attach, privilege::check_privilege},
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
    /// A UDP port that GUE comes to (repeatable).
    #[arg(
        long,
        value_name = "PORT",
        default_values_t = [gue::PORT],
        value_parser = clap::value_parser!(u16).range(1..),
    )]
    pub gue_port: Vec<u16>,
    /// auto: native, else generic; native; generic.
    #[arg(long, value_name = "MODE", default_value = "auto", value_parser = parse_mode)]
    pub xdp_mode: XdpMode,
}

fn parse_mode(text: &str) -> Result<XdpMode, String> {
    match text {
        "auto" => Ok(XdpMode::Auto),
        "native" => Ok(XdpMode::Native),
        "generic" => Ok(XdpMode::Generic),
        _ => Err("auto, native or generic".into()),
    }
}

/// Attaches and waits for the end; SIGUSR1 has the counts logged meanwhile.
pub async fn run(args: Args) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    let mut report = signal(SignalKind::user_defined1()).context("watch SIGUSR1")?;
    check_privilege()?;
    let mut decapsulator = Decapsulator::load(&sources(args.from), &args.gue_port)?;
    // Dropping a link detaches it.
    let mut links = Vec::new();
    for interface in &args.interface {
        let program = decapsulator.program()?;
        let (link, mode, warning) = attach::attach(program, interface, args.xdp_mode)?;
        if let Some(warning) = warning {
            warn!("{warning}");
        }
        info!(%interface, mode, "decapsulating");
        links.push(link);
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = report.recv() => log(&decapsulator),
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    drop(links);
    info!("detached");
    log(&decapsulator);
    Ok(())
}

/// Without `--from`, everyone.
fn sources(from: Vec<Network>) -> Vec<Network> {
    if !from.is_empty() {
        return from;
    }
    warn!("no --from: tunnelled packets are accepted from any source");
    let everyone = Network::parse("::/0").expect("a network");
    vec![everyone]
}

fn log(decapsulator: &Decapsulator) {
    match decapsulator.counts() {
        Ok(counts) => info!(
            unwrapped = counts.unwrapped,
            refused = counts.refused,
            malformed = counts.malformed,
            congested = counts.congested,
            "packets since the start"
        ),
        Err(error) => warn!("{error:#}"),
    }
}
