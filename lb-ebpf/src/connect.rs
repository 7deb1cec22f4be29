//! Makes the connection that a scheduler decided on: one entry, or under nat
//! two. The packet that asked for it then goes its way from the beginning.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_log_ebpf::trace;
use lb_common::{
    abi::{Scratch, entryless, settings_flag},
    addr::{Addr, Be16},
    checksum,
    connection::{Connection, ForwardingMethod, direction},
    connection_state::{ConnectionState, is_active_number},
    defence::Defence,
    flow::{Endpoint, FlowKey as _},
    limits::{POOL_ADDRESSES, PORT_TRIES},
    parse::Headers,
    prefix,
    real::{NO_WAY, RealServer, TunnelKind, flag},
    service::policy,
    transition::{self, next_number},
    verdict::DropReason,
    wire::protocol,
};

use crate::{
    arrive,
    family::Family,
    fill, half_open, load,
    maps::{MASQUERADE, REALS, SETTINGS},
    packet::Packet,
    persistence, service,
    stage::{self, PACKETS, now_ns},
    stats,
    table::{self, Refusal},
    verifier::apart,
};

/// Ports that `masquerade` takes.
const FIRST_PORT: u32 = 1024;
const PORTS: u32 = 65536 - FIRST_PORT;

/// GUE's source ports: the dynamic ones (RFC 6335 section 6).
const FIRST_TUNNEL_PORT: u16 = 49152;
const TUNNEL_PORT_MASK: u16 = 0x3fff;

/// The stage after a scheduler.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    if is_tight::<F>() {
        return stage::go(packet, F::MAKE_ROOM);
    }
    match connect::<F>(packet) {
        // Another CPU may have made a connection of the same flow first: that
        // one it is.
        Ok(()) => stage::go(packet, F::ENTRY),
        Err(DropReason::TableFull) if service::settings(settings_flag::STATELESS) => {
            without_entry::<F>(packet)
        }
        Err(reason) => stats::drop_packet(reason),
    }
}

/// Whether another connection has to go before this one is made.
#[inline(always)]
fn is_tight<F: Family>() -> bool {
    let Some(scratch) = stage::scratch() else {
        return false;
    };
    // The defence may be "on" at any fill: nobody has to go before there are
    // nine tenths of those that fit.
    let most = SETTINGS.get(0).map_or(0, |settings| settings.most_entries);
    scratch.has_room == 0
        && fill::in_force(F::NUMBER, Defence::Stateless)
        && fill::entries(F::NUMBER) >= most - most / 12
        && REALS
            .get(scratch.real)
            .is_some_and(|real| real.method == ForwardingMethod::Nat as u8)
}

/// Under dr and tun a full table keeps nobody out.
#[inline(always)]
fn without_entry<F: Family>(packet: &Packet) -> u32 {
    let full = DropReason::TableFull;
    let Some(scratch) = stage::scratch() else {
        return stats::drop_packet(full);
    };
    let has_table = service::plan_at(scratch.plan).is_some_and(|plan| plan.table_length != 0);
    // Later fragments could not follow.
    let is_whole = scratch.arriving.is_fragment == 0;
    if scratch.forward.method == ForwardingMethod::Nat as u8 || !has_table || !is_whole {
        return stats::drop_packet(full);
    }
    scratch.entryless = entryless::BEGINNING;
    stage::go(packet, F::STATELESS)
}

#[inline(always)]
fn connect<F: Family>(packet: &Packet) -> Result<(), DropReason> {
    let inconsistent = DropReason::Inconsistent;
    let scratch = stage::scratch().ok_or(inconsistent)?;
    let flow = arrive::headers::<F>(scratch);
    // The template may have another real.
    if scratch.policy & policy::PERSISTENT != 0 {
        apart(persistence::join_made, &mut 0);
    }
    let real = REALS.get(scratch.real).ok_or(inconsistent)?;
    begin::<F>(&mut scratch.forward, &flow, real, scratch.real);
    if scratch.joining.is_under != 0 {
        scratch.forward.persistence = scratch.joining.key.prefix + 1;
    }
    // Compiled out of the loaded program unless the daemon's log level asks.
    trace!(
        packet.context(),
        "new connection: service slot {}, real slot {}", scratch.service, scratch.real
    );
    let made = make::<F>(&flow, real, scratch);
    if made != Ok(true) && scratch.joining.is_under != 0 {
        apart(persistence::leave_made, &mut 0);
    }
    made.map(drop)
}

/// Inserts the connection's entries. False: there is one already.
#[inline(always)]
fn make<F: Family>(
    flow: &Headers<F::Key>,
    real: &RealServer,
    scratch: &mut Scratch,
) -> Result<bool, DropReason> {
    let (entry, reverse) = (&mut scratch.forward, &mut scratch.reverse);
    if real.method != ForwardingMethod::Nat as u8 {
        return insert::<F>(flow, entry);
    }
    half_open::remember::<F>(&flow.key, scratch.has_room);
    if real.flags & flag::MASQUERADE == 0 {
        translate::<F>(entry, flow);
        return insert_both::<F>(flow, entry, reverse);
    }
    insert_masqueraded::<F>(flow, entry, reverse)
}

