//! Routers on a tunnel's way that told of a smaller MTU: the programs have
//! lowered the next hop's, and here is kept when it may be tried again (RFC
//! 1191 section 6.3, RFC 8201 section 4).

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How long a lowered MTU holds after the last message about it.
const LIFE: Duration = Duration::from_secs(600);

/// The reals' addresses whose MTU is lowered, with the end of that.
#[derive(Debug, Default)]
pub(super) struct PathMtus(HashMap<IpAddr, Instant>);

impl PathMtus {
    /// The MTU towards `address` was lowered. True if it was not already.
    pub(super) fn note(&mut self, address: IpAddr, now: Instant) -> bool {
        self.0.insert(address, now + LIFE).is_none()
    }

    /// When [`Self::take_due`] has something next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.values().copied().min()
    }

    /// The addresses whose time is over: theirs is the link's MTU again.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<IpAddr> {
        let due = self.0.extract_if(|_, end| *end <= now);
        due.map(|(address, _)| address).collect()
    }

    /// Forgets the others.
    pub(super) fn retain(&mut self, is_needed: impl Fn(IpAddr) -> bool) {
        self.0.retain(|address, _| is_needed(*address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

    #[test]
    fn the_last_message_counts_from() {
        let (mut mtus, now) = (PathMtus::default(), Instant::now());
        assert_eq!(mtus.deadline(), None);
        assert!(mtus.note(ONE, now));
        let later = now + LIFE / 2;
        assert!(!mtus.note(ONE, later) && mtus.note(OTHER, later + LIFE));
        assert_eq!(mtus.deadline(), Some(later + LIFE));
        assert!(mtus.take_due(now + LIFE).is_empty());
        assert_eq!(mtus.take_due(later + LIFE), [ONE]);
        assert!(mtus.take_due(later + LIFE).is_empty());
        // Lowered again, it is news again.
        assert!(mtus.note(ONE, later + LIFE));
    }

    #[test]
    fn a_real_that_is_gone_is_forgotten() {
        let (mut mtus, now) = (PathMtus::default(), Instant::now());
        mtus.note(ONE, now);
        mtus.note(OTHER, now);
        mtus.retain(|address| address == OTHER);
        assert_eq!(mtus.take_due(now + LIFE), [OTHER]);
    }
}
