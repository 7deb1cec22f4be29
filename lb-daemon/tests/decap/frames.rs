//! Tunnelled packets as plain values, and what is in them. IP, UDP and all sums
//! are etherparse's, which shares no code with lbd; it knows no GUE and GRE, so
//! that these headers are written here byte by byte.

use etherparse::{
    IpDscp, IpEcn, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, UdpHeader,
    checksum::u64_16bit_word,
};

pub const REAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
pub const DIRECTOR_V4: [u8; 4] = [192, 0, 2, 2];
pub const DIRECTOR_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const REAL_V4: [u8; 4] = [192, 0, 2, 3];
const REAL_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
const CLIENT_V4: [u8; 4] = [198, 51, 100, 7];
const CLIENT_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

pub const GUE_PORT: u16 = 6080;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    const fn ethertype(self) -> [u8; 2] {
        match self {
            Self::V4 => [0x08, 0x00],
            Self::V6 => [0x86, 0xdd],
        }
    }

    /// The protocol number of such a packet in another.
    const fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 41,
        }
    }

    pub const fn header_bytes(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

/// What is between the outer IP header and the inner packet.
#[derive(Clone, Debug)]
pub enum Shim {
    Bare,
    Gue {
        port: u16,
        checksum: bool,
        /// Variant, control bit and length.
        first: u8,
        flags: u16,
        /// What the length is of.
        extension: Vec<u8>,
    },
    Gre {
        /// All of the first two bytes.
        flags: u16,
        /// Checksum, key, sequence number: what the flags say.
        fields: Vec<u8>,
    },
}

/// GUE as a director sends it.
pub fn gue(checksum: bool) -> Shim {
    Shim::Gue {
        port: GUE_PORT,
        checksum,
        first: 0,
        flags: 0,
        extension: Vec::new(),
    }
}

/// GRE as a director sends it.
pub fn gre(checksum: bool) -> Shim {
    Shim::Gre {
        flags: if checksum { 0x8000 } else { 0 },
        fields: vec![0; if checksum { 4 } else { 0 }],
    }
}

/// All that directors send.
pub fn shims() -> [(&'static str, Shim); 5] {
    [
        ("bare", Shim::Bare),
        ("gue", gue(false)),
        ("gue with a checksum", gue(true)),
        ("gre", gre(false)),
        ("gre with a checksum", gre(true)),
    ]
}

/// TPID and TCI of each tag.
pub type Tags = &'static [[u8; 4]];
pub const UNTAGGED: Tags = &[];
pub const TAGGED: Tags = &[[0x81, 0x00, 0xa0, 0x0a]];
pub const TWICE_TAGGED: Tags = &[[0x88, 0xa8, 0x00, 0x64], [0x81, 0x00, 0x60, 0x0a]];

#[derive(Clone, Debug)]
pub struct Tunnelled {
    pub tags: Tags,
    pub outer: Family,
    pub outer_ecn: u8,
    pub shim: Shim,
    pub inner: Family,
    pub inner_ecn: u8,
    /// Bytes after the inner UDP header.
    pub payload: usize,
    /// Bytes in the frame after the outer packet.
    pub padding: usize,
}

impl Tunnelled {
    pub fn new(outer: Family, shim: Shim, inner: Family) -> Self {
        Self {
            tags: UNTAGGED,
            outer,
            outer_ecn: 0,
            shim,
            inner,
            inner_ecn: 0,
            payload: 101,
            padding: 0,
        }
    }

    /// The frame as it arrives.
    pub fn frame(&self) -> Vec<u8> {
        let mut payload = self.shim_header();
        payload.extend(self.datagram(self.inner_ecn));
        let protocol = match &self.shim {
            Shim::Bare => self.inner.number(),
            Shim::Gre { flags, .. } => {
                if flags & 0x8000 != 0 {
                    let sum = u64_16bit_word::add_slice(0, &payload);
                    let checksum = u64_16bit_word::ones_complement(sum);
                    payload[4..6].copy_from_slice(&checksum.to_ne_bytes());
                }
                47
            }
            Shim::Gue { port, checksum, .. } => {
                payload = self.udp(*port, *checksum, &payload);
                17
            }
        };
        let mut frame = self.link(self.outer);
        frame.extend(match self.outer {
            Family::V4 => ipv4(DIRECTOR_V4, REAL_V4, self.outer_ecn, protocol, &payload),
            Family::V6 => ipv6(DIRECTOR_V6, REAL_V6, self.outer_ecn, protocol, &payload),
        });
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// The frame as it has to come out, its inner ECN field being `ecn`.
    pub fn unwrapped(&self, ecn: u8) -> Vec<u8> {
        let mut frame = self.link(self.inner);
        frame.extend(self.datagram(ecn));
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// Where the outer IP header is in the frame.
    pub fn network(&self) -> usize {
        14 + self.tags.len() * 4
    }

    /// Where what follows it is.
    pub fn transport(&self) -> usize {
        self.network() + self.outer.header_bytes()
    }

    /// Where the inner packet is.
    pub fn inner_at(&self) -> usize {
        let udp = match self.shim {
            Shim::Gue { .. } => UdpHeader::LEN,
            _ => 0,
        };
        self.transport() + udp + self.shim_header().len()
    }

    fn link(&self, carried: Family) -> Vec<u8> {
        let mut link = [REAL_MAC, [2, 0, 0, 0, 0, 2]].concat();
        link.extend(self.tags.concat());
        link.extend(carried.ethertype());
        link
    }

    fn shim_header(&self) -> Vec<u8> {
        match &self.shim {
            Shim::Bare => Vec::new(),
            Shim::Gue {
                first,
                flags,
                extension,
                ..
            } => {
                let [high, low] = flags.to_be_bytes();
                let mut header = vec![*first, self.inner.number(), high, low];
                header.extend(extension);
                header
            }
            Shim::Gre { flags, fields } => {
                let mut header = flags.to_be_bytes().to_vec();
                header.extend(self.inner.ethertype());
                header.extend(fields);
                header
            }
        }
    }

    fn udp(&self, port: u16, checksum: bool, payload: &[u8]) -> Vec<u8> {
        let mut header = UdpHeader::without_ipv4_checksum(50_001, port, payload.len()).unwrap();
        if checksum {
            header.checksum = match self.outer {
                Family::V4 => header.calc_checksum_ipv4_raw(DIRECTOR_V4, REAL_V4, payload),
                Family::V6 => header.calc_checksum_ipv6_raw(DIRECTOR_V6, REAL_V6, payload),
            }
            .unwrap();
        }
        [&header.to_bytes()[..], payload].concat()
    }

    /// The client's.
    fn datagram(&self, ecn: u8) -> Vec<u8> {
        let payload: Vec<u8> = (0..self.payload)
            .map(|index| (index * 7 + index / 256 + 3) as u8)
            .collect();
        let mut udp = UdpHeader::without_ipv4_checksum(40_000, 53, payload.len()).unwrap();
        let whole = |udp: UdpHeader| [&udp.to_bytes()[..], &payload].concat();
        match self.inner {
            Family::V4 => {
                let sum = udp.calc_checksum_ipv4_raw(CLIENT_V4, REAL_V4, &payload);
                udp.checksum = sum.unwrap();
                ipv4(CLIENT_V4, REAL_V4, ecn, 17, &whole(udp))
            }
            Family::V6 => {
                let sum = udp.calc_checksum_ipv6_raw(CLIENT_V6, REAL_V6, &payload);
                udp.checksum = sum.unwrap();
                ipv6(CLIENT_V6, REAL_V6, ecn, 17, &whole(udp))
            }
        }
    }
}

fn ipv4(source: [u8; 4], destination: [u8; 4], ecn: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut header = Ipv4Header::new(length, 60, IpNumber(protocol), source, destination).unwrap();
    header.dscp = IpDscp::try_new(0x2e).unwrap();
    header.ecn = IpEcn::try_new(ecn).unwrap();
    header.dont_fragment = true;
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

fn ipv6(source: [u8; 16], destination: [u8; 16], ecn: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        traffic_class: 0xb8 | ecn,
        flow_label: Ipv6FlowLabel::try_new(0x5_4321).unwrap(),
        payload_length: u16::try_from(payload.len()).unwrap(),
        next_header: IpNumber(protocol),
        hop_limit: 60,
        source,
        destination,
    };
    [&header.to_bytes()[..], payload].concat()
}

/// Makes the checksum of the IPv4 header at `network` right after a change.
pub fn sum_ipv4(frame: &mut [u8], network: usize) {
    frame[network + 10..network + 12].fill(0);
    let header_bytes = usize::from(frame[network] & 0x0f) * 4;
    let header = &frame[network..network + header_bytes];
    let checksum = u64_16bit_word::ones_complement(u64_16bit_word::add_slice(0, header));
    frame[network + 10..network + 12].copy_from_slice(&checksum.to_ne_bytes());
}
