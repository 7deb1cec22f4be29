//! A probe's packet on its way out: to the VIP, through the real.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use lb_common::probe_path::{Asked, Ends, Outcome, Redirect};

use super::{
    ANSWERS, REDIRECTS,
    network::{self, NETWORK, Network},
    outer::{Inner, Outer},
    packet::Packet,
    tunnel,
};

/// None: not to the redirect's real, and so none of its probes.
#[inline(always)]
pub fn run<F: Network + Inner + Outer>(packet: &Packet, mark: u32) -> Option<Outcome> {
    // SAFETY: an element that is replaced meanwhile stays readable, and whole.
    let Some(redirect) = (unsafe { REDIRECTS.get(mark) }) else {
        return Some(Outcome::Dropped);
    };
    let Some(header) = packet.read::<F::Header>(NETWORK) else {
        return Some(Outcome::Dropped);
    };
    if F::destination(&header) != redirect.real {
        return None;
    }
    Some(match send::<F>(packet, &header, redirect, mark) {
        Some(()) => Outcome::Redirected,
        None => Outcome::Dropped,
    })
}

#[inline(always)]
fn send<F: Network + Inner + Outer>(
    packet: &Packet,
    header: &F::Header,
    redirect: &Redirect,
    mark: u32,
) -> Option<()> {
    if F::source(header) == redirect.vip {
        // The real would answer itself.
        return None;
    }
    let protocol = F::protocol(header)?;
    let transport = NETWORK + usize::from(F::HEADER_BYTES);
    let [own, asked] = network::ports::<F>(packet, transport, protocol, F::ECHO)?;
    let ends = Ends {
        remote: redirect.vip,
        local: F::source(header),
        remote_port: asked,
        local_port: own,
        protocol: u32::from(protocol),
    };
    let value = Asked {
        // SAFETY: a helper without arguments.
        at_ns: unsafe { bpf_ktime_get_ns() },
        mark,
        pad: 0,
    };
    // Written at once: LLVM 22 would write parts of it to odd words of the stack.
    ANSWERS
        .insert(
            core::hint::black_box(&ends),
            core::hint::black_box(&value),
            0,
        )
        .ok()?;
    network::replace::<F>(
        packet,
        F::DESTINATION,
        protocol,
        redirect.real,
        redirect.vip,
    )?;
    if redirect.is_tunnel != 0 {
        tunnel::enter::<F>(packet, header, redirect, protocol, own)?;
    }
    // It may pass another interface with this program: a VLAN's port, a bond's.
    packet.clear_mark();
    Some(())
}
