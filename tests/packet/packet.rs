//! A packet as a plain value, so that a row of a table reads at a glance: what
//! goes in, and what is expected to come out. Made by etherparse.

use etherparse::{
    Ethernet2Header, IpDscp, IpEcn, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, TcpHeader,
    UdpHeader, ether_type,
};

pub type Mac = [u8; 6];
pub type Ip = [u8; 4];

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// IPv4 with TCP or UDP in an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub to_mac: Mac,
    pub from_mac: Mac,
    /// The tunnel's header, where there is one.
    pub outer: Option<Header>,
    pub ip: Header,
    /// Four-byte words of options in the IP header, all "no operation".
    pub option_words: usize,
    pub transport: Transport,
    pub source_port: u16,
    pub destination_port: u16,
    /// Bytes after the transport header: [`pattern`].
    pub payload: usize,
    /// Bytes in the frame after the datagram.
    pub padding: usize,
}

/// What may vary in an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub source: Ip,
    pub destination: Ip,
    /// DSCP and ECN.
    pub tos: u8,
    pub id: u16,
    pub df: bool,
    pub ttl: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Flags.
    Tcp(u8),
    Udp,
    /// UDP whose sender computed no checksum: 0 on the wire.
    UdpUnsummed,
}

/// The payload of every packet: a shift of it is seen.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|index| (index * 7 + index / 256 + 3) as u8)
        .collect()
}

impl Packet {
    /// Bytes of the datagram: the IP total length.
    pub const fn length(&self) -> usize {
        let transport = match self.transport {
            Transport::Tcp(_) => TcpHeader::MIN_LEN,
            Transport::Udp | Transport::UdpUnsummed => UdpHeader::LEN,
        };
        Ipv4Header::MIN_LEN + self.option_words * 4 + transport + self.payload
    }

    /// The frame, with every length and checksum right.
    ///
    /// # Panics
    /// With an outer header: directors send those, tests do not.
    pub fn frame(&self) -> Vec<u8> {
        assert_eq!(self.outer, None, "tunnelled packets are for comparing");
        let mut frame = Vec::new();
        let ethernet = Ethernet2Header {
            source: self.from_mac,
            destination: self.to_mac,
            ether_type: ether_type::IPV4,
        };
        ethernet.write(&mut frame).unwrap();
        let ip = self.ipv4();
        ip.write_raw(&mut frame).unwrap();
        let payload = pattern(self.payload);
        match self.transport {
            Transport::Tcp(flags) => self.tcp(flags, &ip, &payload).write(&mut frame).unwrap(),
            Transport::Udp | Transport::UdpUnsummed => {
                self.udp(&ip, &payload).write(&mut frame).unwrap();
            }
        }
        frame.extend(payload);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    fn ipv4(&self) -> Ipv4Header {
        let mut header = Ipv4Header {
            dscp: IpDscp::try_new(self.ip.tos >> 2).unwrap(),
            ecn: IpEcn::try_new(self.ip.tos & 3).unwrap(),
            total_len: u16::try_from(self.length()).unwrap(),
            identification: self.ip.id,
            dont_fragment: self.ip.df,
            more_fragments: false,
            fragment_offset: IpFragOffset::ZERO,
            time_to_live: self.ip.ttl,
            protocol: match self.transport {
                Transport::Tcp(_) => IpNumber::TCP,
                Transport::Udp | Transport::UdpUnsummed => IpNumber::UDP,
            },
            header_checksum: 0,
            source: self.ip.source,
            destination: self.ip.destination,
            options: Ipv4Options::try_from([1; 40].split_at(self.option_words * 4).0).unwrap(),
        };
        header.header_checksum = header.calc_header_checksum();
        header
    }

    fn tcp(&self, flags: u8, ip: &Ipv4Header, payload: &[u8]) -> TcpHeader {
        let mut header = TcpHeader::new(self.source_port, self.destination_port, 0x0102_0304, 512);
        header.fin = flags & FIN != 0;
        header.syn = flags & SYN != 0;
        header.rst = flags & RST != 0;
        header.ack = flags & ACK != 0;
        if header.ack {
            header.acknowledgment_number = 0x0506_0708;
        }
        header.checksum = header.calc_checksum_ipv4(ip, payload).unwrap();
        header
    }

    fn udp(&self, ip: &Ipv4Header, payload: &[u8]) -> UdpHeader {
        let (from, to) = (self.source_port, self.destination_port);
        if self.transport == Transport::UdpUnsummed {
            return UdpHeader::without_ipv4_checksum(from, to, payload.len()).unwrap();
        }
        UdpHeader::with_ipv4_checksum(from, to, ip, payload).unwrap()
    }
}
