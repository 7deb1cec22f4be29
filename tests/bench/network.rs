//! A network namespace for the director, with a way back to every client: a veth
//! pair and default routes through neighbours that are always there.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// The clients' router's MAC address, and the director's on the way there.
pub(crate) const NEIGHBOUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
pub(crate) const ROUTE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 8];

/// Puts this thread into it.
pub(crate) fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
    let commands = [
        "link set lo up",
        "link add back address 02:00:00:00:00:08 type veth peer name far",
        "link set back up",
        "link set far up",
        "address add 10.0.1.1/24 dev back",
        "neighbour add 10.0.1.254 lladdr 02:00:00:00:00:09 dev back nud permanent",
        "route add default via 10.0.1.254",
        "address add 2001:db8:e::1/64 dev back nodad",
        "neighbour add 2001:db8:e::fe lladdr 02:00:00:00:00:09 dev back nud permanent",
        "route add default via 2001:db8:e::fe",
    ];
    for command in commands {
        let status = Command::new("ip")
            .args(command.split(' '))
            .status()
            .context("run ip")?;
        ensure!(status.success(), "ip {command}");
    }
    for interface in ["all", "lo", "back"] {
        for family in ["ipv4", "ipv6"] {
            let path = format!("/proc/sys/net/{family}/conf/{interface}/forwarding");
            std::fs::write(&path, "1").with_context(|| path)?;
        }
    }
    Ok(())
}
