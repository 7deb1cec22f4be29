//! What the reals do with the attack's segments.

use anyhow::Result;

use super::segment::NETWORK;
use crate::topology::Topology;

/// Lets the reals drop what comes from the attackers' network before TCP sees it:
/// reverse path filtering (RFC 3704) finds no way back (`__fib_validate_source` in
/// net/ipv4/fib_frontend.c; `IPReversePathFilter` in /proc/net/netstat counts it).
///
/// What reals do with a flood is done by other machines elsewhere; here it would be
/// taken from the director's processors, and a SYN costs a real's TCP more than it
/// costs lbd. Nor would it end at the reals: with two processors and 240,000 SYNs a
/// second by dr, the kernel's queues of received packets (`enqueue_to_backlog` in
/// net/core/dev.c) overflow between the namespaces, whoever's packets they are.
/// `dropped` in /proc/net/softnet_stat rises by 272,000 in a million SYNs; with the
/// shield it stays.
pub fn raise(network: &Topology) -> Result<()> {
    for real in &network.reals {
        real.ip(&format!("route add blackhole {NETWORK}\n"))?;
        real.sysctl("net/ipv4/conf/all/rp_filter", "1")?;
    }
    Ok(())
}
