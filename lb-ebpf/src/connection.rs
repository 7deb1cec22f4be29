//! The connection table: look-up, and what each packet leaves in its entry.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use lb_common::{
    abi::{Settings, settings_flag},
    connection::{Connection, ForwardingMethod, Standing, direction, mark},
    connection_state::{ConnectionState, is_active_number},
    defence::Defence,
    flow::FlowKey as _,
    limits::SHORT_TIMEOUT_S,
    parse::{self, Flow},
    tcp_state::flag,
    transition::{self, next_number},
    verdict::DropReason,
    wire::{protocol, sctp},
};

use crate::{
    arrive, expiry,
    family::Family,
    fill, load,
    maps::SETTINGS,
    packet::Packet,
    persistence,
    stage::{self, PACKETS, now_ns},
    stats,
    table::{self, Entry},
    verifier::{self, compare_and_swap_u32, compare_and_swap_u64},
};

const ESTABLISHED: u32 = ConnectionState::Established as u32;
const SCTP_ESTABLISHED: u32 = ConnectionState::SctpEstablished as u32;
const CUT: u32 = ConnectionState::Cut as u32;

/// Flags that make a segment move an established connection.
const MOVING: u8 = flag::SYN | flag::FIN | flag::RST;

/// How often a state change is tried when another CPU changes it meanwhile.
const SWAP_TRIES: u32 = 4;

/// What there is of a packet's connection.
pub enum Found<F: Family> {
    Live(*mut Entry<F>),
    /// It ends, or has ended and is remembered: not the kernel's, which would
    /// answer a client that was served a moment ago with RST.
    Over(Over),
    Nothing,
}

/// How a connection is over.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Somebody is deleting it.
    Ending,
    /// It was cut, and there is nobody to tell.
    CutSilently,
    /// It was cut, and its client is to hear of it.
    Cut,
    /// Its real is gone, and with this packet the entry.
    RealDeleted,
    /// The packet begins a new connection in its place.
    Renewed,
}

impl Over {
    /// The verdict on the packet.
    #[inline(always)]
    pub fn verdict<F: Family>(self, packet: &Packet) -> u32 {
        match self {
            Self::Ending => stats::drop_packet(DropReason::Inconsistent),
            Self::CutSilently => stats::drop_packet(DropReason::ConnectionCut),
            Self::Cut => {
                stats::count(DropReason::ConnectionCut as u32);
                stage::go(packet, F::RESET)
            }
            Self::RealDeleted | Self::Renewed => stage::go(packet, F::OVER),
        }
    }
}

/// The entry of a packet.
#[inline(always)]
pub fn find<F: Family>(flow: &Flow<F>) -> Found<F> {
    found(flow, table::find::<F>(&flow.key))
}

/// As [`find`], with less code and more time.
#[inline(always)]
pub fn find_rarely<F: Family>(flow: &Flow<F>) -> Found<F> {
    found(flow, table::find_rarely::<F, PACKETS>(&flow.key))
}

#[inline(always)]
fn found<F: Family>(flow: &Flow<F>, entry: Option<*mut Entry<F>>) -> Found<F> {
    let Some(entry) = entry else {
        return Found::Nothing;
    };
    // SAFETY: map values stay readable while the program runs.
    let state = unsafe { verifier::load(&raw const (*entry).connection.state) };
    if state == ESTABLISHED {
        return Found::Live(entry);
    }
    match over(flow, entry, state) {
        Some(over) => Found::Over(over),
        None => Found::Live(entry),
    }
}

/// The stage for a packet whose connection has to go first: it is dropped with
/// it, or begins a new one in its place.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    let Some(datagram) = F::datagram(packet, packet.network()) else {
        return XDP_PASS;
    };
    let Some(flow) = parse::flow(packet, &datagram) else {
        return XDP_PASS;
    };
    let Found::Over(over) = find_rarely::<F>(&flow) else {
        // Another CPU was here first.
        return arrive::go(packet, &flow);
    };
    if !matches!(over, Over::Renewed | Over::RealDeleted) {
        return over.verdict::<F>(packet);
    }
    if let Some(entry) = table::find_rarely::<F, PACKETS>(&flow.key)
        && !remove::<F, PACKETS>(&flow.key, entry, |_| true)
    {
        return stats::drop_packet(DropReason::Inconsistent);
    }
    if over == Over::Renewed {
        return arrive::go(packet, &flow);
    }
    stats::drop_packet(DropReason::RealDeleted)
}

