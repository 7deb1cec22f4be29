//! The ways of a packet through the data plane: each forwarding method, in
//! each family, with each transport; and what must become of a packet on it.

use lb_daemon::config::model::{
    ForwardingMethod, Protocol, Scheduler::Rr, Service, ServiceId, Tunnel, TunnelKind,
    VirtualAddress,
};

use crate::{
    judge,
    packet::{ACK, DATA, Encapsulation, Header, INIT_ACK, Ip, Outer, Packet, SYN, Transport},
    rig::{LOOPBACK, Rig, service},
    wires::{CLIENT_MAC, OUTSIDE_MAC},
    world::{
        CLIENT, CLIENT_PORT, CLIENT_V6, DATAGRAM, DATAGRAM_V6, EGRESS_MAC, LOCAL, LOCAL_V6, POOL,
        POOL_V6, PORT, REAL, REAL_PORT, REAL_V6, SCTP_INIT, SCTP_INIT_V6, TCP_SYN, TCP_SYN_V6, VIP,
        VIP_V6, mac_of,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Dr,
    /// Of TCP and UDP the port is translated too.
    Nat,
    Tun {
        outer_is_ipv6: bool,
        tunnel: Tunnel,
    },
    Local,
    /// nat with the source translated as well.
    Masquerade,
}

#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub method: Method,
    pub is_ipv6: bool,
    pub protocol: Protocol,
    /// The port that the data plane has given the client in the pool; 0 before
    /// it has.
    pub masquerade_port: u16,
}

pub const IPIP: Tunnel = Tunnel {
    kind: TunnelKind::Ipip,
    port: Tunnel::DEFAULT_PORT,
    checksum: false,
};
pub const GUE: Tunnel = Tunnel {
    kind: TunnelKind::Gue,
    port: 6081,
    checksum: false,
};
pub const GRE: Tunnel = Tunnel {
    kind: TunnelKind::Gre,
    ..IPIP
};

pub const fn summed(tunnel: Tunnel) -> Tunnel {
    Tunnel {
        checksum: true,
        ..tunnel
    }
}

pub const fn tun(tunnel: Tunnel, outer_is_ipv6: bool) -> Method {
    Method::Tun {
        outer_is_ipv6,
        tunnel,
    }
}

impl Way {
    pub const fn new(method: Method, is_ipv6: bool, protocol: Protocol) -> Self {
        Self {
            method,
            is_ipv6,
            protocol,
            masquerade_port: 0,
        }
    }

    const fn either(&self, v4: Ip, v6: Ip) -> Ip {
        if self.is_ipv6 { v6 } else { v4 }
    }

    pub const fn client(&self) -> Ip {
        self.either(CLIENT, CLIENT_V6)
    }

    pub const fn vip(&self) -> Ip {
        self.either(VIP, VIP_V6)
    }

    pub const fn pool(&self) -> Ip {
        self.either(POOL, POOL_V6)
    }

    pub const fn real(&self) -> Ip {
        match self.method {
            Method::Tun {
                outer_is_ipv6: true,
                ..
            } => REAL_V6,
            Method::Tun { .. } => REAL,
            Method::Local => self.either(LOCAL, LOCAL_V6),
            _ => self.either(REAL, REAL_V6),
        }
    }

    /// SCTP's CRC32c forbids another port than the service's.
    pub fn real_port(&self) -> u16 {
        match self.method {
            Method::Nat | Method::Masquerade if self.protocol != Protocol::Sctp => REAL_PORT,
            _ => PORT,
        }
    }

    pub fn service(&self) -> Service {
        let (forward, tunnel) = match self.method {
            Method::Dr => (ForwardingMethod::Dr, Tunnel::default()),
            Method::Nat | Method::Masquerade => (ForwardingMethod::Nat, Tunnel::default()),
            Method::Tun { tunnel, .. } => (ForwardingMethod::Tun, tunnel),
            Method::Local => (ForwardingMethod::Local, Tunnel::default()),
        };
        let id = ServiceId::Address(VirtualAddress {
            protocol: self.protocol,
            address: self.vip(),
            port: PORT,
        });
        let mut service = service(
            &id.to_string(),
            Rr,
            forward,
            self.real_port(),
            &[(self.real(), 1)],
        );
        service.reals[0].tunnel = tunnel;
        if self.method == Method::Masquerade {
            service.masquerade = vec![self.pool()];
        }
        service
    }

    /// A packet that makes a connection.
    pub const fn first(&self) -> Packet {
        match (self.protocol, self.is_ipv6) {
            (Protocol::Tcp, false) => TCP_SYN,
            (Protocol::Tcp, true) => TCP_SYN_V6,
            (Protocol::Udp, false) => DATAGRAM,
            (Protocol::Udp, true) => DATAGRAM_V6,
            (Protocol::Sctp, false) => SCTP_INIT,
            (Protocol::Sctp, true) => SCTP_INIT_V6,
        }
    }

