//! Packets that are forwarded without a connection's entry: under attack, when
//! the table is full, and one-packet scheduling. The real is the one that a
//! hash of the flow, or the scheduler, says.

use lb_common::{
    abi::{Scratch, entryless},
    addr::Addr,
    connection::{Connection, ForwardingMethod, direction},
    connection_state::ConnectionState,
    defence::Defence,
    flow::FlowKey as _,
    parse::{self, Flow},
    scheduler::maglev,
    tcp_state::flag,
    verdict::{DropReason, STATELESS_SLOT},
    wire::protocol,
};

use crate::{
    connect, expiry,
    family::Family,
    fill,
    forward::{self, nat},
    maps::{REALS, SETTINGS},
    one_packet,
    packet::Packet,
    persistence, schedule, service, stage, stats, table,
    verifier::apart,
};

/// The stage.
#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    match forward::<F>(packet) {
        Ok(verdict) => verdict,
        Err(reason) => stats::drop_packet(reason),
    }
}

#[inline(always)]
fn forward<F: Family>(packet: &Packet) -> Result<u32, DropReason> {
    let inconsistent = DropReason::Inconsistent;
    let scratch = stage::scratch().ok_or(inconsistent)?;
    let datagram = F::datagram(packet, packet.network()).ok_or(inconsistent)?;
    let flow = parse::flow(packet, &datagram).ok_or(inconsistent)?;
    if scratch.entryless == entryless::REPLY {
        return reply(packet, &flow, scratch);
    }
    if scratch.entryless != entryless::ONE_PACKET {
        scratch.real = by_hash(&flow, scratch).ok_or(DropReason::NoReal)?;
        stats::count(STATELESS_SLOT);
    }
    let real = REALS.get(scratch.real).ok_or(inconsistent)?;
    let entry = &mut scratch.forward;
    connect::begin::<F>(entry, &flow, real, scratch.real);
    if real.method == ForwardingMethod::Nat as u8 {
        connect::translate::<F>(entry, &flow);
    }
    match scratch.entryless {
        entryless::MIDDLE => adopt(&flow, entry),
        _ => stats::count_connection(scratch.real),
    }
    stats::count_packet(scratch.real, direction::FORWARD, flow.length);
    Ok(forward::along(packet, &flow, entry))
}

/// The same real for every packet of a flow; under persistence for every flow
/// of a client.
#[inline(always)]
fn by_hash<F: Family>(flow: &Flow<F>, scratch: &Scratch) -> Option<u32> {
    let plan = service::plan_at(scratch.plan)?;
    let hash = match persistence::policy(scratch.service) {
        Some(policy) => {
            let key = persistence::key(
                scratch.service,
                policy.prefix,
                flow.key.source().address,
                F::NUMBER,
            );
            key.hash()
        }
        None => flow.key.tag(),
    };
    let index = maglev::index(hash, plan.table_length)?;
    schedule::plan_word(plan.table_first.wrapping_add(index))
}

/// A client who answers has a connection: its entry is half-open until its next
/// packet. Without room the next packet goes the same way, and so does one that
/// is closing: what it left would look established for long.
#[inline(always)]
fn adopt<F: Family>(flow: &Flow<F>, entry: &mut Connection) {
    let Some(settings) = SETTINGS.get(0) else {
        return;
    };
    // When the mode is over, entries for whoever sends on must not bring it back.
    let most = if fill::in_force(F::NUMBER, Defence::Stateless) {
        settings.most_entries
    } else {
        settings.marks[Defence::Stateless as usize].off
    };
    let is_closing = flow.key.protocol() == protocol::TCP && flow.segment & flag::FIN != 0;
    if is_closing || fill::entries(F::NUMBER) >= most {
        return;
    }
    entry.state = match flow.key.protocol() {
        protocol::TCP => ConnectionState::SynRecv as u32,
        protocol::SCTP => ConnectionState::SctpInit as u32,
        _ => entry.state,
    };
    entry.packets = 1;
    entry.bytes = u64::from(flow.length);
    if connect::insert::<F>(flow, entry) == Ok(true) {
        // Apart, because this program's stack has no room for what is announced.
        apart(announce_adopted::<F>, &mut 0);
    }
}

/// Announces the entry that was just inserted.
extern "C" fn announce_adopted<F: Family>(_: u32, _: *mut u32) -> i64 {
    let (Some(key), Some(scratch), Some(settings)) = (
        table::last_key::<F, { stage::PACKETS }>(),
        stage::scratch(),
        SETTINGS.get(0),
    ) else {
        return 0;
    };
    let state = scratch.forward.state & ConnectionState::MASK;
    expiry::announce(key, settings.timeouts_s[state as usize], 0);
    0
}

/// A real's datagram to a client, by nat.
#[inline(always)]
fn reply<F: Family>(
    packet: &Packet,
    flow: &Flow<F>,
    scratch: &mut Scratch,
) -> Result<u32, DropReason> {
    let end = one_packet::service_end(flow).ok_or(DropReason::Inconsistent)?;
    let client = flow.key.destination();
    let entry = &mut scratch.reverse;
    entry.method = ForwardingMethod::Nat as u8;
    entry.direction = direction::REVERSE;
    entry.new_source = end.address;
    entry.new_source_port = end.port;
    entry.new_destination = client.address;
    entry.new_destination_port = client.port;
    debug_assert_ne!(end.address, Addr::UNSPECIFIED);
    connect::translate::<F>(entry, flow);
    if let Some(verdict) = forward::outlived(packet, flow) {
        return Ok(verdict);
    }
    match nat::way_to_client(packet, flow, entry) {
        Ok(hop) => Ok(nat::to_client_by(packet, flow, entry, hop)),
        Err(verdict) => Ok(verdict),
    }
}
