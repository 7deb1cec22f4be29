//! The tables held to three texts that know nothing of the rules: the table
//! of our own semantics, and the kernel's two files in their own layout.

use proptest::prelude::*;

use super::*;
use crate::{connection_state::is_active_number, tcp_state::flag};

/// A state as a text names it.
type Codes = &'static [(&'static str, u32)];

const TCP_CODES: Codes = &[
    ("NO", 0),
    ("ES", 1),
    ("SS", 2),
    ("SR", 3),
    ("FW", 4),
    ("TW", 5),
    ("CL", 6),
    ("CW", 7),
    ("LA", 8),
    ("LI", 9),
    ("SA", 10),
];

const SCTP_CODES: Codes = &[
    ("NO", 16),
    ("I1", 17),
    ("IN", 18),
    ("CS", 19),
    ("CR", 20),
    ("CW", 21),
    ("CO", 22),
    ("CE", 23),
    ("ES", 24),
    ("SS", 25),
    ("SR", 26),
    ("SA", 27),
    ("RJ", 28),
    ("CL", 29),
];

fn number(codes: Codes, code: &str) -> u32 {
    let found = codes.iter().find(|(name, _)| *name == code);
    found.unwrap_or_else(|| panic!("no state {code}")).1
}

/// Semantics, "TCP state, by the first present of RST, SYN, FIN, ACK; what is
/// not listed stays": a row for each flag, a cell for each half.
const SEMANTICS: [(u8, [&str; 3]); 4] = [
    (
        flag::SYN,
        [
            "ES, SS → ES; else → SR",
            "SR, SA → SR; ES, LI stay; else → SS",
            "as the client's half",
        ],
    ),
    (
        flag::FIN,
        [
            "NONE → CL; ES → CW; SR, FW, TW, SA → TW",
            "NONE, SR, SA, CW → TW; ES → FW",
            "ES → FW, FW stays; else as the client's half",
        ],
    ),
    (
        flag::ACK,
        [
            "NONE, SR, SA → ES; LA → CL",
            "NONE, SR, LI, SA → ES",
            "as the client's half",
        ],
    ),
    (
        flag::RST,
        [
            "SR, LA, LI stay (spoof guard); SA → SR; else → CL",
            "SS, TW stay; else → CL",
            "SA → CL; else as the client's half",
        ],
    ),
];

/// What a cell of [`SEMANTICS`] says about `state`.
fn read_cell(cells: [&str; 3], half: Half, state: u32) -> u32 {
    let is_named = |codes: &str| {
        codes
            .split(", ")
            .map(|code| if code == "NONE" { "NO" } else { code })
            .any(|code| number(TCP_CODES, code) == state)
    };
    let cell = cells[half as usize].replace(" (spoof guard)", "");
    for clause in cell.replace("FW, FW stays", "FW; FW stays").split("; ") {
        if clause.ends_with("as the client's half") {
            return read_cell(cells, Half::Client, state);
        }
        if let Some(codes) = clause
            .strip_suffix(" stay")
            .or(clause.strip_suffix(" stays"))
        {
            if is_named(codes) {
                return state;
            }
        } else if let Some((codes, to)) = clause.split_once(" → ") {
            if codes == "else" || is_named(codes) {
                return number(TCP_CODES, to);
            }
        } else {
            panic!("{clause}");
        }
    }
    state
}

/// `tcp_states` and `tcp_states_dos`: INPUT, OUTPUT and INPUT-ONLY one after
/// the other.
const TCP_COLUMNS: &str = "NO ES SS SR FW TW CL CW LA LI SA";
const TCP: [&str; 12] = [
    "syn SR ES ES SR SR SR SR SR SR SR SR",
    "fin CL CW SS TW TW TW CL CW LA LI TW",
    "ack ES ES SS ES FW TW CL CW CL LI ES",
    "rst CL CL CL SR CL CL CL CL LA LI SR",
    //
    "syn SS ES SS SR SS SS SS SS SS LI SR",
    "fin TW FW SS TW FW TW CL TW LA LI TW",
    "ack ES ES SS ES FW TW CL CW LA ES ES",
    "rst CL CL SS CL CL TW CL CL CL CL CL",
    //
    "syn SR ES ES SR SR SR SR SR SR SR SR",
    "fin CL FW SS TW FW TW CL CW LA LI TW",
    "ack ES ES SS ES FW TW CL CW CL LI ES",
    "rst CL CL CL SR CL CL CL CL LA LI CL",
];
const TCP_DOS: [&str; 12] = [
    "syn SR ES ES SR SR SR SR SR SR SR SA",
    "fin CL CW SS TW TW TW CL CW LA LI SA",
    "ack ES ES SS SR FW TW CL CW CL LI SA",
    "rst CL CL CL SR CL CL CL CL LA LI CL",
    //
    "syn SS ES SS SA SS SS SS SS SS LI SA",
    "fin TW FW SS TW FW TW CL TW LA LI TW",
    "ack ES ES SS ES FW TW CL CW LA ES ES",
    "rst CL CL SS CL CL TW CL CL CL CL CL",
    //
    "syn SA ES ES SR SA SA SA SA SA SA SA",
    "fin CL FW SS TW FW TW CL CW LA LI TW",
    "ack ES ES SS ES FW TW CL CW CL LI ES",
    "rst CL CL CL SR CL CL CL CL LA LI CL",
];