/// The forward entry, before its first packet is counted and but for nat's
/// translation.
#[inline(always)]
pub fn begin<F: Family>(
    entry: &mut Connection,
    flow: &Headers<F::Key>,
    real: &RealServer,
    slot: u32,
) {
    entry.last_seen_ns = now_ns();
    entry.bytes = 0;
    entry.packets = 0;
    entry.real = slot;
    entry.next_hop = real.next_hop;
    entry.service = real.service;
    entry.method = real.method;
    entry.direction = direction::FORWARD;
    entry.tunnel = real.tunnel;
    entry.flags = real.flags;
    // Word by word: LLVM 22 would call `memset`, which is a loop over octets.
    let [a, b, c, d] = &mut entry.new_source.0;
    [*a, *b, *c, *d] = Addr::UNSPECIFIED.0;
    entry.new_source_port = Be16::new(0);
    entry.new_destination = real.address;
    entry.new_destination_port = if real.port.raw() == 0 {
        flow.key.destination().port
    } else {
        real.port
    };
    entry.l3_delta = 0;
    entry.l4_delta = 0;
    entry.persistence = 0;
    // `see` moves the state for this very packet too; SYN in SYN_RECV and ACK
    // in ESTABLISHED stay, so the first move is made here, where the counts
    // are. SCTP's is `see`'s, from one inactive state to another.
    entry.state = match flow.key.protocol() {
        protocol::TCP => {
            let table = transition::table(protocol::TCP, entry.half(), false);
            next_number(table, flow.segment, ConnectionState::None as u32)
        }
        protocol::SCTP => ConnectionState::SctpNone as u32,
        _ => ConnectionState::Udp as u32,
    };
    if real.method == ForwardingMethod::Nat as u8 {
        let client = flow.key.source();
        entry.new_source = client.address;
        entry.new_source_port = client.port;
    } else if real.method == ForwardingMethod::Tun as u8 {
        encapsulate::<F>(entry, flow, real);
    }
}

/// What the tunnel's headers take from the flow, so that the real's network
/// card spreads its load.
#[inline(always)]
fn encapsulate<F: Family>(entry: &mut Connection, flow: &Headers<F::Key>, real: &RealServer) {
    let tag = flow.key.tag();
    if real.tunnel == TunnelKind::Gue as u8 {
        let port = FIRST_TUNNEL_PORT | (tag as u16 & TUNNEL_PORT_MASK);
        entry.new_source_port = Be16::new(port);
        entry.new_destination_port = real.tunnel_port;
    }
    let Some(settings) = SETTINGS.get(0) else {
        return;
    };
    let bits = (tag >> 16) as u32;
    if real.address.is_v4() {
        if settings.flags & settings_flag::TUNNEL_SOURCES_V4 != 0 {
            let prefix = (settings.tunnel_source_v4, settings.tunnel_prefix_v4);
            entry.new_source = Addr::from_v4(prefix::fill(prefix.0, prefix.1, bits));
        }
    } else if settings.flags & settings_flag::TUNNEL_SOURCES_V6 != 0 {
        // The last word is enough to spread by.
        let [a, b, c, d] = settings.tunnel_source_v6.0;
        let length = settings.tunnel_prefix_v6.saturating_sub(96);
        entry.new_source = Addr([a, b, c, prefix::fill(d, length, bits)]);
    }
}

/// nat: what the change of addresses and ports adds to the checksums.
#[inline(always)]
pub fn translate<F: Family>(entry: &mut Connection, flow: &Headers<F::Key>) {
    let (client, virtual_end) = (flow.key.source(), flow.key.destination());
    let l3 = checksum::replace_address(client.address, entry.new_source)
        + checksum::replace_address(virtual_end.address, entry.new_destination);
    let l4 = u64::from(checksum::fold(l3))
        + checksum::replace_u16(client.port.raw(), entry.new_source_port.raw())
        + checksum::replace_u16(virtual_end.port.raw(), entry.new_destination_port.raw());
    entry.l3_delta = checksum::fold(l3);
    entry.l4_delta = checksum::fold(l4);
}

/// The reverse entry of a forward one: what comes from the real goes to the
/// client as from the VIP.
#[inline(always)]
fn turn_round<F: Family>(reverse: &mut Connection, forward: &Connection, flow: &Headers<F::Key>) {
    let (client, virtual_end) = (flow.key.source(), flow.key.destination());
    *reverse = *forward;
    reverse.direction = direction::REVERSE;
    reverse.next_hop = NO_WAY;
    reverse.looked_up = 0;
    reverse.new_source = virtual_end.address;
    reverse.new_source_port = virtual_end.port;
    reverse.new_destination = client.address;
    reverse.new_destination_port = client.port;
    // Undoing m → m' adds the complement of what doing it added.
    reverse.l3_delta = !forward.l3_delta;
    reverse.l4_delta = !forward.l4_delta;
}

