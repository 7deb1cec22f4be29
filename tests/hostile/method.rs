//! The forwarding methods that packets run through, one after the other, and
//! the services of each, as a configuration would have them.

use std::fmt::Write as _;

use crate::world::{
    FAMILIES, Family, POOL, PORT, QUIESCED_PORT, REAL_PORT, REALS, RIVAL_PORT, pool, real, vip,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Dr,
    Nat,
    Masquerade,
    Tun(Encapsulation),
    Local,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    Ipip,
    Gue,
    Gre,
}

/// How one real has its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub encapsulation: Encapsulation,
    pub port: u16,
    pub checksum: bool,
}

impl Method {
    pub const ALL: [Self; 7] = [
        Self::Dr,
        Self::Nat,
        Self::Masquerade,
        Self::Tun(Encapsulation::Ipip),
        Self::Tun(Encapsulation::Gue),
        Self::Tun(Encapsulation::Gre),
        Self::Local,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Dr => "dr",
            Self::Nat => "nat",
            Self::Masquerade => "masquerade",
            Self::Tun(Encapsulation::Ipip) => "tun-ipip",
            Self::Tun(Encapsulation::Gue) => "tun-gue",
            Self::Tun(Encapsulation::Gre) => "tun-gre",
            Self::Local => "local",
        }
    }

    /// The tunnel to the real at a place of the service: all but the first
    /// with a checksum.
    pub const fn tunnel(self, index: usize) -> Option<Tunnel> {
        let Self::Tun(encapsulation) = self else {
            return None;
        };
        let port = if index == 2 { 6081 } else { 6080 };
        Some(Tunnel {
            encapsulation,
            port,
            checksum: index > 0 && !matches!(encapsulation, Encapsulation::Ipip),
        })
    }

    /// Whether tunnels have a source address by flow.
    pub const fn spreads_sources(self) -> bool {
        matches!(self, Self::Tun(Encapsulation::Gre))
    }

    pub const fn translates(self) -> bool {
        matches!(self, Self::Nat | Self::Masquerade)
    }

    /// Transport protocols that it has services of. SCTP cannot be translated
    /// to another port.
    pub const fn protocols(self) -> &'static [&'static str] {
        match self {
            Self::Masquerade => &["tcp", "udp"],
            _ => &["tcp", "udp", "sctp"],
        }
    }

    /// `lbd.toml` with all its services.
    pub fn configuration(self) -> String {
        let mut text = "[director]\ninterfaces = [\"lo\"]\n".to_owned();
        for family in FAMILIES {
            for protocol in self.protocols() {
                self.service(&mut text, family, protocol, PORT, 1);
            }
            if self != Self::Local {
                self.service(&mut text, family, "tcp", QUIESCED_PORT, 0);
                self.service(&mut text, family, "tcp", RIVAL_PORT, 1);
            }
        }
        text
    }

    /// One service. In tunnels its reals are of both families.
    fn service(self, text: &mut String, family: Family, protocol: &str, port: u16, weight: u32) {
        let forward = match self {
            Self::Dr => "dr",
            Self::Nat | Self::Masquerade => "nat",
            Self::Tun(_) => "tun",
            Self::Local => "local",
        };
        let address = vip(family);
        let _ = write!(
            text,
            "[[service]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\nport = {port}\n\
             scheduler = \"rr\"\nforward = \"{forward}\"\n"
        );
        if self == Self::Masquerade {
            let pool: Vec<_> = (0..POOL)
                .map(|index| pool(family, index).to_string())
                .collect();
            let _ = writeln!(text, "masquerade = {pool:?}");
        }
        let families: &[Family] = if matches!(self, Self::Tun(_)) {
            &FAMILIES
        } else {
            &[family]
        };
        let reals = if self == Self::Local { 1 } else { REALS };
        for family in families {
            for index in 0..reals {
                let address = real(*family, index);
                let _ = write!(
                    text,
                    "[[service.real]]\naddress = \"{address}\"\nweight = {weight}\n"
                );
                if self.translates() && protocol != "sctp" {
                    let _ = writeln!(text, "port = {REAL_PORT}");
                }
                if let Some(Tunnel {
                    encapsulation,
                    port,
                    checksum,
                }) = self.tunnel(index)
                {
                    let tunnel = match encapsulation {
                        Encapsulation::Ipip => "type = \"ipip\"".to_owned(),
                        Encapsulation::Gue => {
                            format!("type = \"gue\", port = {port}, checksum = {checksum}")
                        }
                        Encapsulation::Gre => format!("type = \"gre\", checksum = {checksum}"),
                    };
                    let _ = writeln!(text, "tunnel = {{ {tunnel} }}");
                }
            }
        }
    }
}
