//! IPv6 extension headers (RFC 8200 section 4), as a list that can stand in a
//! constant.

use std::fmt;

/// One extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop options: padding, and how many 8-octet units it has beyond
    /// the first.
    HopByHop(u8),
    /// Destination options, likewise.
    Destination(u8),
    /// A routing header of the experimental type 253 (RFC 4727) with no
    /// segments left, likewise.
    Routing(u8),
    /// An authentication header (RFC 4302) of 24 bytes.
    Authentication,
    /// Where the fragment header is. Which part of what follows it is there
    /// says [`crate::packet::Packet::part`].
    Fragment,
}

/// Numbers of the headers, as "next header" has them.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

impl Extension {
    pub const fn number(self) -> u8 {
        match self {
            Self::HopByHop(_) => HOP_BY_HOP,
            Self::Destination(_) => DESTINATION,
            Self::Routing(_) => ROUTING,
            Self::Authentication => AUTHENTICATION,
            Self::Fragment => FRAGMENT,
        }
    }

    /// The header as it stands before a header of number `next`.
    ///
    /// # Panics
    /// For the fragment header: its contents are the packet's.
    pub fn bytes(self, next: u8) -> Vec<u8> {
        let mut bytes = vec![next];
        match self {
            Self::HopByHop(more) | Self::Destination(more) => {
                let padding = 4 + 8 * more;
                // PadN, RFC 8200 section 4.2.
                bytes.extend([more, 1, padding]);
                bytes.resize(bytes.len() + usize::from(padding), 0);
            }
            Self::Routing(more) => {
                bytes.extend([more, 253, 0]);
                bytes.resize(8 + 8 * usize::from(more), 0);
            }
            Self::Authentication => {
                bytes.extend([4, 0, 0]);
                bytes.extend((0..20).map(|index| 0xa0 + index));
            }
            Self::Fragment => panic!("a fragment header has no contents of its own"),
        }
        bytes
    }

    /// Takes a header other than the fragment header off `bytes`: what it is,
    /// the number of the next, and the rest. None where `number` is no
    /// extension header's.
    ///
    /// # Panics
    /// Where it is not, to the byte, one that [`Extension::bytes`] makes.
    pub fn read(number: u8, bytes: &[u8]) -> Option<(Self, u8, &[u8])> {
        let extension = match number {
            HOP_BY_HOP => Self::HopByHop(bytes[1]),
            DESTINATION => Self::Destination(bytes[1]),
            ROUTING => Self::Routing(bytes[1]),
            AUTHENTICATION => Self::Authentication,
            _ => return None,
        };
        let next = bytes[0];
        let expected = extension.bytes(next);
        let (header, rest) = bytes.split_at(expected.len());
        assert_eq!(header, expected, "{extension:?} changed");
        Some((extension, next, rest))
    }
}

/// Longest chain: one header more than the data plane follows, and a spare.
const LONGEST: usize = 10;

/// Extension headers in their order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    headers: [Option<Extension>; LONGEST],
}

impl Chain {
    pub const EMPTY: Self = Self::of(&[]);

    /// # Panics
    /// With more than ten headers.
    pub const fn of(list: &[Extension]) -> Self {
        let mut headers = [None; LONGEST];
        let mut index = 0;
        while index < list.len() {
            headers[index] = Some(list[index]);
            index += 1;
        }
        Self { headers }
    }

    pub fn list(&self) -> Vec<Extension> {
        self.headers.iter().flatten().copied().collect()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list().fmt(f)
    }
}