/// `sctp_states`, the same way.
const SCTP_COLUMNS: &str = "NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL";
const SCTP: [&str; 30] = [
    "d   ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "i   I1 IN IN CS CR CW CO CE ES SS SR SA IN IN",
    "i_a CW CW CW CS CR CO CO CE ES SS SR SA RJ CL",
    "c_e CR IN IN CR CR CW CO CE ES SS SR SA RJ CL",
    "c_a ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL",
    "s   SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
    "s_a CL IN IN CS CR CW CO CE ES CL SR CL RJ CL",
    "s_c CL CL CL CS CR CW CO CE ES SS SR CL RJ CL",
    "err CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL",
    "ab  CL CL CL CL CL RJ CL CL CL CL CL CL CL CL",
    //
    "d   ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "i   CW CW CW CW CW CW CW CW ES CW CW CW CW CW",
    "i_a CS CS CS CS CR CW CO CE ES SS SR SA RJ CL",
    "c_e CE CE CE CE CE CE CE CE ES SS SR SA RJ CL",
    "c_a ES ES ES ES ES ES ES ES ES SS SR SA RJ CL",
    "s   SS SS SS SS SS SS SS SS SS SS SR SA RJ CL",
    "s_a SA SA SA SA SA CW CO CE ES SA SA SA RJ CL",
    "s_c CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "err CL CL CL CL CL CW CO CE ES SS SR SA RJ CL",
    "ab  CL RJ CL CL CL CL CL CL CL CL CL CL CL CL",
    //
    "d   ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL",
    "i   I1 IN IN IN IN IN CO CE ES SS SR SA IN IN",
    "i_a CE CE CE CE CE CE CO CE ES SS SR SA RJ CL",
    "c_e ES ES ES ES ES ES CO CE ES SS SR SA RJ CL",
    "c_a ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL",
    "s   SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
    "s_a CL IN IN CS CR CW CO CE CL CL SR CL RJ CL",
    "s_c CL CL CL CL CL CW CO CE ES SS CL CL RJ CL",
    "err CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "ab  CL CL CL CL CL RJ CL CL CL CL CL CL CL CL",
];

/// A cell of one of the kernel's tables.
fn read_row(codes: Codes, columns: &str, row: &str, state: u32) -> u32 {
    let cells = row.split_whitespace().skip(1);
    let mut pairs = columns.split(' ').zip(cells);
    let found = pairs.find(|(from, _)| number(codes, from) == state);
    number(codes, found.expect("a column").1)
}

/// A protocol with its table's kind.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp,
    SecureTcp,
    Sctp,
}
use Kind::{SecureTcp, Tcp};

impl Kind {
    fn table(self, half: Half) -> u32 {
        match self {
            Tcp => table(protocol::TCP, half, false),
            SecureTcp => table(protocol::TCP, half, true),
            Self::Sctp => table(protocol::SCTP, half, false),
        }
    }

    /// What the texts say.
    fn expected(self, half: Half, segment: u8, state: u32) -> u32 {
        let half_rows = half as usize;
        match self {
            Tcp | SecureTcp => {
                // RST first, as everywhere.
                let order = [flag::RST, flag::SYN, flag::FIN, flag::ACK];
                let Some(flag) = order.into_iter().find(|flag| segment & flag != 0) else {
                    return state;
                };
                if matches!(self, Tcp) {
                    let row = SEMANTICS.iter().find(|(of, _)| *of == flag);
                    return read_cell(row.expect("a row").1, half, state);
                }
                let rows = [flag::SYN, flag::FIN, flag::ACK, flag::RST];
                let row = rows.iter().position(|of| *of == flag).expect("a row");
                read_row(TCP_CODES, TCP_COLUMNS, TCP_DOS[half_rows * 4 + row], state)
            }
            Self::Sctp => {
                // `sctp_events`, by RFC 9260's chunk types.
                let row = match segment {
                    1 => 1,
                    2 => 2,
                    10 => 3,
                    11 => 4,
                    7 => 5,
                    8 => 6,
                    14 => 7,
                    9 => 8,
                    6 => 9,
                    _ => 0,
                };
                let row = SCTP[half_rows * 10 + row];
                read_row(SCTP_CODES, SCTP_COLUMNS, row, state)
            }
        }
    }

