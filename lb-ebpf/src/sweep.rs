//! Ends idle connections. The daemon has the keys that look idle from its walk
//! and hands them to this program, as the "packet" of a `BPF_PROG_TEST_RUN`. The
//! decision is made here, next to the packets: an
//! entry that a packet reached meanwhile stays.
//!
//! The packet is a [`Header`] and up to [`SWEEP_BATCH`] keys; the return value
//! is the number of connections ended. A run takes microseconds. Templates and
//! counts are corrected likewise.

use core::ffi::c_void;

use aya_ebpf::{bindings::xdp_md, helpers::bpf_loop, programs::XdpContext};
use lb_common::{
    connection::{Connection, ForwardingMethod, direction, is_idle, mark},
    connection_state::{ConnectionState, is_half_open_number},
    flow::FlowKey as _,
    limits::SWEEP_BATCH,
    parse::Frame as _,
    persistence::TemplateKey,
    sweep::{Header, Repair, mode},
};

use crate::{
    connection::{cut, doom, remove},
    expiry,
    family::Family,
    fill, load,
    maps::SETTINGS,
    packet::Packet,
    persistence,
    stage::{SWEEP, now_ns},
    table,
};

/// What the turns of the loop share.
struct Round {
    context: *mut xdp_md,
    now_ns: u64,
    count: u32,
    ended: u32,
    mode: u8,
}

#[inline(always)]
pub fn run<F: Family>(packet: &Packet) -> u32 {
    each(packet, turn::<F> as *mut c_void)
}

/// Ends persistence templates; the keys are [`TemplateKey`]s.
#[inline(always)]
pub fn templates(packet: &Packet) -> u32 {
    each(packet, template as *mut c_void)
}

/// Corrects counts: the keys are [`Repair`]s.
#[inline(always)]
pub fn repair(packet: &Packet) -> u32 {
    each(packet, repair_one as *mut c_void)
}

/// Runs `turn` for each key of the packet. A loop of the kernel's: unrolled,
/// this would be the verifier's longest walk by far.
#[inline(always)]
fn each(packet: &Packet, turn: *mut c_void) -> u32 {
    let Some(header) = packet.at::<Header>(0) else {
        return 0;
    };
    // SAFETY: `at` checked the bounds; the fields are byte-aligned.
    let header = unsafe { *header.as_ptr() };
    let mut round = Round {
        context: packet.context().ctx,
        now_ns: now_ns(),
        count: u32::from(header.count),
        ended: 0,
        mode: header.mode,
    };
    // SAFETY: the callback has the form that the helper asks for, and `round`
    // outlives the call.
    unsafe { bpf_loop(SWEEP_BATCH as u32, turn, (&raw mut round).cast(), 0) };
    round.ended
}

impl Round {
    /// The key at an index, if there is one.
    #[inline(always)]
    fn key<K: Copy>(&self, index: u32) -> Option<K> {
        let packet = Packet::new(XdpContext::new(self.context));
        let index = index as usize & (SWEEP_BATCH - 1);
        if index as u32 >= self.count {
            return None;
        }
        let key = packet.at::<K>(size_of::<Header>() + index * size_of::<K>())?;
        // SAFETY: `at` checked the bounds; keys are plain data.
        Some(unsafe { key.read_unaligned() })
    }
}

/// One key; 1 ends the loop.
extern "C" fn turn<F: Family>(index: u32, round: *mut Round) -> i64 {
    // SAFETY: the helper passes on what `each` gave it.
    let round = unsafe { &mut *round };
    let Some(key) = round.key::<F::Key>(index) else {
        return 1;
    };
    round.ended += u32::from(end::<F>(&key, round.mode, round.now_ns));
    0
}

extern "C" fn template(index: u32, round: *mut Round) -> i64 {
    // SAFETY: as in `turn`.
    let round = unsafe { &mut *round };
    let Some(key) = round.key::<TemplateKey>(index) else {
        return 1;
    };
    let in_any_case = round.mode == mode::ALL;
    round.ended += u32::from(persistence::end(&key, round.now_ns, in_any_case));
    0
}

