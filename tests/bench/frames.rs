//! Frames as correct senders make them, by etherparse, which shares no code with
//! lbd: what comes in, and what is to come out.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber,
    Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader, UdpHeader,
};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// A frame's two addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Macs {
    pub destination: [u8; 6],
    pub source: [u8; 6],
}

/// What varies in the headers of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headers {
    pub macs: Macs,
    /// Both addresses are of one family.
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv6's flow label; not in IPv4.
    pub label: u32,
    pub transport: Transport,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    Tcp {
        ports: Ports,
        is_syn: bool,
    },
    Udp(Ports),
    /// An echo request.
    Echo,
    /// "Time exceeded" in transit: what follows is the quotation.
    TimeExceeded,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub source: u16,
    pub destination: u16,
}

impl Transport {
    /// Bytes of its header.
    pub(crate) const fn header_bytes(self) -> usize {
        match self {
            Self::Tcp { .. } => TcpHeader::MIN_LEN,
            Self::Udp(_) | Self::Echo | Self::TimeExceeded => UdpHeader::LEN,
        }
    }

    /// The same with other ports.
    pub(crate) fn with_ports(self, ports: Ports) -> Self {
        match self {
            Self::Tcp { is_syn, .. } => Self::Tcp { ports, is_syn },
            Self::Udp(_) => Self::Udp(ports),
            Self::Echo | Self::TimeExceeded => self,
        }
    }
}

/// Bytes of IP's header.
pub(crate) const fn ip_bytes(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => Ipv4Header::MIN_LEN,
        IpAddr::V6(_) => Ipv6Header::LEN,
    }
}

impl Headers {
    /// The datagram, with all checksums.
    pub(crate) fn datagram(&self, data: &[u8]) -> Vec<u8> {
        let (protocol, segment) = self.segment(data);
        ip(
            self.source,
            self.destination,
            self.ttl,
            self.label,
            protocol,
            &segment,
        )
    }

    /// The number of the transport, and its header with what follows it.
    fn segment(&self, data: &[u8]) -> (IpNumber, Vec<u8>) {
        let ends = (self.source, self.destination);
        match self.transport {
            Transport::Tcp { ports, is_syn } => {
                let mut header = TcpHeader::new(ports.source, ports.destination, 1, 65_000);
                header.syn = is_syn;
                header.ack = !is_syn;
                header.acknowledgment_number = u32::from(!is_syn);
                header.checksum = match ends {
                    (IpAddr::V4(from), IpAddr::V4(to)) => {
                        header.calc_checksum_ipv4_raw(from.octets(), to.octets(), data)
                    }
                    (IpAddr::V6(from), IpAddr::V6(to)) => {
                        header.calc_checksum_ipv6_raw(from.octets(), to.octets(), data)
                    }
                    _ => unreachable!("two families in one header: {self:?}"),
                }
                .expect("a short segment");
                (IpNumber::TCP, [&header.to_bytes()[..], data].concat())
            }
            Transport::Udp(ports) => (IpNumber::UDP, self.udp(ports, data)),
            Transport::Echo => self.icmp((8, 128), 0, [0, 7, 0, 1], data),
            Transport::TimeExceeded => self.icmp((11, 3), 0, [0; 4], data),
        }
    }

    fn udp(&self, ports: Ports, data: &[u8]) -> Vec<u8> {
        let mut header = udp_header(ports, data);
        header.checksum = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                header.calc_checksum_ipv4_raw(from.octets(), to.octets(), data)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                header.calc_checksum_ipv6_raw(from.octets(), to.octets(), data)
            }
            _ => unreachable!("two families in one header: {self:?}"),
        }
        .expect("a short datagram");
        [&header.to_bytes()[..], data].concat()
    }

    /// `kinds`: the message's type in ICMP and in ICMPv6.
    fn icmp(
        &self,
        kinds: (u8, u8),
        code_u8: u8,
        bytes5to8: [u8; 4],
        data: &[u8],
    ) -> (IpNumber, Vec<u8>) {
        let (number, header) = match (self.source, self.destination) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let message = Icmpv6Type::Unknown {
                    type_u8: kinds.1,
                    code_u8,
                    bytes5to8,
                };
                let (from, to) = (from.octets(), to.octets());
                let header = Icmpv6Header::with_checksum(message, from, to, data);
                let header = header.expect("a short message");
                (IpNumber::IPV6_ICMP, header.to_bytes().to_vec())
            }
            _ => {
                let message = Icmpv4Type::Unknown {
                    type_u8: kinds.0,
                    code_u8,
                    bytes5to8,
                };
                let header = Icmpv4Header::with_checksum(message, data);
                (IpNumber::ICMP, header.to_bytes().to_vec())
            }
        };
        (number, [header, data.to_vec()].concat())
    }
}

/// A UDP header without a checksum.
pub(crate) fn udp_header(ports: Ports, data: &[u8]) -> UdpHeader {
    UdpHeader {
        source_port: ports.source,
        destination_port: ports.destination,
        length: u16::try_from(UdpHeader::LEN + data.len()).expect("a short datagram"),
        checksum: 0,
    }
}

/// An IP header, DF set, and what follows it.
pub(crate) fn ip(
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    label: u32,
    protocol: IpNumber,
    payload: &[u8],
) -> Vec<u8> {
    let payload_bytes = u16::try_from(payload.len()).expect("a short packet");
    let header = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = Ipv4Header::new(payload_bytes, ttl, protocol, from.octets(), to.octets());
            let mut header = header.expect("a short packet");
            header.dont_fragment = true;
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => Ipv6Header {
            traffic_class: 0,
            flow_label: Ipv6FlowLabel::try_new(label).expect("20 bits"),
            payload_length: payload_bytes,
            next_header: protocol,
            hop_limit: ttl,
            source: from.octets(),
            destination: to.octets(),
        }
        .to_bytes()
        .to_vec(),
        _ => unreachable!("two families in one header: {source}, {destination}"),
    };
    [&header, payload].concat()
}

/// The EtherType of a family.
pub(crate) const fn ether_type(address: IpAddr) -> EtherType {
    match address {
        IpAddr::V4(_) => EtherType::IPV4,
        IpAddr::V6(_) => EtherType::IPV6,
    }
}

/// A datagram in a frame, which is padded to `bytes` where it is shorter.
pub(crate) fn frame(macs: Macs, ether_type: EtherType, datagram: &[u8], bytes: usize) -> Vec<u8> {
    let ethernet = Ethernet2Header {
        source: macs.source,
        destination: macs.destination,
        ether_type,
    };
    let mut frame = [&ethernet.to_bytes()[..], datagram].concat();
    frame.resize(frame.len().max(bytes), 0);
    frame
}