/// How an entry is over that is not simply established, if it is.
#[inline(always)]
fn over<F: Family>(flow: &Flow<F>, entry: *mut Entry<F>, state: u32) -> Option<Over> {
    if mark::is_gone(state) {
        return Some(Over::Ending);
    }
    // SAFETY: map values stay readable while the program runs.
    let connection: &Connection = unsafe { &(*entry).connection };
    let is_forward = connection.direction == direction::FORWARD;
    if is_forward && state & mark::DOOMED != 0 {
        return Some(Over::RealDeleted);
    }
    let protocol = flow.key.protocol();
    let number = state & ConnectionState::MASK;
    let begins = is_forward
        && match protocol {
            protocol::TCP => flow.segment & (flag::SYN | flag::ACK | flag::RST) == flag::SYN,
            protocol::SCTP => flow.segment == sctp::INIT,
            _ => !flow.is_silent,
        };
    if number != CUT {
        let is_renewed = begins && protocol == protocol::TCP && is_closed(connection, number);
        return is_renewed.then_some(Over::Renewed);
    }
    if begins {
        return Some(Over::Renewed);
    }
    let is_heard =
        is_forward && protocol == protocol::TCP && !flow.is_silent && flow.segment & flag::RST == 0;
    Some(if is_heard {
        Over::Cut
    } else {
        Over::CutSilently
    })
}

/// Whether a SYN may take this entry's place, as far as its state goes.
#[inline(always)]
fn is_closed(connection: &Connection, state: u32) -> bool {
    const TIME_WAIT: u32 = ConnectionState::TimeWait as u32;
    const CLOSE: u32 = ConnectionState::Close as u32;
    const FIN_WAIT: u32 = ConnectionState::FinWait as u32;
    // A client that persistence leads goes where it went.
    if connection.persistence != 0 {
        return false;
    }
    match state {
        TIME_WAIT | CLOSE => true,
        FIN_WAIT => {
            connection.method != ForwardingMethod::Nat as u8
                && SETTINGS
                    .get(0)
                    .is_some_and(|s| s.flags & settings_flag::REUSE_FIN_WAIT != 0)
        }
        _ => false,
    }
}

/// Notes a packet on its entry: time, counters, state.
#[inline(always)]
pub fn see<F: Family>(entry: *mut Entry<F>, flow: &Flow<F>) {
    // SAFETY: map values stay writable while the program runs; plain counters
    // of one flow race only when the NIC spreads it over CPUs, and then lose
    // a count.
    let (real, entry_direction, is_first) = unsafe {
        let connection = &mut (*entry).connection;
        let packets = connection.packets.wrapping_add(1);
        connection.last_seen_ns = now_ns();
        connection.packets = packets;
        connection.bytes += u64::from(flow.length);
        (connection.real, connection.direction, packets == 1)
    };
    stats::count_packet(real, entry_direction, flow.length);
    if flow.key.protocol() != protocol::UDP || is_first {
        move_state(entry, flow);
    }
}

/// An entry's real and state.
#[inline(always)]
fn standing<K>(entry: *mut lb_common::table::Entry<K>) -> *mut u64 {
    // SAFETY: the two fields are one aligned word.
    unsafe { (&raw mut (*entry).connection.real).cast() }
}

/// # Safety
/// `entry` is a connection's.
#[inline(always)]
unsafe fn read_standing<K>(entry: *mut lb_common::table::Entry<K>) -> Standing {
    // SAFETY: map values stay readable while the program runs.
    Standing(unsafe { verifier::load(standing(entry)) })
}

/// Replaces the state; tells whether this call did it.
#[inline(always)]
fn swap<K>(entry: *mut lb_common::table::Entry<K>, old: Standing, state: u32) -> bool {
    // SAFETY: a map value, aligned.
    unsafe { compare_and_swap_u64(standing(entry), old.0, old.with_state(state).0) }
}

