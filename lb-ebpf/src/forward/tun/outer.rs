//! The outer IP header, and what it takes from the inner one.

use lb_common::{
    addr::{Addr, Be16},
    checksum,
    parse::{Family, V4, V6},
    wire::{
        ipv4::{DF, Ipv4},
        ipv6::Ipv6,
    },
};

/// What the inner header passes on.
pub struct Fields {
    /// DSCP and ECN: RFC 2983 section 4.1, RFC 6040 section 4.1, normal mode.
    traffic_class: u8,
    ttl: u8,
    /// RFC 2003 section 3.1: DF is copied; IPv6 is never fragmented on its way.
    df: u16,
    /// 0 with DF (RFC 6864).
    identification: Be16,
}

/// A family as the payload of a tunnel.
pub trait Inner: Family {
    fn fields(header: &Self::Header) -> Fields;
}

/// A family as a tunnel.
pub trait Outer: Family {
    /// `length` is the whole packet's, `protocol` that of what follows.
    fn outer(fields: &Fields, ends: &Ends, length: u16, protocol: u8) -> Self::Header;
}

/// The tunnel's addresses.
pub struct Ends {
    pub source: Addr,
    pub destination: Addr,
}

impl Ends {
    /// The addresses' part of a pseudo header's sum.
    #[inline(always)]
    pub fn sum(&self) -> u64 {
        checksum::of_address(self.source) + checksum::of_address(self.destination)
    }
}

impl Inner for V4 {
    #[inline(always)]
    fn fields(header: &Ipv4) -> Fields {
        let df = header.fragment.get() & DF;
        Fields {
            traffic_class: header.tos,
            ttl: header.ttl,
            df,
            identification: if df == 0 {
                header.identification
            } else {
                Be16::new(0)
            },
        }
    }
}

impl Inner for V6 {
    #[inline(always)]
    fn fields(header: &Ipv6) -> Fields {
        Fields {
            traffic_class: header.traffic_class(),
            ttl: header.hop_limit,
            df: DF,
            identification: Be16::new(0),
        }
    }
}

impl Outer for V4 {
    #[inline(always)]
    fn outer(fields: &Fields, ends: &Ends, length: u16, protocol: u8) -> Ipv4 {
        let mut header = Ipv4 {
            version_ihl: 0x45,
            tos: fields.traffic_class,
            total_length: Be16::new(length),
            identification: fields.identification,
            fragment: Be16::new(fields.df),
            ttl: fields.ttl,
            protocol,
            checksum: 0,
            source: ends.source.v4(),
            destination: ends.destination.v4(),
        };
        header.fill_checksum();
        header
    }
}

impl Outer for V6 {
    #[inline(always)]
    fn outer(fields: &Fields, ends: &Ends, length: u16, protocol: u8) -> Ipv6 {
        Ipv6 {
            version_class_flow: Ipv6::first_word(fields.traffic_class),
            payload_length: Be16::new(length - Self::HEADER_BYTES),
            next_header: protocol,
            hop_limit: fields.ttl,
            source: ends.source.0,
            destination: ends.destination.0,
        }
    }
}
