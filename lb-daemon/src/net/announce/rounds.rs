//! When which address is announced again. Pure.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use tokio::time::{Duration, Instant};

use super::Port;

/// Between two announcements of an address: as long as RFC 4861 has neighbour
/// advertisements wait (`RETRANS_TIMER`, section 10).
const INTERVAL: Duration = Duration::from_secs(1);
/// Announcements by ARP, keepalived's default (`vrrp_garp_master_repeat`): any of them
/// may be lost.
const ARP_ROUNDS: u32 = 5;
/// RFC 4861 allows no more (`MAX_NEIGHBOR_ADVERTISEMENT`, section 10).
const ADVERTISEMENT_ROUNDS: u32 = 3;

/// Addresses with announcements still to come, on some interfaces each.
#[derive(Debug, Default)]
pub(super) struct Rounds(HashMap<IpAddr, Vec<Pending>>);

#[derive(Debug)]
struct Pending {
    ports: Arc<[Port]>,
    left: u32,
    next: Instant,
}

impl Rounds {
    /// Announces these on these interfaces from now on.
    pub(super) fn begin(&mut self, addresses: Vec<IpAddr>, ports: &Arc<[Port]>, now: Instant) {
        for address in addresses {
            let left = match address {
                IpAddr::V4(_) => ARP_ROUNDS,
                IpAddr::V6(_) => ADVERTISEMENT_ROUNDS,
            };
            let pending = self.0.entry(address).or_default();
            // An interface that comes and goes begins anew, and adds nothing.
            let is_among = |port: &Port| ports.iter().any(|other| other.index == port.index);
            pending.retain(|other| !other.ports.iter().all(is_among));
            pending.push(Pending {
                ports: ports.clone(),
                left,
                next: now,
            });
        }
    }

    /// Announces these no more.
    pub(super) fn withdraw(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            self.0.remove(address);
        }
    }

    /// When [`Self::take_due`] has something next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.values().flatten().map(|pending| pending.next).min()
    }

    /// What is to be announced now, and where.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(IpAddr, Arc<[Port]>)> {
        let mut due = Vec::new();
        self.0.retain(|address, pending| {
            for one in pending.iter_mut().filter(|one| one.next <= now) {
                due.push((*address, one.ports.clone()));
                (one.left, one.next) = (one.left - 1, now + INTERVAL);
            }
            pending.retain(|one| one.left > 0);
            !pending.is_empty()
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn port(index: u32) -> Port {
        Port {
            index,
            mac: [2, 0, 0, 0, 0, 1],
            is_router: false,
            carrier_ups: 1,
        }
    }

    /// How often each is announced from now until nothing is left.
    fn run(rounds: &mut Rounds) -> (usize, usize) {
        let (mut v4, mut v6) = (0, 0);
        while let Some(at) = rounds.deadline() {
            for (address, ports) in rounds.take_due(at) {
                let count = if address == V4 { &mut v4 } else { &mut v6 };
                *count += ports.len();
            }
        }
        (v4, v6)
    }

    #[test]
    fn each_is_announced_a_few_times_a_second_apart() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        rounds.begin(vec![V4, V6], &[port(1)].into(), now);
        assert_eq!(rounds.deadline(), Some(now));
        assert_eq!(rounds.take_due(now).len(), 2);
        assert_eq!(rounds.deadline(), Some(now + INTERVAL));
        assert!(rounds.take_due(now + INTERVAL / 2).is_empty());
        assert_eq!(run(&mut rounds), (4, 2));
    }

    #[test]
    fn what_is_withdrawn_is_not_announced() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        rounds.begin(vec![V4, V6], &[port(1)].into(), now);
        rounds.withdraw(&[V4]);
        assert_eq!(run(&mut rounds), (0, 3));
    }

    #[test]
    fn an_interface_that_comes_again_begins_anew() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        rounds.begin(vec![V4], &[port(1), port(2)].into(), now);
        for _ in 0..10 {
            rounds.begin(vec![V4], &[port(2)].into(), now);
        }
        assert_eq!(run(&mut rounds), (15, 0));
    }
}
