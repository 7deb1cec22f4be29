//! `lbctl list`: the tables of `ipvsadm -L`, column for column (ipvsadm 1.31),
//! under a version line of our own.

use std::{fmt::Write, net::SocketAddr};

use anyhow::{Context, Result};

use super::{args::ListFlags, names::Names};
use crate::{
    api::wire,
    config::{
        model::{FirewallMark, IpFamily, Protocol, ServiceId, VirtualAddress},
        persistence::dotted,
    },
};

/// ipvsadm cuts IPv4 names at these widths, and no IPv6 names.
const SERVICE_COLUMNS: usize = 33;
const REAL_COLUMNS: usize = 28;

/// The whole table.
pub(super) fn render(
    status: &wire::Status,
    services: &[wire::Service],
    flags: ListFlags,
    names: &mut Names,
) -> Result<String> {
    let version = format!("lbd {} (size={})\n", status.version, capacity(status));
    let table = Table::of(flags);
    Ok(version + &table.rows(services, flags.exact, names)?)
}

/// What a service's line begins with.
fn title_of(service: ServiceId, names: &mut Names) -> String {
    match service {
        ServiceId::Address(VirtualAddress {
            protocol,
            address,
            port,
        }) => {
            let name = names.of(SocketAddr::new(address, port), protocol);
            format!("{:4} {name}", protocol.name().to_uppercase())
        }
        ServiceId::Mark(FirewallMark { mark, family }) => match family {
            IpFamily::V4 => format!("FWM  {mark}"),
            IpFamily::V6 => format!("FWM  {mark} IPv6"),
        },
    }
}

/// ipvsadm's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Plain,
    Stats,
    Rates,
    Thresholds,
    PersistentConnections,
    Tunnels,
}

impl Table {
    /// The table that the flags ask for; they exclude each other.
    const fn of(flags: ListFlags) -> Self {
        if flags.stats {
            Self::Stats
        } else if flags.rate {
            Self::Rates
        } else if flags.thresholds {
            Self::Thresholds
        } else if flags.persistent_conn {
            Self::PersistentConnections
        } else {
            Self::Plain
        }
    }

    /// The title and what is under it, in the order of `services`.
    pub(super) fn rows(
        self,
        services: &[wire::Service],
        exact: bool,
        names: &mut Names,
    ) -> Result<String> {
        let mut text = self.title().to_owned();
        for service in services {
            let id: ServiceId = service.service.parse().map_err(anyhow::Error::msg)?;
            let name = cut(title_of(id, names), SERVICE_COLUMNS, id);
            match self {
                Self::Stats | Self::Rates => {
                    let shown = if self == Self::Stats {
                        service.stats
                    } else {
                        service.rates
                    };
                    let numbers = in_order(shown).map(|number| scaled(number, exact));
                    writeln!(text, "{name:SERVICE_COLUMNS$}{}", numbers.concat())?;
                }
                _ => writeln!(
                    text,
                    "{name} {}{}{}",
                    service.scheduler,
                    scheduler_flags(service),
                    client_flags(service, id.family())
                )?,
            }
            let reals = service.reals.iter().chain(&service.sorry_server);
            // As ipvsadm shows them: who was removed is not there.
            for real in reals.filter(|real| real.listed_weight.is_some()) {
                let name = cut(real_name(id, real, names)?, REAL_COLUMNS, id);
                let cells = self.cells(real, exact);
                writeln!(text, "  -> {name:REAL_COLUMNS$}{cells}")?;
            }
        }
        Ok(text)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Plain => {
                "Prot LocalAddress:Port Scheduler Flags\n  \
                 -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
            }
            Self::Stats => {
                "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  \
                 -> RemoteAddress:Port\n"
            }
            Self::Rates => {
                "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  \
                 -> RemoteAddress:Port\n"
            }
            Self::Tunnels => {
                "Prot LocalAddress:Port Scheduler Flags\n  \
                 -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
            }
            Self::Thresholds => {
                "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  \
                 -> RemoteAddress:Port\n"
            }
            Self::PersistentConnections => {
                "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  \
                 -> RemoteAddress:Port\n"
            }
        }
    }

    /// What stands behind a real's name.
    fn cells(self, real: &wire::Real, exact: bool) -> String {
        let (active, inactive) = (real.active, real.inactive);
        let weight = real.listed_weight.unwrap_or(real.weight);
        match self {
            Self::Plain => format!(
                " {:7} {:<6} {active:<10} {inactive:<10}",
                method(&real.forward),
                weight
            ),
            Self::Stats => in_order(real.stats)
                .map(|number| scaled(number, exact))
                .concat(),
            // ipvsadm scales no more than the bytes.
            Self::Rates => {
                let [connections, incoming, outgoing, bytes @ ..] = in_order(real.rates);
                let bytes = bytes.map(|number| scaled(number, exact)).concat();
                format!(" {connections:>8} {incoming:>8} {outgoing:>8}{bytes}")
            }
            Self::Tunnels => format!(
                " {:7} {:13} {:<6} {active:<10} {inactive:<10}",
                method(&real.forward),
                tunnel_info(real),
                weight
            ),
            Self::Thresholds => format!(
                " {:<10} {:<10} {active:<10} {inactive:<10}",
                real.upper_threshold, real.lower_threshold
            ),
            Self::PersistentConnections => format!(
                " {:<9} {:<11} {active:<10} {inactive:<10}",
                weight, real.persistent
            ),
        }
    }
}

