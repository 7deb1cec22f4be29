//! One question to a real, and what its answer means.

use std::net::SocketAddr;

use crate::config::{
    health::Probe,
    model::{RealId, ServiceId},
};

/// Whom a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub service: ServiceId,
    pub real: RealId,
    /// The real's address, with the check's port.
    pub address: SocketAddr,
    /// On the probe's packets (`SO_MARK`); none: they go as any other's.
    pub mark: Option<u32>,
}

/// What an answer, or the lack of one, means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The real is well, and may say how much it takes.
    Up(Option<Load>),
    /// Why it is not, in a few words, without addresses.
    Down(String),
}

/// What a real says of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// This weight, instead of the configured one.
    Weight(u32),
    /// So much of the configured one.
    Percent(u32),
    /// No new connections.
    Drain,
    /// As configured.
    Ready,
}

/// A [`Probe`] made ready to be asked again and again.
#[derive(Debug)]
pub struct Prober {
    probe: Probe,
}

impl Prober {
    /// # Errors
    /// What of the probe this host cannot do.
    pub fn new(probe: Probe) -> Result<Self, String> {
        Ok(Self { probe })
    }

    /// Asks once. Without a limit of time: dropping it takes back all it began.
    pub async fn ask(&self, target: &Target) -> Outcome {
        let _ = (&self.probe, target);
        std::future::ready(Outcome::Up(None)).await
    }
}
