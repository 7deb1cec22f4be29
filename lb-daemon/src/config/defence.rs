//! `[defence]`: what lbd does when more comes than it can take, and whom it
//! lets in.

use std::net::IpAddr;

/// `[defence]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defence {
    /// Random half-open entries go when a connection table is nearly full.
    pub drop_entry: Strategy,
    /// One in so many new connections is dropped.
    pub drop_packet: Strategy,
    /// The stricter table of TCP states.
    pub secure_tcp: Strategy,
    /// dr and tun: a SYN leaves no entry.
    pub stateless: Strategy,
    /// None: no limit.
    pub rate_limit: Option<SourceLimit>,
    /// Networks, with the prefix's length, whose packets are dropped. Unique.
    pub deny: Vec<(IpAddr, u8)>,
    /// Empty: everybody; else nobody but these. Unique, none of them in
    /// `deny`.
    pub allow: Vec<(IpAddr, u8)>,
}

/// When a defence is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Off,
    /// By the fill of the tables and memory.
    Auto,
    On,
}

/// New connections a second that one source network may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimit {
    pub per_source: u32,
    /// Length of the prefix that makes an IPv4 source, 1 to 32.
    pub netmask: u8,
    /// The same of IPv6, 1 to 128.
    pub netmask_v6: u8,
    /// As many may come at once.
    pub burst: u32,
}

/// New connections a second that a service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub connections: u32,
    /// As many may come at once.
    pub burst: u32,
}

/// Highest rate and burst: more than a machine can make.
pub const MAX_RATE: u32 = 1_000_000_000;

/// The burst where none is given.
#[must_use]
pub const fn default_burst(rate: u32) -> u32 {
    rate.saturating_mul(2)
}

impl Default for Defence {
    fn default() -> Self {
        Self {
            drop_entry: Strategy::Auto,
            drop_packet: Strategy::Auto,
            secure_tcp: Strategy::Off,
            stateless: Strategy::Auto,
            rate_limit: None,
            deny: Vec::new(),
            allow: Vec::new(),
        }
    }
}

impl Strategy {
    pub const ALL: [Self; 3] = [Self::Off, Self::Auto, Self::On];

    /// As in `lbd.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Auto => "auto",
            Self::On => "on",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}
