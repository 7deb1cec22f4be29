//! What a packet has to become, byte for byte.

use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use etherparse::IpNumber;
use lb_daemon::config::model::Tunnel;

use crate::{
    cases::Method,
    fixture::{HOP_MAC, NEIGHBOUR_MAC, ROUTE_MAC},
    frames::{ETHERNET, Headers, Macs, Ports, ether_type, frame, ip, ip_bytes, udp_header},
    packets::{
        DIRECTOR_MAC, Kind, NAT_PORT, PORT, PORTS, Packet, TTL, answer_from, local, real, vip,
    },
    wrapper::{Outcome, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX},
};

/// The least of GUE's source ports, which are by flow (RFC 6335 section 6).
const FIRST_TUNNEL_PORT: u16 = 49_152;

/// To the next hop of the reals.
const TO_REAL: Macs = Macs {
    destination: HOP_MAC,
    source: DIRECTOR_MAC,
};
/// By the route to the clients.
const TO_CLIENT: Macs = Macs {
    destination: NEIGHBOUR_MAC,
    source: ROUTE_MAC,
};

/// A verdict and a frame.
pub(crate) struct Expected {
    verdict: u32,
    frame: Vec<u8>,
    /// Where the frame has a port that only the program knows.
    tunnel_port_at: Option<usize>,
}

impl Expected {
    /// Of a flow's packet, where the service has this method.
    pub(crate) fn of(method: Method, packet: &Packet, flow: u32) -> Self {
        let headers = packet.headers(flow);
        let to_real = Headers {
            macs: TO_REAL,
            ttl: TTL - 1,
            ..headers
        };
        match packet.kind {
            Kind::NotOurs | Kind::Echo => Self::plain(XDP_PASS, packet.frame(flow)),
            Kind::Denied => Self::plain(XDP_DROP, packet.frame(flow)),
            Kind::Error => Self::sent(packet, flow, &to_real),
            Kind::Back => {
                let to_client = Headers {
                    macs: TO_CLIENT,
                    source: vip(packet.family),
                    transport: headers.transport.with_ports(answer_from(PORT)),
                    ..to_real
                };
                Self {
                    verdict: XDP_REDIRECT,
                    ..Self::sent(packet, flow, &to_client)
                }
            }
            Kind::Beginning | Kind::Established => match method {
                Method::Dr => Self::sent(packet, flow, &to_real),
                Method::Nat => {
                    let ports = Ports {
                        destination: NAT_PORT,
                        ..PORTS
                    };
                    let translated = Headers {
                        destination: real(packet.family),
                        transport: headers.transport.with_ports(ports),
                        ..to_real
                    };
                    Self::sent(packet, flow, &translated)
                }
                Method::Tun | Method::Gue | Method::Gre => {
                    Self::tunnelled(method, packet, &to_real.datagram(&packet.data(flow)))
                }
            },
        }
    }

    fn plain(verdict: u32, frame: Vec<u8>) -> Self {
        Self {
            verdict,
            frame,
            tunnel_port_at: None,
        }
    }

    /// A flow's packet under other headers.
    fn sent(packet: &Packet, flow: u32, headers: &Headers) -> Self {
        let datagram = headers.datagram(&packet.data(flow));
        let ether_type = ether_type(headers.source);
        let frame = frame(headers.macs, ether_type, &datagram, packet.bytes());
        Self::plain(XDP_TX, frame)
    }

    /// A datagram in a tunnel of its own family.
    fn tunnelled(method: Method, packet: &Packet, inner: &[u8]) -> Self {
        let (source, destination) = (local(packet.family), real(packet.family));
        let in_ip = match source {
            IpAddr::V4(_) => IpNumber::IPV4,
            IpAddr::V6(_) => IpNumber::IPV6,
        };
        let (protocol, payload) = match method {
            Method::Gue => {
                let data = [&[0, in_ip.0, 0, 0], inner].concat();
                let ports = Ports {
                    source: FIRST_TUNNEL_PORT,
                    destination: Tunnel::DEFAULT_PORT,
                };
                let udp = udp_header(ports, &data).to_bytes();
                (IpNumber::UDP, [&udp[..], &data].concat())
            }
            Method::Gre => {
                let kind = ether_type(source).0.to_be_bytes();
                (IpNumber::GRE, [&[0, 0], &kind[..], inner].concat())
            }
            _ => (in_ip, inner.to_vec()),
        };
        let outer = ip(source, destination, TTL - 1, 0, protocol, &payload);
        Self {
            verdict: XDP_TX,
            frame: frame(TO_REAL, ether_type(source), &outer, 0),
            tunnel_port_at: (method == Method::Gue).then_some(ETHERNET + ip_bytes(source)),
        }
    }

    /// An error names what differs, and where first.
    pub(crate) fn check(mut self, outcome: &Outcome) -> Result<()> {
        let found = &outcome.frame;
        ensure!(
            outcome.verdict == self.verdict,
            "the verdict is {}, not {}",
            outcome.verdict,
            self.verdict
        );
        ensure!(
            found.len() == self.frame.len(),
            "the frame has {} octets, not {}",
            found.len(),
            self.frame.len()
        );
        if let Some(at) = self.tunnel_port_at {
            let port = u16::from_be_bytes([found[at], found[at + 1]]);
            ensure!(
                port >= FIRST_TUNNEL_PORT,
                "GUE's source port is {port}, below {FIRST_TUNNEL_PORT}"
            );
            self.frame[at..at + 2].copy_from_slice(&found[at..at + 2]);
        }
        let pairs = found.iter().zip(&self.frame);
        for (offset, (found, expected)) in pairs.enumerate() {
            if found != expected {
                bail!(
                    "octet {offset} is {found:02x}, not {expected:02x}: {:02x?}",
                    outcome.frame
                );
            }
        }
        Ok(())
    }
}
