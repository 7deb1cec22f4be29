//! Balancing by nftables on the director: destination NAT in `prerouting`, the real
//! picked by a counter (`numgen inc`) or by a hash of the client (`jhash`). Connection
//! tracking does what it does for any NAT.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use lb_tests::topology::Topology;

/// How the real is picked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The next one.
    Numgen,
    /// By client's address and port.
    Jhash,
}

impl Pick {
    /// As the tables have it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Numgen => "nftables numgen".to_owned(),
            Self::Jhash => "nftables jhash".to_owned(),
        }
    }
}

/// Rules that are in place until dropped.
pub(crate) struct Rules<'a> {
    network: &'a Topology,
}

impl<'a> Rules<'a> {
    /// Balances what goes to the VIP by `protocol` (`tcp`, `udp`) and `port`.
    pub(crate) fn put(
        network: &'a Topology,
        pick: Pick,
        protocol: &str,
        port: u16,
        reals: &[Ipv4Addr],
    ) -> Result<Self> {
        let picked = match pick {
            Pick::Numgen => "numgen inc".to_owned(),
            Pick::Jhash => format!("jhash ip saddr . {protocol} sport"),
        };
        let mut map = String::new();
        for (number, real) in reals.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(map, "{comma}{number} : {real}")?;
        }
        let rules = format!(
            "table ip compare {{\n\
             chain balance {{\n\
             type nat hook prerouting priority dstnat; policy accept;\n\
             ip daddr {} {protocol} dport {port} dnat to {picked} mod {} map {{ {map} }}\n\
             }}\n}}\n",
            network.vip(),
            reals.len()
        );
        let path = network.directory().join("compare.nft");
        fs::write(&path, &rules).with_context(|| format!("writing {}", path.display()))?;
        let arguments = ["-f", &path.to_string_lossy()];
        network
            .director
            .run("nft", &arguments)
            .with_context(|| rules)?;
        Ok(Self { network })
    }
}

impl Drop for Rules<'_> {
    fn drop(&mut self) {
        let arguments = ["delete", "table", "ip", "compare"];
        if let Err(error) = self.network.director.run("nft", &arguments) {
            eprintln!("cannot take nftables' rules away: {error:#}");
        }
    }
}
