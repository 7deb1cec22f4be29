//! The states of a connection and the TCP transitions of IPVS: the three
//! tables of `net/netfilter/ipvs/ip_vs_proto_tcp.c` (Linux 6.1), written as
//! rules. It is not RFC 9293's state machine: a director sees segments, not
//! endpoints, and under dr and tun only the client's.

/// State of a connection entry. The number is stored in the entry and
/// indexes [`crate::abi::Settings::timeouts_s`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    None = 0,
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait = 4,
    TimeWait = 5,
    Close = 6,
    CloseWait = 7,
    LastAck = 8,
    Listen = 9,
    SynAck = 10,
    Udp = 11,
    Sctp = 12,
}

use ConnectionState::{
    Close, CloseWait, Established, FinWait, LastAck, Listen, None, Sctp, SynAck, SynRecv, SynSent,
    TimeWait, Udp,
};

impl ConnectionState {
    pub const ALL: [Self; 13] = [
        None,
        Established,
        SynSent,
        SynRecv,
        FinWait,
        TimeWait,
        Close,
        CloseWait,
        LastAck,
        Listen,
        SynAck,
        Udp,
        Sctp,
    ];

    /// The state stored as `number`; an unknown number reads as [`None`].
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Established,
            2 => SynSent,
            3 => SynRecv,
            4 => FinWait,
            5 => TimeWait,
            6 => Close,
            7 => CloseWait,
            8 => LastAck,
            9 => Listen,
            10 => SynAck,
            11 => Udp,
            12 => Sctp,
            _ => None,
        }
    }

    /// Counted as an active connection of its real: `tcp_state_active_table`.
    #[inline(always)]
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Established | SynSent | SynRecv | SynAck | Sctp)
    }

    /// As `ipvsadm -Lc` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            None => "NONE",
            Established => "ESTABLISHED",
            SynSent => "SYN_SENT",
            SynRecv => "SYN_RECV",
            FinWait => "FIN_WAIT",
            TimeWait => "TIME_WAIT",
            Close => "CLOSE",
            CloseWait => "CLOSE_WAIT",
            LastAck => "LAST_ACK",
            Listen => "LISTEN",
            SynAck => "SYNACK",
            Udp => "UDP",
            Sctp => "SCTP",
        }
    }

    /// IPVS's timeout, seconds.
    #[must_use]
    pub const fn default_timeout_s(self) -> u32 {
        match self {
            Established | Sctp => 900,
            SynSent | FinWait | TimeWait | Listen | SynAck => 120,
            SynRecv | CloseWait => 60,
            Close => 10,
            LastAck => 30,
            Udp => 300,
            // IPVS gives NONE two seconds.
            None => 2,
        }
    }
}

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

/// Which half of the conversation the director sees the segment in.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// From the client, and the real's segments come by too (nat).
    Client,
    /// From the real (nat).
    Real,
    /// From the client, and the real answers it directly (dr, tun).
    ClientOnly,
}

/// The state after `segment`.
#[inline(always)]
#[must_use]
pub const fn next(half: Half, segment: Segment, state: ConnectionState) -> ConnectionState {
    match segment {
        Segment::Syn => syn(half, state),
        Segment::Fin => fin(half, state),
        Segment::Ack => ack(half, state),
        Segment::Rst => rst(half, state),
        Segment::Other => state,
    }
}

/// [`next`] for the program: states as numbers, the flags octet as it is. A
/// table, because each branch of the rules would be a path more for the
/// verifier, in every program that moves states.
#[inline(always)]
#[must_use]
pub fn next_number(half: Half, flags: u8, state: u32) -> u32 {
    let index = (half as usize) << HALF_SHIFT
        | ((flags & FLAGS_MASK) as usize) << FLAGS_SHIFT
        | (state as usize & STATE_MASK);
    TRANSITIONS[index & (TRANSITIONS.len() - 1)] as u32
}

/// As [`ConnectionState::is_active`], of a number.
#[inline(always)]
#[must_use]
pub const fn is_active_number(state: u32) -> bool {
    ACTIVE >> (state & 31) & 1 != 0
}

const STATE_MASK: usize = 0xf;
const FLAGS_SHIFT: u32 = 4;
/// FIN, SYN, RST, PSH, ACK.
const FLAGS_MASK: u8 = 0x1f;
const HALF_SHIFT: u32 = 9;

/// Index: half, flags, state.
static TRANSITIONS: [u8; 2048] = transitions();

const ACTIVE: u32 = {
    let mut mask = 0;
    let mut number = 0;
    while number < ConnectionState::ALL.len() {
        if ConnectionState::ALL[number].is_active() {
            mask |= 1 << ConnectionState::ALL[number] as u32;
        }
        number += 1;
    }
    mask
};

