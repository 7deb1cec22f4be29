//! How a connection's state follows from its segments: the rules of
//! [`crate::tcp_state`] and [`crate::sctp_state`] as one table for the
//! programs. A table, because each branch of the rules would be a path more
//! for the verifier, in every program that moves states.

use crate::{
    connection_state::ConnectionState,
    sctp_state::{self, Chunk},
    tcp_state::{self, Segment},
    wire::{protocol, sctp},
};

/// Which half of the conversation the director sees a segment in.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// From the client, and the real's segments come by too (nat). IPVS's
    /// INPUT.
    Client,
    /// From the real (nat). IPVS's OUTPUT.
    Real,
    /// From the client, and the real answers it directly (dr, tun). IPVS's
    /// INPUT-ONLY.
    ClientOnly,
}

impl Half {
    const ALL: [Self; 3] = [Self::Client, Self::Real, Self::ClientOnly];
}

/// The table for a packet of `protocol`: 0 to 2 are the TCP halves, in
/// [`Half`]'s order, 3 to 5 the same under `secure_tcp`, 6 to 8 SCTP's. UDP's
/// only state stays in each of them.
#[inline(always)]
#[must_use]
pub const fn table(protocol: u8, half: Half, is_secure: bool) -> u32 {
    let first = if protocol == protocol::SCTP {
        FIRST_SCTP
    } else if is_secure {
        FIRST_SECURE
    } else {
        0
    };
    first + half as u32
}

/// The number of the state after a segment, by one of [`table`]'s tables.
/// `segment` is TCP's flags octet or the type of SCTP's first chunk.
///
/// The low five bits of `state` are looked at, and five bits are what comes
/// back: whoever keeps marks in higher ones puts them back himself. NONE, 0, is
/// where each protocol begins. A state that is not the protocol's stays, as
/// CUT does.
#[inline(always)]
#[must_use]
pub fn next_number(table: u32, segment: u8, state: u32) -> u32 {
    // Beyond the table every type counts as DATA. Arithmetic in the branch's
    // place would be the longer walk for the verifier.
    let segment = if table >= FIRST_SCTP && segment as usize > SEGMENT_MASK {
        sctp::DATA
    } else {
        segment
    };
    let index = (table as usize) << TABLE_SHIFT
        | (segment as usize & SEGMENT_MASK) << SEGMENT_SHIFT
        | (state as usize & STATE_MASK);
    // The mask is the verifier's bound.
    TRANSITIONS[index & (TRANSITIONS.len() - 1)] as u32
}

const FIRST_SECURE: u32 = 3;
const FIRST_SCTP: u32 = 6;
const TABLES_END: u32 = 9;

const STATE_MASK: usize = ConnectionState::MASK as usize;
const SEGMENT_SHIFT: u32 = 5;
/// TCP: FIN, SYN, RST, PSH, ACK. SCTP: every type that has a rule.
const SEGMENT_MASK: usize = 0x1f;
const TABLE_SHIFT: u32 = 10;
/// Room for tables: a power of two, for the mask.
const TABLES: usize = 16;

/// Index: table, segment, state.
static TRANSITIONS: [u8; TABLES << TABLE_SHIFT] = transitions();

const fn transitions() -> [u8; TABLES << TABLE_SHIFT] {
    let mut transitions = [0; TABLES << TABLE_SHIFT];
    let mut index = 0;
    while index < transitions.len() {
        let segment = (index >> SEGMENT_SHIFT & SEGMENT_MASK) as u8;
        let number = (index & STATE_MASK) as u32;
        transitions[index] = next((index >> TABLE_SHIFT) as u32, segment, number) as u8;
        index += 1;
    }
    transitions
}

const fn next(table: u32, segment: u8, number: u32) -> u32 {
    let state = ConnectionState::from_number(number);
    if state as u32 != number {
        return number;
    }
    let half = Half::ALL[table as usize % Half::ALL.len()];
    let next = match table {
        0..FIRST_SCTP => {
            let is_secure = table >= FIRST_SECURE;
            tcp_state::next(half, is_secure, Segment::from_flags(segment), state)
        }
        FIRST_SCTP..TABLES_END => sctp_state::next(half, Chunk::from_type(segment), state),
        _ => state,
    };
    next as u32
}

#[cfg(test)]
mod tests;