extern "C" fn repair_one(index: u32, round: *mut Round) -> i64 {
    // SAFETY: as in `turn`.
    let round = unsafe { &mut *round };
    let Some(repair) = round.key::<Repair>(index) else {
        return 1;
    };
    if round.mode == mode::FILL {
        let family = (repair.real & 1) as u8;
        fill::put(family, repair.active);
        fill::judge(family);
        return 0;
    }
    load::repair(
        repair.real,
        repair.active,
        repair.inactive,
        repair.persistent,
    );
    0
}

/// Does to the connection with this entry what the mode says. An idle
/// connection may be named by its reverse entry too.
#[inline(always)]
fn end<F: Family>(key: &F::Key, how: u8, now: u64) -> bool {
    let Some(entry) = table::find_rarely::<F, SWEEP>(key) else {
        return false;
    };
    // SAFETY: map values stay readable while the program runs.
    let connection = unsafe { &(*entry).connection };
    let partner = if connection.method == ForwardingMethod::Nat as u8 {
        table::find_rarely::<F, SWEEP>(&connection.partner_key(key.protocol()))
    } else {
        None
    };
    let (mut key, mut entry, mut connection) = (*key, entry, connection);
    // SAFETY: as above.
    let mut partner = partner.map(|partner| (partner, unsafe { &(*partner).connection }));
    if connection.direction == direction::REVERSE {
        let forward = connection.partner_key::<F::Key>(key.protocol());
        // It goes with its forward entry, unless that is gone, or has another
        // reverse entry.
        let Some((owner, owning)) = partner.filter(|(_, owning)| {
            owning.direction != direction::FORWARD
                || owning.partner_key::<F::Key>(key.protocol()) == key
        }) else {
            if how == mode::ALL || idle(connection, connection, connection.state, now) {
                delete::<F>(&key);
            }
            return false;
        };
        if how != mode::IDLE || owning.direction != direction::FORWARD {
            return false;
        }
        partner = Some((entry, connection));
        (key, entry, connection) = (forward, owner, owning);
    }
    let key = &key;
    if mark::is_gone(connection.state) {
        return false;
    }
    match how {
        mode::CUT => return cut::<F, SWEEP>(key, entry),
        mode::DOOM => return doom(entry),
        _ => {}
    }
    let partner = partner.map_or(connection, |(_, partner)| partner);
    let may_go = |state| match how {
        mode::ALL => true,
        mode::HALF_OPEN => is_half_open_number(state),
        _ => idle(connection, partner, state, now),
    };
    if !may_go(connection.state & ConnectionState::MASK) {
        if how == mode::IDLE {
            announce(key, connection, partner, now);
        }
        return false;
    }
    remove::<F, SWEEP>(key, entry, may_go)
}

/// Has the daemon look again when the connection's time is over, if that is
/// soon.
#[inline(always)]
fn announce<K: Copy + 'static>(key: &K, connection: &Connection, partner: &Connection, now: u64) {
    let Some(settings) = SETTINGS.get(0) else {
        return;
    };
    let used_ns = connection.last_seen_ns.max(partner.last_seen_ns);
    expiry::announce(
        key,
        settings.timeouts_s[(connection.state & ConnectionState::MASK) as usize],
        now.saturating_sub(used_ns),
    );
}

/// Deletes an entry that no counts know of.
#[inline(always)]
fn delete<F: Family>(key: &F::Key) {
    if table::remove::<F, SWEEP>(key).is_ok() {
        fill::took(F::NUMBER, 1);
    }
}

/// Whether neither half has been used for the timeout of the state.
#[inline(always)]
fn idle(connection: &Connection, partner: &Connection, state: u32, now: u64) -> bool {
    let Some(settings) = SETTINGS.get(0) else {
        return false;
    };
    let timeout = settings.timeouts_s[(state & ConnectionState::MASK) as usize];
    is_idle(now, connection.last_seen_ns, timeout) && is_idle(now, partner.last_seen_ns, timeout)
}
