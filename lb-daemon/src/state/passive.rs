//! Reals under nat that answer clients with nothing, or with RST alone: their checks are
//! not waited for. The counters tell, as nat sees both halves: a segment that opens a
//! connection has options (the MSS at least), and an RST has none.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use lb_common::stats::RealStats;
use tracing::debug;

use super::{desired::ServiceEntry, director::Director};
use crate::config::model::{ForwardingMethod, Protocol, RealState};

/// New connections that say something.
const ENOUGH: u64 = 3;
/// For as long as there are fewer; then counting begins anew.
const WINDOW: Duration = Duration::from_secs(10);
/// Bytes of an IP packet with a TCP header without options: IPv4, IPv6.
const BARE: [u64; 2] = [20 + 20, 40 + 20];

/// What the counters were when counting began, by real slot.
#[derive(Debug, Default)]
pub(super) struct Passive(HashMap<u32, (Instant, RealStats)>);

impl Passive {
    /// Takes a look at a real's counters. Whether none of enough new connections has had an
    /// answer that could be one.
    fn is_suspect(&mut self, slot: u32, stats: RealStats, is_v4: bool, now: Instant) -> bool {
        let (began, before) = *self.0.entry(slot).or_insert((now, stats));
        let connections = stats.connections.saturating_sub(before.connections);
        if connections < ENOUGH {
            // The slot is another real's, the counters were zeroed, or it was long ago.
            if stats.connections < before.connections || now - began > WINDOW {
                self.0.insert(slot, (now, stats));
            }
            return false;
        }
        self.0.insert(slot, (now, stats));
        let packets = stats.out_packets.saturating_sub(before.out_packets);
        let bytes = stats.out_bytes.saturating_sub(before.out_bytes);
        bytes <= packets * BARE[usize::from(!is_v4)]
    }
}

impl Director {
    /// Has reals asked at once whose clients get no answers, by the counters of all
    /// slots.
    pub(super) fn hurry_checks(&mut self, counters: &[RealStats]) {
        let now = Instant::now();
        let is_tcp = |entry: &&ServiceEntry| entry.id.protocol() == Some(Protocol::Tcp);
        for entry in self.desired.services.iter().filter(is_tcp) {
            for of in &entry.reals {
                let real = &of.real;
                if real.forward != ForwardingMethod::Nat || real.state == RealState::Maint {
                    continue;
                }
                let running = self.health.checks.of(entry.id, real.id);
                if running.is_empty() || !self.health.standing(entry.id, real.id).is_up() {
                    continue;
                }
                let slot = self.reconciler.real_slot(entry.id, real.id);
                let stats = slot.and_then(|slot| Some((slot, *counters.get(slot as usize)?)));
                let Some((slot, stats)) = stats else { continue };
                let is_v4 = real.id.address.is_ipv4();
                if self.passive.is_suspect(slot, stats, is_v4, now) {
                    debug!(service = %entry.id, real = %real.id, "clients get no answers; checked at once");
                    for check in running {
                        check.hurry();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(connections: u64, out_packets: u64, out_bytes: u64) -> RealStats {
        RealStats {
            connections,
            out_packets,
            out_bytes,
            ..RealStats::default()
        }
    }

    #[test]
    fn nothing_and_rst_alone_are_no_answers() {
        for (first, then, is_v4, expected) in [
            (stats(10, 50, 9000), stats(13, 50, 9000), true, true),
            (stats(10, 50, 9000), stats(12, 50, 9000), true, false),
            // Each SYN, and two that came again, is answered by RST.
            (stats(10, 50, 9000), stats(13, 55, 9200), true, true),
            (stats(10, 50, 9000), stats(13, 53, 9180), false, true),
            // One SYN/ACK with an MSS.
            (stats(10, 50, 9000), stats(13, 53, 9124), true, false),
            // Zeroed, or another real's.
            (stats(10, 50, 9000), stats(3, 0, 0), true, false),
        ] {
            let mut passive = Passive::default();
            let now = Instant::now();
            assert!(!passive.is_suspect(7, first, is_v4, now));
            let later = now + Duration::from_secs(2);
            assert_eq!(
                passive.is_suspect(7, then, is_v4, later),
                expected,
                "{then:?}"
            );
            assert!(!passive.is_suspect(7, then, is_v4, later), "counted anew");
        }
    }

    #[test]
    fn few_connections_add_up_for_a_while() {
        let mut passive = Passive::default();
        let now = Instant::now();
        let mut look = |connections, seconds| {
            let at = now + Duration::from_secs(seconds);
            passive.is_suspect(7, stats(connections, 0, 0), true, at)
        };
        assert_eq!([look(1, 0), look(2, 2), look(3, 4)], [false; 3]);
        assert!(look(4, 6));
        assert_eq!(
            [look(5, 8), look(6, 17), look(7, 19), look(8, 21)],
            [false; 4]
        );
    }
}
