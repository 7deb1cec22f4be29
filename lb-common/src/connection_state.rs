//! The states of a connection: numbers, names and timeouts. They are IPVS's
//! (`net/netfilter/ipvs/ip_vs_proto_tcp.c`, `ip_vs_proto_udp.c` and
//! `ip_vs_proto_sctp.c`, Linux 6.1), and [`Cut`] is our own. How one follows
//! another is [`crate::transition`]'s.

/// State of a connection entry. The number is stored in the low five bits of
/// [`crate::connection::Connection::state`] and indexes
/// [`crate::abi::Settings::timeouts_s`].
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
    /// Ended by the director, of any protocol: neither active nor inactive,
    /// in no count at all, and kept to answer what still comes. No segment
    /// moves it.
    Cut = 12,
    /// SCTP's: 16 and IPVS's own number.
    SctpNone = 16,
    SctpInit1 = 17,
    SctpInit = 18,
    SctpCookieSent = 19,
    SctpCookieReplied = 20,
    SctpCookieWait = 21,
    SctpCookie = 22,
    SctpCookieEchoed = 23,
    SctpEstablished = 24,
    SctpShutdownSent = 25,
    SctpShutdownReceived = 26,
    SctpShutdownAckSent = 27,
    SctpRejected = 28,
    SctpClosed = 29,
}

use ConnectionState::{
    Close, CloseWait, Cut, Established, FinWait, LastAck, Listen, None, SctpClosed, SctpCookie,
    SctpCookieEchoed, SctpCookieReplied, SctpCookieSent, SctpCookieWait, SctpEstablished, SctpInit,
    SctpInit1, SctpNone, SctpRejected, SctpShutdownAckSent, SctpShutdownReceived, SctpShutdownSent,
    SynAck, SynRecv, SynSent, TimeWait, Udp,
};

impl ConnectionState {
    pub const ALL: [Self; 27] = [
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
        Cut,
        SctpNone,
        SctpInit1,
        SctpInit,
        SctpCookieSent,
        SctpCookieReplied,
        SctpCookieWait,
        SctpCookie,
        SctpCookieEchoed,
        SctpEstablished,
        SctpShutdownSent,
        SctpShutdownReceived,
        SctpShutdownAckSent,
        SctpRejected,
        SctpClosed,
    ];

    /// Every number is below this, and not every number below is a state's.
    pub const NUMBERS: usize = 32;

    /// The bits of an entry's `state` that hold the number; the programs may
    /// keep marks in the others.
    pub const MASK: u32 = Self::NUMBERS as u32 - 1;

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
            12 => Cut,
            16 => SctpNone,
            17 => SctpInit1,
            18 => SctpInit,
            19 => SctpCookieSent,
            20 => SctpCookieReplied,
            21 => SctpCookieWait,
            22 => SctpCookie,
            23 => SctpCookieEchoed,
            24 => SctpEstablished,
            25 => SctpShutdownSent,
            26 => SctpShutdownReceived,
            27 => SctpShutdownAckSent,
            28 => SctpRejected,
            29 => SctpClosed,
            _ => None,
        }
    }

    /// Counted as an active connection of its real: `tcp_state_active_table`
    /// and, of SCTP's, ESTABLISHED alone.
    #[inline(always)]
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(
            self,
            Established | SynSent | SynRecv | SynAck | SctpEstablished
        )
    }

    /// As `ipvsadm -Lc` prints it: `tcp_state_name_table`,
    /// `sctp_state_name_table`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            None | SctpNone => "NONE",
            Established | SctpEstablished => "ESTABLISHED",
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
            Cut => "CUT",
            SctpInit1 => "INIT1",
            SctpInit => "INIT",
            SctpCookieSent => "C-SENT",
            SctpCookieReplied => "C-REPLIED",
            SctpCookieWait => "C-WAIT",
            SctpCookie => "COOKIE",
            SctpCookieEchoed => "C-ECHOED",
            SctpShutdownSent => "S-SENT",
            SctpShutdownReceived => "S-RECEIVED",
            SctpShutdownAckSent => "S-ACK-SENT",
            SctpRejected => "REJECTED",
            SctpClosed => "CLOSED",
        }
    }

    /// IPVS's timeout, seconds: `tcp_timeouts`, `udp_timeouts`,
    /// `sctp_timeouts`.
    #[must_use]
    pub const fn default_timeout_s(self) -> u32 {
        match self {
            Established | SctpEstablished => 900,
            SynSent | FinWait | TimeWait | Listen | SynAck => 120,
            SynRecv | CloseWait | Cut => 60,
            Close => 10,
            LastAck => 30,
            Udp => 300,
            None | SctpNone => 2,
            // One retransmission of INIT: RFC 9260's RTO.Initial of former
            // days, and 1 s.
            SctpInit1 | SctpRejected => 4,
            // RFC 9260's RTO.Max, and 1 s.
            SctpInit | SctpCookieSent | SctpCookieReplied | SctpCookieWait | SctpCookie
            | SctpCookieEchoed | SctpShutdownSent | SctpShutdownReceived | SctpShutdownAckSent
            | SctpClosed => 61,
        }
    }
}

/// As [`ConnectionState::is_active`], of the number in the low five bits of
/// `state`.
#[inline(always)]
#[must_use]
pub const fn is_active_number(state: u32) -> bool {
    ACTIVE >> (state & ConnectionState::MASK) & 1 != 0
}

const ACTIVE: u32 = {
    let mut mask = 0;
    let mut index = 0;
    while index < ConnectionState::ALL.len() {
        let state = ConnectionState::ALL[index];
        if state.is_active() {
            mask |= 1 << state as u32;
        }
        index += 1;
    }
    mask
};

/// Whether the client has yet to answer the real, of a number's low five bits.
#[inline(always)]
#[must_use]
pub const fn is_half_open_number(state: u32) -> bool {
    HALF_OPEN >> (state & ConnectionState::MASK) & 1 != 0
}

const HALF_OPEN: u32 = 1 << SynSent as u32
    | 1 << SynRecv as u32
    | 1 << SynAck as u32
    | 1 << SctpNone as u32
    | 1 << SctpInit1 as u32
    | 1 << SctpInit as u32
    | 1 << SctpCookieSent as u32
    | 1 << SctpCookieReplied as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for state in ConnectionState::ALL {
            let number = state as u32;
            assert_eq!(ConnectionState::from_number(number), state);
            assert!((number as usize) < ConnectionState::NUMBERS);
            assert_eq!(is_active_number(number), state.is_active());
            assert_eq!(is_active_number(number | 1 << 5), state.is_active());
        }
        assert_eq!(ConnectionState::from_number(99), None);
    }

    /// The columns of `sctp_states` and its neighbours in ip_vs_proto_sctp.c,
    /// in the order of `enum ip_vs_sctp_states`.
    #[test]
    fn sctp_has_ipvss_names_and_timeouts() {
        let expected = "NONE 2, INIT1 4, INIT 61, C-SENT 61, C-REPLIED 61, C-WAIT 61, COOKIE 61, \
                        C-ECHOED 61, ESTABLISHED 900, S-SENT 61, S-RECEIVED 61, S-ACK-SENT 61, \
                        REJECTED 4, CLOSED 61";
        let found = (16..30).map(|number| {
            let state = ConnectionState::from_number(number);
            format!("{} {}", state.name(), state.default_timeout_s())
        });
        assert_eq!(found.collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn a_cut_connection_is_not_active() {
        assert!(!Cut.is_active());
        assert_eq!((Cut.name(), Cut.default_timeout_s()), ("CUT", 60));
    }
}
