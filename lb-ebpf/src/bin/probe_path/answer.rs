//! What comes in: answers to probes, from the VIP, and ICMP errors about them.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use lb_common::{
    addr::Addr,
    checksum,
    probe_path::{Ends, Outcome, Redirect},
    wire::icmp,
};

use super::{
    ANSWERS, REDIRECTS,
    network::{self, NETWORK, Network},
    packet::Packet,
};

/// None: nothing of ours, and unchanged.
#[inline(always)]
pub fn run<F: Network>(packet: &Packet) -> Option<Outcome> {
    let header: F::Header = packet.read(NETWORK)?;
    let protocol = F::protocol(&header)?;
    let transport = NETWORK + usize::from(F::HEADER_BYTES);
    if protocol == F::ICMP && F::is_icmp_error(packet.read(transport)?) {
        return error::<F>(packet, F::source(&header), transport);
    }
    let [asked, own] = network::ports::<F>(packet, transport, protocol, F::ECHO_REPLY)?;
    let redirect = redirect(&Ends {
        remote: F::source(&header),
        local: F::destination(&header),
        remote_port: asked,
        local_port: own,
        protocol: u32::from(protocol),
    })?;
    let (vip, real) = (redirect.vip, redirect.real);
    network::replace::<F>(packet, F::SOURCE, protocol, vip, real)?;
    Some(Outcome::Answered)
}

/// An error about a probe's packet, which it quotes as it was sent: to the VIP. It
/// comes from the real, by whatever address of it, or from a router.
#[inline(always)]
fn error<F: Network>(packet: &Packet, source: Addr, message: usize) -> Option<Outcome> {
    let quoted = message + usize::from(icmp::HEADER_BYTES);
    let header: F::Header = packet.read(quoted)?;
    let protocol = F::protocol(&header)?;
    let transport = quoted + usize::from(F::HEADER_BYTES);
    let [own, asked] = network::ports::<F>(packet, transport, protocol, F::ECHO)?;
    let redirect = redirect(&Ends {
        remote: F::destination(&header),
        local: F::source(&header),
        remote_port: asked,
        local_port: own,
        protocol: u32::from(protocol),
    })?;
    let (vip, real) = (redirect.vip, redirect.real);
    let delta = checksum::fold(checksum::replace_address(vip, real));
    F::write_quoted(packet, message, quoted, real, delta)?;
    if source == vip {
        network::replace::<F>(packet, F::SOURCE, F::ICMP, vip, real)?;
    }
    Some(Outcome::Answered)
}

/// Of the probe with these ends, if it is still under way.
#[inline(always)]
fn redirect(ends: &Ends) -> Option<&'static Redirect> {
    // SAFETY: elements that are reused meanwhile stay readable; what then stands in
    // them leads to a redirect whose VIP is compared.
    let asked = unsafe { ANSWERS.get(core::hint::black_box(ends)) }?;
    // SAFETY: an element that is replaced meanwhile stays readable, and whole.
    let redirect = unsafe { REDIRECTS.get(asked.mark) }?;
    // SAFETY: a helper without arguments.
    let age = unsafe { bpf_ktime_get_ns() }.wrapping_sub(asked.at_ns);
    (age <= redirect.lifetime_ns && redirect.vip == ends.remote).then_some(redirect)
}