    fn codes(self) -> Codes {
        match self {
            Tcp | SecureTcp => TCP_CODES,
            Self::Sctp => SCTP_CODES,
        }
    }
}

/// The semantics' table is the kernel's.
#[test]
fn our_semantics_are_the_kernels() {
    for half in Half::ALL {
        for (row, flag) in [flag::SYN, flag::FIN, flag::ACK, flag::RST]
            .into_iter()
            .enumerate()
        {
            for (code, state) in TCP_CODES {
                let kernels =
                    read_row(TCP_CODES, TCP_COLUMNS, TCP[half as usize * 4 + row], *state);
                let ours = Tcp.expected(half, flag, *state);
                assert_eq!(ours, kernels, "{half:?} {flag:#x} in {code}");
            }
        }
    }
}

#[test]
fn every_transition_is_the_texts() {
    for kind in [Tcp, SecureTcp, Kind::Sctp] {
        for half in Half::ALL {
            for segment in 0..=u8::MAX {
                for (code, state) in kind.codes() {
                    assert_eq!(
                        next_number(kind.table(half), segment, *state),
                        kind.expected(half, segment, *state),
                        "{kind:?} {half:?} {segment:#x} in {code}"
                    );
                }
            }
        }
    }
}

/// Tables are numbered as the programs' callers know them.
#[test]
fn tables_have_their_numbers() {
    let tables = [Tcp, SecureTcp, Kind::Sctp]
        .into_iter()
        .flat_map(|kind| Half::ALL.map(|half| kind.table(half)));
    assert!(tables.eq(0..9));
}

#[test]
fn every_protocol_begins_in_none() {
    for half in [Half::Client, Half::ClientOnly] {
        let first = |kind: Kind, segment| next_number(kind.table(half), segment, 0);
        assert_eq!(first(Tcp, flag::SYN), ConnectionState::SynRecv as u32);
        assert_eq!(
            first(Kind::Sctp, sctp::INIT),
            ConnectionState::SctpInit1 as u32
        );
    }
}

#[test]
fn what_is_not_the_protocols_stays() {
    let cut = ConnectionState::Cut as u32;
    let udp = ConnectionState::Udp as u32;
    for table in 0..TABLES as u32 {
        for segment in 0..=u8::MAX {
            for state in [cut, udp, 13, 14, 15, 30, 31] {
                assert_eq!(next_number(table, segment, state), state);
            }
        }
    }
}

/// Marks above the five bits neither lead elsewhere nor come back, and no
/// argument leads out of the table.
#[test]
fn only_the_low_bits_count() {
    for state in 0..32 {
        let clean = next_number(4, flag::ACK, state);
        assert_eq!(next_number(4, flag::ACK, state | 0xffff_ffe0), clean);
        assert!(next_number(u32::MAX, 0xff, state) < 32);
    }
}

/// Half of them segments that mean something: every chunk type with a rule,
/// and the flags that TCP uses.
fn segments() -> impl Strategy<Value = Vec<(bool, u8)>> {
    let telling = prop_oneof![
        0..16_u8,
        prop::sample::select(vec![
            flag::SYN | flag::ACK,
            flag::ACK,
            flag::FIN | flag::ACK
        ]),
    ];
    let segment = prop_oneof![telling, any::<u8>()];
    prop::collection::vec((any::<bool>(), segment), 1..64)
}

proptest! {
    /// Whole conversations, both halves of a nat connection or the one that dr
    /// and tun show: each step is the texts'.
    #[test]
    fn conversations_go_by_the_texts(
        segments in segments(),
        kind in prop::sample::select(vec![Tcp, SecureTcp, Kind::Sctp]),
        is_nat in any::<bool>(),
    ) {
        let mut state = kind.codes()[0].1;
        for (step, (is_reals, segment)) in segments.into_iter().enumerate() {
            let half = match (is_nat, is_reals) {
                (false, _) => Half::ClientOnly,
                (true, true) => Half::Real,
                (true, false) => Half::Client,
            };
            let expected = kind.expected(half, segment, state);
            let found = next_number(kind.table(half), segment, state);
            prop_assert_eq!(found, expected, "step {}: {:?} {:#x} in {}", step, half, segment, state);
            let is_active = match kind {
                Tcp | SecureTcp => [1, 2, 3, 10].contains(&found),
                Kind::Sctp => found == 24,
            };
            prop_assert_eq!(is_active_number(found), is_active);
            state = found;
        }
    }
}