/// Moves the state of a TCP connection or SCTP association, and announces one
/// that may be over soon, as UDP's with its first packet. The forward
/// entry's state is the connection's; the reverse entry keeps a copy so that it
/// need not look further while nothing can change.
#[inline(always)]
fn move_state<F: Family>(entry: *mut Entry<F>, flow: &Flow<F>) {
    // SAFETY: map values stay readable while the program runs.
    let seen = unsafe { verifier::load(&raw const (*entry).connection.state) };
    let is_settled = match flow.key.protocol() {
        protocol::TCP => seen == ESTABLISHED && flow.segment & MOVING == 0,
        _ => seen == SCTP_ESTABLISHED && flow.segment == sctp::DATA,
    };
    if is_settled {
        return;
    }
    let mut segment = Segment {
        entry,
        key: flow.key,
        segment: flow.segment,
        timeout_s: SHORT_TIMEOUT_S,
    };
    verifier::apart(move_by::<F>, &mut segment);
    expiry::announce(&segment.key, segment.timeout_s, 0);
}

/// A segment of the connection with this entry.
struct Segment<F: Family> {
    entry: *mut Entry<F>,
    key: F::Key,
    segment: u8,
    /// Afterwards that of a state that has just begun; before, one that is not
    /// announced.
    timeout_s: u32,
}

/// The move itself.
extern "C" fn move_by<F: Family>(_: u32, segment: *mut Segment<F>) -> i64 {
    // SAFETY: `apart` passes on what `move_state` gave it.
    let segment = unsafe { &mut *segment };
    let entry = segment.entry;
    // SAFETY: map values stay readable while the program runs.
    let connection = unsafe { &(*entry).connection };
    let protocol = segment.key.protocol();
    // Since the look-up the entry may have become another connection's.
    if !table::is_of(entry, &segment.key) {
        return 0;
    }
    let Some(Settings { timeouts_s, .. }) = SETTINGS.get(0) else {
        return 0;
    };
    let is_secure = fill::in_force(F::NUMBER, Defence::SecureTcp);
    let table = transition::table(protocol, connection.half(), is_secure);
    let is_nat = connection.method == ForwardingMethod::Nat as u8;
    let partner = if is_nat {
        table::find_rarely::<F, PACKETS>(&connection.partner_key(protocol))
    } else {
        None
    };
    let owner = if connection.direction == direction::REVERSE {
        let Some(owner) = partner else { return 0 };
        owner
    } else {
        entry
    };
    let (mut state, mut number) = (mark::CLAIMED, mark::CLAIMED);
    for _ in 0..SWAP_TRIES {
        // SAFETY: `owner` is an entry.
        let old = unsafe { read_standing(owner) };
        number = old.state() & ConnectionState::MASK;
        // Nothing but its deletion moves these.
        if mark::is_gone(old.state()) || number == CUT {
            return 0;
        }
        state = next_number(table, segment.segment, number);
        if number == state {
            break;
        }
        if swap(owner, old, old.state() & !ConnectionState::MASK | state) {
            load::change(
                old.real(),
                is_active_number(number),
                is_active_number(state),
            );
            break;
        }
    }
    // The copy, on whichever side it is.
    let copy = if connection.direction == direction::REVERSE {
        Some(entry)
    } else {
        partner
    };
    if let Some(copy) = copy
        && state != mark::CLAIMED
    {
        write_copy(copy, state);
    }
    // With its first packet it is in a state that it came to before.
    if number != state || connection.packets <= 1 {
        segment.timeout_s = timeouts_s[(state & ConnectionState::MASK) as usize];
    }
    0
}

/// Writes the state to a reverse entry. The entry may have become a forward
/// one since it was looked up, whose state is no copy, or be nobody's: that one is
/// left alone.
#[inline(always)]
fn write_copy<K>(copy: *mut lb_common::table::Entry<K>, state: u32) {
    // SAFETY: map values stay readable while the program runs; the field is
    // aligned.
    unsafe {
        let connection = &raw mut (*copy).connection;
        let seen = verifier::load(&raw const (*connection).state);
        if !mark::is_gone(seen)
            && verifier::load(&raw const (*connection).direction) == direction::REVERSE
        {
            compare_and_swap_u32(&raw mut (*connection).state, seen, state);
        }
    }
}

