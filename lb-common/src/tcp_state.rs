//! The TCP transitions of IPVS: the tables `tcp_states` and `tcp_states_dos` of
//! `net/netfilter/ipvs/ip_vs_proto_tcp.c` (Linux 6.1), written as rules. It is
//! not RFC 9293's state machine: a director sees segments, not endpoints, and
//! under dr and tun only the client's.

use crate::{
    connection_state::ConnectionState::{
        self, Close, CloseWait, Established, FinWait, LastAck, Listen, None, SynAck, SynRecv,
        SynSent, TimeWait,
    },
    transition::Half,
};

/// What a segment means for the state: the first present of RST, SYN, FIN
/// and ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    Rst,
    Syn,
    Fin,
    Ack,
    /// None of the four: the state stays (IPVS takes such a segment for RST).
    Other,
}

/// Bits of the TCP flags octet (RFC 9293 section 3.1).
pub mod flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

impl Segment {
    #[inline(always)]
    #[must_use]
    pub const fn from_flags(flags: u8) -> Self {
        if flags & flag::RST != 0 {
            Self::Rst
        } else if flags & flag::SYN != 0 {
            Self::Syn
        } else if flags & flag::FIN != 0 {
            Self::Fin
        } else if flags & flag::ACK != 0 {
            Self::Ack
        } else {
            Self::Other
        }
    }
}

/// The state after `segment`; other protocols' states stay. `is_secure`: by the
/// stricter table, `tcp_states_dos`.
#[must_use]
pub const fn next(
    half: Half,
    is_secure: bool,
    segment: Segment,
    state: ConnectionState,
) -> ConnectionState {
    if state as u8 > SynAck as u8 {
        return state;
    }
    if is_secure && let Some(next) = stricter(half, segment, state) {
        return next;
    }
    match segment {
        Segment::Syn => syn(half, state),
        Segment::Fin => fin(half, state),
        Segment::Ack => ack(half, state),
        Segment::Rst => rst(half, state),
        Segment::Other => state,
    }
}

/// Where `tcp_states_dos` differs from `tcp_states`. Under nat a client opens
/// nothing by itself: its ACK leaves SYN_RECV, and SYNACK after the real's SYN,
/// as they are until the real's ACK. Under dr and tun a connection begins in
/// SYNACK, and the client's ACK still opens it.
const fn stricter(half: Half, segment: Segment, state: ConnectionState) -> Option<ConnectionState> {
    match (half, segment, state) {
        (Half::Client, Segment::Syn | Segment::Fin, SynAck)
        | (Half::Client, Segment::Ack, SynRecv | SynAck) => Some(state),
        (Half::Client, Segment::Rst, SynAck) => Some(Close),
        (Half::Real, Segment::Syn, SynRecv | SynAck)
        | (
            Half::ClientOnly,
            Segment::Syn,
            None | FinWait | TimeWait | Close | CloseWait | LastAck | Listen | SynAck,
        ) => Some(SynAck),
        _ => Option::None,
    }
}

const fn syn(half: Half, state: ConnectionState) -> ConnectionState {
    match (half, state) {
        (Half::Real, Established | Listen) => state,
        (Half::Real, SynRecv | SynAck) => SynRecv,
        (Half::Real, _) => SynSent,
        (_, Established | SynSent) => Established,
        _ => SynRecv,
    }
}

const fn fin(half: Half, state: ConnectionState) -> ConnectionState {
    match (half, state) {
        (Half::Real, None | SynRecv | SynAck | CloseWait) => TimeWait,
        (Half::Real | Half::ClientOnly, Established) => FinWait,
        (Half::Real, _) | (Half::ClientOnly, FinWait) => state,
        (_, None) => Close,
        (_, Established) => CloseWait,
        (_, SynRecv | FinWait | TimeWait | SynAck) => TimeWait,
        _ => state,
    }
}

const fn ack(half: Half, state: ConnectionState) -> ConnectionState {
    match (half, state) {
        (_, None | SynRecv | SynAck) | (Half::Real, Listen) => Established,
        (Half::Client | Half::ClientOnly, LastAck) => Close,
        _ => state,
    }
}

const fn rst(half: Half, state: ConnectionState) -> ConnectionState {
    match (half, state) {
        // A client's forged RST must not end a half-open connection: the
        // spoof guard.
        (Half::Real, SynSent | TimeWait)
        | (Half::Client | Half::ClientOnly, SynRecv | LastAck | Listen) => state,
        (Half::Client, SynAck) => SynRecv,
        _ => Close,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rst_comes_before_syn_before_fin_before_ack() {
        assert_eq!(Segment::from_flags(0xff), Segment::Rst);
        assert_eq!(Segment::from_flags(flag::SYN | flag::ACK), Segment::Syn);
        assert_eq!(Segment::from_flags(flag::FIN | flag::ACK), Segment::Fin);
        assert_eq!(Segment::from_flags(0), Segment::Other);
    }
}