/// Inserts the entry. False: there is one already, which is the connection and
/// stays.
#[inline(always)]
pub fn insert<F: Family>(
    flow: &Headers<F::Key>,
    entry: &mut Connection,
) -> Result<bool, DropReason> {
    match table::insert::<F, PACKETS>(&flow.key, entry) {
        Ok(()) => {
            load::put(entry.real, is_active_number(entry.state));
            fill::put(F::NUMBER, 1);
            stats::count_connection(entry.real);
            Ok(true)
        }
        Err(Refusal::Exists) => Ok(false),
        Err(_) => Err(DropReason::TableFull),
    }
}

/// The real's half first: where it is taken by another connection, two
/// clients' segments would be mixed up, so this one is refused.
#[inline(always)]
fn insert_both<F: Family>(
    flow: &Headers<F::Key>,
    entry: &mut Connection,
    reverse: &mut Connection,
) -> Result<bool, DropReason> {
    let key = entry.partner_key::<F::Key>(flow.key.protocol());
    turn_round::<F>(reverse, entry, flow);
    let is_new = insert_reverse::<F>(reverse, &key)?;
    if !is_new && partner::<F>(&key) != Some(flow.key) {
        return Err(DropReason::NatCollision);
    }
    let inserted = insert::<F>(flow, entry);
    match inserted {
        // The half that was there may have been of a connection that was just
        // ending, whose forward half is gone by now.
        Ok(true) if !is_new => drop(insert_reverse::<F>(reverse, &key)),
        Ok(true) => {}
        // Another CPU made the connection, perhaps to another real.
        Ok(false) if !is_new || partner::<F>(&flow.key) == Some(key) => {}
        Ok(false) | Err(_) => remove_reverse::<F>(&key),
    }
    inserted
}

/// The key of the other entry of the connection that has one with this key.
#[inline(always)]
fn partner<F: Family>(key: &F::Key) -> Option<F::Key> {
    let entry = table::find_rarely::<F, PACKETS>(key)?;
    // SAFETY: map values stay readable while the program runs.
    Some(unsafe { &(*entry).connection }.partner_key(key.protocol()))
}

/// False: there is such an entry already.
#[inline(always)]
fn insert_reverse<F: Family>(reverse: &mut Connection, key: &F::Key) -> Result<bool, DropReason> {
    match table::insert::<F, PACKETS>(key, reverse) {
        Ok(()) => {
            fill::put(F::NUMBER, 1);
            Ok(true)
        }
        Err(Refusal::Exists) => Ok(false),
        Err(_) => Err(DropReason::TableFull),
    }
}

#[inline(always)]
fn remove_reverse<F: Family>(key: &F::Key) {
    if table::remove::<F, PACKETS>(key).is_ok() {
        fill::took(F::NUMBER, 1);
    }
}

/// Full nat: the client's place is taken by an address of the service's pool
/// and a port that is free towards this real.
#[inline(always)]
fn insert_masqueraded<F: Family>(
    flow: &Headers<F::Key>,
    entry: &mut Connection,
    reverse: &mut Connection,
) -> Result<bool, DropReason> {
    // SAFETY: a pool is replaced whole, and the value is copied at once.
    let pool = unsafe { MASQUERADE.get(entry.service) }.ok_or(DropReason::Inconsistent)?;
    // SAFETY: a helper without arguments. Two CPUs that make the same
    // connection must not look in the same order.
    let random = u64::from(unsafe { bpf_get_prandom_u32() });
    for turn in 0..PORT_TRIES {
        let number = random.wrapping_add(u64::from(turn).wrapping_mul(0x9e37_79b9)) as u32;
        let place = number.checked_rem(pool.count).unwrap_or(0) as usize;
        let Some(address) = pool.addresses.get(place & (POOL_ADDRESSES - 1)) else {
            return Err(DropReason::Inconsistent);
        };
        let end = Endpoint {
            address: *address,
            port: Be16::new((FIRST_PORT + (number >> 3) % PORTS) as u16),
        };
        entry.new_source = end.address;
        entry.new_source_port = end.port;
        translate::<F>(entry, flow);
        let key = entry.partner_key::<F::Key>(flow.key.protocol());
        turn_round::<F>(reverse, entry, flow);
        if !insert_reverse::<F>(reverse, &key)? {
            continue;
        }
        let inserted = insert::<F>(flow, entry);
        if inserted != Ok(true) {
            remove_reverse::<F>(&key);
        }
        return inserted;
    }
    Err(DropReason::MasqueradePortsExhausted)
}