/// Claims a forward entry for a deletion or a cut: nobody else changes it
/// until it is gone or [released](release). Nothing if somebody else has it, if
/// the element is another connection's, or not `may_go`, which is asked with
/// the state when no packet can reach the entry any more.
#[inline(always)]
fn claim<F: Family, const S: u32>(
    key: &F::Key,
    entry: *mut Entry<F>,
    may_go: impl FnOnce(u32) -> bool,
) -> Option<Standing> {
    // SAFETY: `entry` is one.
    let old = unsafe { read_standing(entry) };
    // SAFETY: as above.
    let is_forward = unsafe { (*entry).connection.direction } == direction::FORWARD;
    if !is_forward || mark::is_gone(old.state()) || !swap(entry, old, mark::CLAIMED) {
        return None;
    }
    // SAFETY: map values stay readable while the program runs; whoever meets a
    // claimed entry leaves it alone.
    let connection = unsafe { &(*entry).connection };
    // The place of a removed entry is used again at once: since the look-up
    // this may have become another connection's.
    let is_it = connection.direction == direction::FORWARD
        && table::find_rarely::<F, S>(key) == Some(entry);
    if is_it && may_go(old.state() & ConnectionState::MASK) {
        return Some(old);
    }
    release(entry, old);
    None
}

/// Gives a claimed entry its state back.
#[inline(always)]
fn release<K>(entry: *mut lb_common::table::Entry<K>, old: Standing) {
    swap(entry, old.with_state(mark::CLAIMED), old.state());
}

/// Ends a connection, given its forward entry: takes it out of the counts and
/// deletes it, with the reverse entry under nat. Tells whether this call did
/// it; another CPU may be first.
#[inline(always)]
pub fn remove<F: Family, const S: u32>(
    key: &F::Key,
    entry: *mut Entry<F>,
    may_go: impl FnOnce(u32) -> bool,
) -> bool {
    let Some(old) = claim::<F, S>(key, entry, may_go) else {
        return false;
    };
    // SAFETY: map values stay readable while the program runs, and it is
    // claimed.
    let connection = unsafe { &(*entry).connection };
    let is_nat = connection.method == ForwardingMethod::Nat as u8;
    let template = persistence::key_of::<F>(connection, key);
    let mut gone = 0;
    if is_nat && table::remove::<F, S>(&connection.partner_key(key.protocol())).is_ok() {
        gone += 1;
    }
    let is_removed = table::remove::<F, S>(key).is_ok();
    fill::took(F::NUMBER, gone + u32::from(is_removed));
    if !is_removed {
        // Its bucket is locked for longer than this waits: another time.
        release(entry, old);
        return false;
    }
    if old.state() & ConnectionState::MASK != CUT {
        leave(old, template.as_ref());
    }
    true
}

/// Cuts a connection, given its forward entry: it leaves the counts at once,
/// and the entry stays for the state's timeout, so that its client hears of it.
#[inline(always)]
pub fn cut<F: Family, const S: u32>(key: &F::Key, entry: *mut Entry<F>) -> bool {
    let Some(old) = claim::<F, S>(key, entry, |state| state != CUT) else {
        return false;
    };
    // SAFETY: map values stay writable while the program runs, and it is
    // claimed.
    let connection = unsafe { &mut (*entry).connection };
    let template = persistence::key_of::<F>(connection, key);
    connection.last_seen_ns = now_ns();
    connection.persistence = 0;
    if connection.method == ForwardingMethod::Nat as u8
        && let Some(copy) = table::find_rarely::<F, S>(&connection.partner_key(key.protocol()))
    {
        write_copy(copy, CUT);
    }
    release(entry, old.with_state(CUT));
    leave(old, template.as_ref());
    true
}

/// Marks a connection to end at its next packet.
#[inline(always)]
pub fn doom<K>(entry: *mut lb_common::table::Entry<K>) -> bool {
    // SAFETY: `entry` is one.
    let old = unsafe { read_standing(entry) };
    if mark::is_gone(old.state()) || old.state() & ConnectionState::MASK == CUT {
        return false;
    }
    swap(entry, old, old.state() | mark::DOOMED)
}

/// A connection is no longer its real's, nor its template's.
#[inline(always)]
fn leave(old: Standing, template: Option<&lb_common::persistence::TemplateKey>) {
    load::take(old.real(), is_active_number(old.state()));
    if let Some(template) = template {
        persistence::leave(template);
    }
}