    /// A packet that belongs to the connection of [`Way::first`].
    pub const fn established(&self) -> Packet {
        let first = self.first();
        match first.transport {
            Transport::Tcp(_) => first.with(ACK),
            Transport::Sctp(_) => Packet {
                transport: Transport::Sctp(DATA),
                ..first
            },
            _ => first,
        }
    }

    /// Makes the connection of [`Way::first`], by `lo`.
    #[track_caller]
    pub fn connect(&mut self, rig: &mut Rig) {
        self.connect_at(rig, LOOPBACK);
    }

    /// Likewise, by an interface of this thread's namespace.
    #[track_caller]
    pub fn connect_at(&mut self, rig: &mut Rig, ingress: u32) {
        let out = rig.run_at(ingress, &self.first().frame()).frame;
        if self.method == Method::Masquerade {
            let out = judge::packet(&out);
            assert_eq!(out.ip.source, self.pool());
            assert!(out.source_port >= 1024, "port {}", out.source_port);
            self.masquerade_port = out.source_port;
        }
    }

    /// What the real gets of a client's packet; what a director that is its
    /// own real gets is the packet as it is.
    pub fn there(&self, packet: Packet) -> Packet {
        let sent = Packet {
            to_mac: mac_of(self.real()),
            from_mac: EGRESS_MAC,
            ..packet
        }
        .ttl(packet.ip.ttl - 1);
        match self.method {
            Method::Dr => sent,
            Method::Local => packet,
            Method::Nat => self.translated(sent),
            Method::Masquerade => Packet {
                source_port: self.masquerade_port,
                ip: Header {
                    source: self.pool(),
                    ..self.translated(sent).ip
                },
                ..self.translated(sent)
            },
            Method::Tun { .. } => Packet {
                outer: Some(self.outer(&sent)),
                ..sent
            },
        }
    }

    fn translated(&self, packet: Packet) -> Packet {
        Packet {
            ip: Header {
                destination: self.real(),
                ..packet.ip
            },
            destination_port: self.real_port(),
            ..packet
        }
    }

    /// The tunnel's headers for a packet whose TTL has been decremented.
    pub fn outer(&self, inner: &Packet) -> Outer {
        let Method::Tun {
            outer_is_ipv6,
            tunnel,
        } = self.method
        else {
            panic!("{:?} has no tunnel", self.method)
        };
        let encapsulation = match tunnel.kind {
            TunnelKind::Ipip => Encapsulation::Ip,
            TunnelKind::Gue => Encapsulation::Gue {
                port: tunnel.port,
                checksum: tunnel.checksum,
            },
            TunnelKind::Gre => Encapsulation::Gre {
                checksum: tunnel.checksum,
            },
        };
        let df = !outer_is_ipv6 && (inner.ip.df || self.is_ipv6);
        let copies_id = !outer_is_ipv6 && !df;
        Outer {
            ip: Header {
                source: if outer_is_ipv6 { LOCAL_V6 } else { LOCAL },
                destination: self.real(),
                tos: inner.ip.tos,
                id: if copies_id { inner.ip.id } else { 0 },
                df,
                ttl: inner.ip.ttl,
                label: 0,
            },
            encapsulation,
        }
    }

    /// The longest datagram that fits an MTU once it is on its way.
    pub fn fits(&self, mtu: u16) -> u16 {
        let overhead = match self.method {
            Method::Tun { .. } => self.outer(&self.first()).bytes(),
            _ => 0,
        };
        // What every IPv6 link carries is sent on, come what may (RFC 8200 section 5).
        let least = if self.is_ipv6 { 1280 } else { 68 };
        least.max(mtu - u16::try_from(overhead).unwrap())
    }

    /// The packet that a real under nat sends where its client would send
    /// this one.
    pub fn reply(&self, packet: Packet) -> Packet {
        let (destination, destination_port) = match self.method {
            Method::Masquerade => (self.pool(), self.masquerade_port),
            _ => (packet.ip.source, packet.source_port),
        };
        Packet {
            from_mac: mac_of(self.real()),
            ip: Header {
                source: self.real(),
                destination,
                ..packet.ip
            },
            source_port: self.real_port(),
            destination_port,
            ..packet
        }
    }

    /// The first packet that the real answers with.
    pub fn first_reply(&self) -> Packet {
        match self.protocol {
            Protocol::Sctp => Packet {
                transport: Transport::Sctp(INIT_ACK),
                ..self.reply(self.first())
            },
            Protocol::Tcp => self.reply(self.first().with(SYN | ACK)),
            Protocol::Udp => self.reply(self.first()),
        }
    }

    /// What the client gets of a real's packet.
    pub fn back(&self, reply: Packet) -> Packet {
        let (destination, destination_port) = match self.method {
            Method::Masquerade => (self.client(), CLIENT_PORT),
            _ => (reply.ip.destination, reply.destination_port),
        };
        Packet {
            to_mac: CLIENT_MAC,
            from_mac: OUTSIDE_MAC,
            ip: Header {
                source: self.vip(),
                destination,
                ttl: reply.ip.ttl - 1,
                ..reply.ip
            },
            source_port: PORT,
            destination_port,
            ..reply
        }
    }
}
