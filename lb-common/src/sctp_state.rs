//! The SCTP transitions of IPVS: the three tables of
//! `net/netfilter/ipvs/ip_vs_proto_sctp.c` (Linux 6.1), written as rules. The
//! states are as the real has them: before ESTABLISHED they are told apart for
//! the sake of their timeouts (RFC 9260 section 4 calls them CLOSED).

use crate::{
    connection_state::ConnectionState,
    transition::Half,
    wire::sctp::{
        ABORT, COOKIE_ACK, COOKIE_ECHO, ERROR, INIT, INIT_ACK, SHUTDOWN, SHUTDOWN_ACK,
        SHUTDOWN_COMPLETE,
    },
};

/// What a packet means for the state: the kind of its first chunk. IPVS looks
/// behind COOKIE ECHO and COOKIE ACK for an ABORT, we do not: the peer's next
/// packet, or silence, ends such a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// DATA, and every type that has no rule of its own.
    Data,
    Init,
    InitAck,
    CookieEcho,
    CookieAck,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    Error,
    Abort,
}

impl Chunk {
    #[must_use]
    pub const fn from_type(chunk_type: u8) -> Self {
        match chunk_type {
            INIT => Self::Init,
            INIT_ACK => Self::InitAck,
            COOKIE_ECHO => Self::CookieEcho,
            COOKIE_ACK => Self::CookieAck,
            SHUTDOWN => Self::Shutdown,
            SHUTDOWN_ACK => Self::ShutdownAck,
            SHUTDOWN_COMPLETE => Self::ShutdownComplete,
            ERROR => Self::Error,
            ABORT => Self::Abort,
            _ => Self::Data,
        }
    }
}

/// The state after `chunk`. [`ConnectionState::None`] is SCTP's own NONE; other
/// protocols' states stay.
#[must_use]
pub const fn next(half: Half, chunk: Chunk, state: ConnectionState) -> ConnectionState {
    let state = match state {
        ConnectionState::None => None,
        state => state,
    };
    let rules = match half {
        Half::Client => CLIENT,
        Half::Real => REAL,
        Half::ClientOnly => CLIENT_ONLY,
    };
    let mut index = 0;
    while index < rules.len() {
        let (on, from, to) = rules[index];
        if on as u8 == chunk as u8 && contains(from, state) {
            return to;
        }
        index += 1;
    }
    state
}

use ConnectionState::{
    SctpClosed as Closed, SctpCookie as Cookie, SctpCookieEchoed as CookieEchoed,
    SctpCookieReplied as CookieReplied, SctpCookieSent as CookieSent, SctpCookieWait as CookieWait,
    SctpEstablished as Established, SctpInit as Init, SctpInit1 as Init1, SctpNone as None,
    SctpRejected as Rejected, SctpShutdownAckSent as ShutdownAckSent,
    SctpShutdownReceived as ShutdownReceived, SctpShutdownSent as ShutdownSent,
};

/// On this chunk, in one of these states: that state. The first that fits
/// counts, and where none does the state stays.
type Rules = &'static [(Chunk, &'static [ConnectionState], ConnectionState)];

const ANY: &[ConnectionState] = &[
    None,
    Init1,
    Init,
    CookieSent,
    CookieReplied,
    CookieWait,
    Cookie,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    Rejected,
    Closed,
];

/// INPUT.
const CLIENT: Rules = &[
    (Chunk::Data, &[None], Established),
    (Chunk::Init, &[None], Init1),
    (Chunk::Init, &[Init1, Rejected, Closed], Init),
    (Chunk::InitAck, &[None, Init1, Init], CookieWait),
    (Chunk::InitAck, &[CookieWait], Cookie),
    (Chunk::CookieEcho, &[None, CookieSent], CookieReplied),
    (Chunk::CookieEcho, &[Init1], Init),
    (Chunk::CookieAck, &[None, CookieEchoed], Established),
    (Chunk::Shutdown, &[None, Established], ShutdownReceived),
    (
        Chunk::ShutdownAck,
        &[None, ShutdownSent, ShutdownAckSent],
        Closed,
    ),
    (Chunk::ShutdownAck, &[Init1], Init),
    (
        Chunk::ShutdownComplete,
        &[None, Init1, Init, ShutdownAckSent],
        Closed,
    ),
    (Chunk::Error, &[None, CookieEchoed], Closed),
    (Chunk::Abort, &[CookieWait], Rejected),
    (Chunk::Abort, ANY, Closed),
];

/// OUTPUT.
const REAL: Rules = &[
    (Chunk::Data, &[None], Established),
    (Chunk::Init, &[Established], Established),
    (Chunk::Init, ANY, CookieWait),
    (Chunk::InitAck, &[None, Init1, Init], CookieSent),
    (
        Chunk::CookieEcho,
        &[
            None,
            Init1,
            Init,
            CookieSent,
            CookieReplied,
            CookieWait,
            Cookie,
        ],
        CookieEchoed,
    ),
    (
        Chunk::CookieAck,
        &[
            None,
            Init1,
            Init,
            CookieSent,
            CookieReplied,
            CookieWait,
            Cookie,
            CookieEchoed,
        ],
        Established,
    ),
    (
        Chunk::Shutdown,
        &[
            None,
            Init1,
            Init,
            CookieSent,
            CookieReplied,
            CookieWait,
            Cookie,
            CookieEchoed,
            Established,
        ],
        ShutdownSent,
    ),
    (
        Chunk::ShutdownAck,
        &[
            None,
            Init1,
            Init,
            CookieSent,
            CookieReplied,
            ShutdownSent,
            ShutdownReceived,
        ],
        ShutdownAckSent,
    ),
    (Chunk::ShutdownComplete, &[None], Closed),
    (
        Chunk::Error,
        &[None, Init1, Init, CookieSent, CookieReplied],
        Closed,
    ),
    (Chunk::Abort, &[Init1], Rejected),
    (Chunk::Abort, ANY, Closed),
];

/// INPUT-ONLY.
const CLIENT_ONLY: Rules = &[
    (Chunk::Data, &[None, CookieWait], Established),
    (Chunk::Init, &[None], Init1),
    (
        Chunk::Init,
        &[
            Init1,
            CookieSent,
            CookieReplied,
            CookieWait,
            Rejected,
            Closed,
        ],
        Init,
    ),
    (
        Chunk::InitAck,
        &[None, Init1, Init, CookieSent, CookieReplied, CookieWait],
        CookieEchoed,
    ),
    (
        Chunk::CookieEcho,
        &[None, Init1, Init, CookieSent, CookieReplied, CookieWait],
        Established,
    ),
    (
        Chunk::CookieAck,
        &[None, CookieSent, CookieReplied, Cookie, CookieEchoed],
        Established,
    ),
    (Chunk::Shutdown, &[None, Established], ShutdownReceived),
    (
        Chunk::ShutdownAck,
        &[None, Established, ShutdownSent, ShutdownAckSent],
        Closed,
    ),
    (Chunk::ShutdownAck, &[Init1], Init),
    (
        Chunk::ShutdownComplete,
        &[
            None,
            Init1,
            Init,
            CookieSent,
            CookieReplied,
            ShutdownReceived,
            ShutdownAckSent,
        ],
        Closed,
    ),
    (Chunk::Error, &[None], Closed),
    (Chunk::Abort, &[CookieWait], Rejected),
    (Chunk::Abort, ANY, Closed),
];

const fn contains(states: &[ConnectionState], state: ConnectionState) -> bool {
    let mut index = 0;
    while index < states.len() {
        if states[index] as u8 == state as u8 {
            return true;
        }
        index += 1;
    }
    false
}