const fn transitions() -> [u8; 2048] {
    let mut table = [0; 2048];
    let mut index = 0;
    while index < table.len() {
        let half = match index >> HALF_SHIFT {
            0 => Half::Client,
            1 => Half::Real,
            _ => Half::ClientOnly,
        };
        let flags = (index >> FLAGS_SHIFT) as u8 & FLAGS_MASK;
        let state = ConnectionState::from_number((index & STATE_MASK) as u32);
        table[index] = next(half, Segment::from_flags(flags), state) as u8;
        index += 1;
    }
    table
}

#[inline(always)]
const fn syn(half: Half, state: ConnectionState) -> ConnectionState {
    match (half, state) {
        (Half::Real, Established | Listen) => state,
        (Half::Real, SynRecv | SynAck) => SynRecv,
        (Half::Real, _) => SynSent,
        (_, Established | SynSent) => Established,
        _ => SynRecv,
    }
}

#[inline(always)]
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

#[inline(always)]
const fn ack(half: Half, state: ConnectionState) -> ConnectionState {
    match (half, state) {
        (_, None | SynRecv | SynAck) | (Half::Real, Listen) => Established,
        (Half::Client | Half::ClientOnly, LastAck) => Close,
        _ => state,
    }
}

#[inline(always)]
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

    /// The tables of ip_vs_proto_tcp.c in its own column order: NO ES SS SR
    /// FW TW CL CW LA LI SA.
    fn state(code: &str) -> ConnectionState {
        match code {
            "NO" => None,
            "ES" => Established,
            "SS" => SynSent,
            "SR" => SynRecv,
            "FW" => FinWait,
            "TW" => TimeWait,
            "CL" => Close,
            "CW" => CloseWait,
            "LA" => LastAck,
            "LI" => Listen,
            "SA" => SynAck,
            _ => panic!("{code}"),
        }
    }

    const COLUMNS: &str = "NO ES SS SR FW TW CL CW LA LI SA";
    const TABLES: [(Half, Segment, &str); 12] = [
        (
            Half::Client,
            Segment::Syn,
            "SR ES ES SR SR SR SR SR SR SR SR",
        ),
        (
            Half::Client,
            Segment::Fin,
            "CL CW SS TW TW TW CL CW LA LI TW",
        ),
        (
            Half::Client,
            Segment::Ack,
            "ES ES SS ES FW TW CL CW CL LI ES",
        ),
        (
            Half::Client,
            Segment::Rst,
            "CL CL CL SR CL CL CL CL LA LI SR",
        ),
        (Half::Real, Segment::Syn, "SS ES SS SR SS SS SS SS SS LI SR"),
        (Half::Real, Segment::Fin, "TW FW SS TW FW TW CL TW LA LI TW"),
        (Half::Real, Segment::Ack, "ES ES SS ES FW TW CL CW LA ES ES"),
        (Half::Real, Segment::Rst, "CL CL SS CL CL TW CL CL CL CL CL"),
        (
            Half::ClientOnly,
            Segment::Syn,
            "SR ES ES SR SR SR SR SR SR SR SR",
        ),
        (
            Half::ClientOnly,
            Segment::Fin,
            "CL FW SS TW FW TW CL CW LA LI TW",
        ),
        (
            Half::ClientOnly,
            Segment::Ack,
            "ES ES SS ES FW TW CL CW CL LI ES",
        ),
        (
            Half::ClientOnly,
            Segment::Rst,
            "CL CL CL SR CL CL CL CL LA LI CL",
        ),
    ];

    #[test]
    fn every_transition_is_the_tables() {
        for (half, segment, row) in TABLES {
            for (from, to) in COLUMNS.split(' ').zip(row.split(' ')) {
                assert_eq!(
                    next(half, segment, state(from)),
                    state(to),
                    "{half:?} {segment:?} in {from}"
                );
            }
        }
    }

    #[test]
    fn the_table_has_the_rules() {
        for half in [Half::Client, Half::Real, Half::ClientOnly] {
            for flags in 0..=255 {
                for state in ConnectionState::ALL {
                    let expected = next(half, Segment::from_flags(flags), state);
                    assert_eq!(
                        next_number(half, flags, state as u32),
                        expected as u32,
                        "{half:?} {flags:#x} {state:?}"
                    );
                    assert_eq!(is_active_number(state as u32), state.is_active());
                }
            }
        }
    }

    #[test]
    fn numbers_round_trip() {
        for state in ConnectionState::ALL {
            assert_eq!(ConnectionState::from_number(state as u32), state);
        }
        assert_eq!(ConnectionState::from_number(99), None);
    }

    #[test]
    fn rst_comes_before_syn_before_fin_before_ack() {
        assert_eq!(Segment::from_flags(0xff), Segment::Rst);
        assert_eq!(Segment::from_flags(flag::SYN | flag::ACK), Segment::Syn);
        assert_eq!(Segment::from_flags(flag::FIN | flag::ACK), Segment::Fin);
        assert_eq!(Segment::from_flags(0), Segment::Other);
    }
}
