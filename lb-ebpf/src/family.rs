//! What the two families have apart from each other in the data plane: a
//! table, and stages of their own.

use aya_ebpf::maps::Array;
use lb_common::{
    abi::stage,
    flow::{FlowKeyV4, FlowKeyV6},
    parse::{self, V4, V6},
    table::{Bucket, Entry, FreePlaces},
};

use crate::{
    forward::tun::outer::{Inner, Outer},
    icmp_error::nat::Readdress,
    icmp_reply::message::Reply,
    maps::{
        CONNECTIONS_V4, CONNECTIONS_V6, FREE_V4, FREE_V6, HALF_OPEN_V4, HALF_OPEN_V6, INDEX_V4,
        INDEX_V6,
    },
};

pub trait Family: parse::Family + Inner + Outer + Reply + Readdress {
    /// Value of [`lb_common::abi::Scratch::family`]: what a family's stages
    /// lie behind those of IPv4.
    const NUMBER: u8;
    /// Where a packet of the family begins its way.
    const ENTRY: u32;
    const FRAGMENT: u32 = stage::FRAGMENT_V4 + Self::NUMBER as u32;
    const ICMP_ERROR: u32 = stage::ICMP_ERROR_V4 + Self::NUMBER as u32;
    const ENCAPSULATE: u32 = stage::ENCAPSULATE_V4 + Self::NUMBER as u32;
    const FOLLOW: u32 = stage::FOLLOW_V4 + Self::NUMBER as u32;
    const ARRIVE: u32 = stage::ARRIVE_V4 + Self::NUMBER as u32;
    const OVER: u32 = stage::OVER_V4 + Self::NUMBER as u32;
    const MAKE_ROOM: u32 = stage::MAKE_ROOM_V4 + Self::NUMBER as u32;
    const CONNECT: u32 = stage::CONNECT_V4 + Self::NUMBER as u32;
    const STATELESS: u32 = stage::STATELESS_V4 + Self::NUMBER as u32;
    const RESET: u32 = stage::RESET_V4 + Self::NUMBER as u32;
    const TUNNEL_ERROR: u32 = stage::TUNNEL_ERROR_V4 + Self::NUMBER as u32;

    /// The connection table ([`crate::table`]).
    fn index() -> &'static Array<Bucket>;
    fn entries() -> &'static Array<Entry<Self::Key>>;
    fn free() -> &'static Array<FreePlaces>;
    fn half_open() -> &'static Array<Self::Key>;
}

impl Family for V4 {
    const NUMBER: u8 = 0;
    const ENTRY: u32 = stage::DIRECTOR;

    #[inline(always)]
    fn index() -> &'static Array<Bucket> {
        &INDEX_V4
    }

    #[inline(always)]
    fn entries() -> &'static Array<Entry<FlowKeyV4>> {
        &CONNECTIONS_V4
    }

    #[inline(always)]
    fn free() -> &'static Array<FreePlaces> {
        &FREE_V4
    }

    #[inline(always)]
    fn half_open() -> &'static Array<FlowKeyV4> {
        &HALF_OPEN_V4
    }
}

impl Family for V6 {
    const NUMBER: u8 = 1;
    const ENTRY: u32 = stage::IPV6;

    #[inline(always)]
    fn index() -> &'static Array<Bucket> {
        &INDEX_V6
    }

    #[inline(always)]
    fn entries() -> &'static Array<Entry<FlowKeyV6>> {
        &CONNECTIONS_V6
    }

    #[inline(always)]
    fn free() -> &'static Array<FreePlaces> {
        &FREE_V6
    }

    #[inline(always)]
    fn half_open() -> &'static Array<FlowKeyV6> {
        &HALF_OPEN_V6
    }
}
