//! Makes the connection that a scheduler decided on: one entry, or under nat
//! two, and forwards the packet that asked for it.

use aya_log_ebpf::trace;
use lb_common::{
    addr::{Addr, Be16},
    checksum,
    connection::{Connection, ForwardingMethod, direction},
    flow::FlowKeyV4,
    real::RealServer,
    tcp_state::{ConnectionState, Segment, next},
    verdict::DropReason,
    wire::protocol,
};

use crate::{
    connection::{self, partner_key},
    forward,
    maps::{CONNECTIONS_V4, REALS},
    packet::Packet,
    parse::{self, Flow},
    stage::{self, now_ns},
    stats,
};

/// `BPF_NOEXIST` of bpf(2).
const NO_EXIST: u64 = 1;
/// `EEXIST` of errno(3), as helpers return it.
const EEXIST: i32 = -17;

/// The stage after a scheduler.
#[inline(always)]
pub fn run(packet: &Packet) -> u32 {
    let (Some(scratch), Some(flow)) = (stage::scratch(), parse::flow(packet)) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    let Some(real) = REALS.get(scratch.real) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    let entry = entry(&flow, real, scratch.real);
    // Compiled out of the loaded program unless the daemon's log level asks.
    trace!(
        packet.context(),
        "new connection: service slot {}, real slot {}", scratch.service, scratch.real
    );
    if let Err(reason) = insert(&flow, &entry) {
        return stats::drop_packet(reason);
    }
    // The entry just made, or the one that another CPU made for the same
    // flow: its real is the connection's.
    let Some(entry) = CONNECTIONS_V4.get_ptr_mut(flow.key) else {
        return stats::drop_packet(DropReason::Inconsistent);
    };
    forward::run(packet, &flow, entry)
}

/// The forward entry, before its first packet is counted.
#[inline(always)]
fn entry(flow: &Flow, real: &RealServer, slot: u32) -> Connection {
    let mut entry = Connection {
        last_seen_ns: now_ns(),
        real: slot,
        next_hop: real.next_hop,
        service: real.service,
        method: real.method,
        direction: direction::FORWARD,
        new_source: Addr::from_v4(flow.key.source),
        new_source_port: flow.key.source_port,
        ..Connection::default()
    };
    entry.state = if flow.key.protocol == protocol::TCP {
        // `see` moves the state for this very segment too; SYN in SYN_RECV
        // and ACK in ESTABLISHED stay, so the first move is made here, where
        // the counts are.
        next(
            entry.half(),
            Segment::from_flags(flow.tcp_flags),
            ConnectionState::None,
        ) as u32
    } else {
        ConnectionState::Udp as u32
    };
    if real.method == ForwardingMethod::Nat as u8 {
        translate(&mut entry, &flow.key, real.address, real.port);
    } else {
        entry.new_destination = real.address;
    }
    entry
}

/// nat towards the real: the destination changes, the source stays.
#[inline(always)]
fn translate(entry: &mut Connection, key: &FlowKeyV4, address: Addr, port: Be16) {
    entry.new_destination = address;
    entry.new_destination_port = port;
    let l3 = checksum::replace_u32(key.destination.raw(), address.v4().raw());
    let l4 = l3 + checksum::replace_u16(key.destination_port.raw(), port.raw());
    entry.l3_delta = checksum::fold(l3);
    entry.l4_delta = checksum::fold(l4);
}

/// The reverse entry of a forward one: what comes from the real goes to the
/// client as from the VIP.
#[inline(always)]
fn reverse(forward: &Connection, key: &FlowKeyV4) -> Connection {
    Connection {
        direction: direction::REVERSE,
        new_source: Addr::from_v4(key.destination),
        new_source_port: key.destination_port,
        new_destination: Addr::from_v4(key.source),
        new_destination_port: key.source_port,
        // Undoing m → m' adds the complement of what doing it added.
        l3_delta: !forward.l3_delta,
        l4_delta: !forward.l4_delta,
        ..*forward
    }
}

/// Inserts the entry, or both; an entry that is there already is the
/// connection and stays.
#[inline(always)]
fn insert(flow: &Flow, entry: &Connection) -> Result<(), DropReason> {
    let is_nat = entry.method == ForwardingMethod::Nat as u8;
    if is_nat {
        insert_reverse(flow, entry)?;
    }
    match CONNECTIONS_V4.insert(flow.key, entry, NO_EXIST) {
        Ok(()) => {
            if is_nat {
                // The half that was there may have been of a connection that
                // was just ending, whose forward half is gone by now.
                let _ = insert_reverse(flow, entry);
            }
            connection::count(entry.real, entry.state().is_active(), 1);
            stats::count_connection(entry.real);
            Ok(())
        }
        Err(EEXIST) => Ok(()),
        Err(_) => {
            if is_nat {
                let _ = CONNECTIONS_V4.remove(partner_key(entry, flow.key.protocol));
            }
            Err(DropReason::TableFull)
        }
    }
}

/// The real's half first: where it is taken by another connection, two
/// clients' segments would be mixed up, so this one is refused.
#[inline(always)]
fn insert_reverse(flow: &Flow, entry: &Connection) -> Result<(), DropReason> {
    let key = partner_key(entry, flow.key.protocol);
    let reverse = reverse(entry, &flow.key);
    match CONNECTIONS_V4.insert(key, reverse, NO_EXIST) {
        Ok(()) => Ok(()),
        Err(EEXIST) => {
            // SAFETY: the value is copied at once.
            let other = unsafe { CONNECTIONS_V4.get(key) }.copied();
            match other {
                Some(other) if partner_key(&other, flow.key.protocol) == flow.key => Ok(()),
                _ => Err(DropReason::NatCollision),
            }
        }
        Err(_) => Err(DropReason::TableFull),
    }
}