/// What a real is called.
pub(super) fn real_name(of: ServiceId, real: &wire::Real, names: &mut Names) -> Result<String> {
    let socket: SocketAddr = real
        .real
        .parse()
        .with_context(|| format!("real {}", real.real))?;
    // A mark has no protocol: ipvsadm looks its reals' ports up as TCP's.
    Ok(names.of(socket, of.protocol().unwrap_or(Protocol::Tcp)))
}

/// Entries that a connection table has room for.
pub(super) fn capacity(status: &wire::Status) -> u64 {
    let connections = status
        .tables
        .iter()
        .find(|table| table.name.starts_with("connections"));
    connections.map_or(0, |table| table.capacity)
}

fn cut(name: String, columns: usize, of: ServiceId) -> String {
    if of.family() == IpFamily::V6 {
        name
    } else {
        name.chars().take(columns).collect()
    }
}

fn scheduler_flags(service: &wire::Service) -> String {
    if service.scheduler_flags.is_empty() {
        String::new()
    } else {
        format!(" ({})", service.scheduler_flags.join(","))
    }
}

/// Persistence, with the netmask if it is not the whole address, and one
/// packet.
fn client_flags(service: &wire::Service, family: IpFamily) -> String {
    let mut text = String::new();
    if let Some(persistence) = service.persistence {
        text.push_str(&format!(" persistent {}", persistence.timeout_s));
        if let Some(mask) = mask(persistence, family) {
            text.push_str(&format!(" mask {mask}"));
        }
    }
    if service.one_packet {
        text.push_str(" ops");
    }
    text
}

/// The netmask as ipvsadm shows it; none where it is the whole address.
pub(super) fn mask(persistence: wire::Persistence, family: IpFamily) -> Option<String> {
    match family {
        IpFamily::V4 => persistence
            .netmask
            .filter(|length| *length != 32)
            .map(|length| dotted(length).to_string()),
        IpFamily::V6 => persistence
            .netmask_v6
            .filter(|length| *length != 128)
            .map(|length| length.to_string()),
    }
}

/// ipvsadm's words.
fn method(forward: &str) -> &str {
    match forward {
        "dr" => "Route",
        "nat" => "Masq",
        "tun" => "Tunnel",
        "local" => "Local",
        other => other,
    }
}

/// How a tunnel is told: its kind, with gue's port, and whether it has a
/// checksum.
fn tunnel_info(real: &wire::Real) -> String {
    let Some(tunnel) = &real.tunnel else {
        return "n/a".into();
    };
    let checksum = if tunnel.checksum { "+c" } else { "-c" };
    match tunnel.kind.as_str() {
        "gue" => format!("gue:{}:{checksum}", tunnel.port),
        "gre" => format!("gre:{checksum}"),
        kind => kind.to_owned(),
    }
}

/// In the order of the columns.
fn in_order(stats: wire::Stats) -> [u64; 5] {
    let wire::Stats {
        connections,
        in_packets,
        in_bytes,
        out_packets,
        out_bytes,
    } = stats;
    [connections, in_packets, out_packets, in_bytes, out_bytes]
}

/// A counter in nine columns: from 100 million on in thousands, from a billion
/// on in millions, and so on; `exact` takes the columns that it needs.
fn scaled(number: u64, exact: bool) -> String {
    const K: u64 = 1000;
    if exact {
        return format!(" {number:>8}");
    }
    match number {
        0..100_000_000 => format!("{number:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", number / K),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", number / K / K),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", number / K / K / K),
        _ => format!("{:>8}T", number / K / K / K / K),
    }
}

#[cfg(test)]
mod tests;
