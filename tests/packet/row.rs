//! A row of a table: description, packet in, what must become of it.

use std::collections::HashMap;

use crate::{
    judge::{self, Message},
    kernel::Verdict,
    packet::{Header, Packet, Transport, pattern},
    rig::{LOOPBACK, Rig},
    world::TCP_SYN,
};

pub struct Row {
    pub what: &'static str,
    pub packet: Packet,
    pub expect: Expect,
}

pub enum Expect {
    /// Out by the interface that it came by.
    Transmitted(Packet),
    /// Out by another.
    Redirected(Packet),
    /// An ICMP message goes back, and the packet is counted as dropped.
    Answered(Answer),
    /// To the kernel, not a byte changed, nothing counted.
    Passed,
    /// Counted under this reason.
    Dropped(&'static str),
}

/// An ICMP message made by the data plane.
#[derive(Clone, Copy)]
pub struct Answer {
    /// Type and code in ICMP and in ICMPv6.
    kinds: [(u8, u8); 2],
    mtu: u16,
    reason: &'static str,
}

pub const TIME_EXCEEDED: Answer = Answer {
    kinds: [(11, 0), (3, 0)],
    mtu: 0,
    reason: "ttl_exceeded",
};
pub const PORT_UNREACHABLE: Answer = Answer {
    kinds: [(3, 3), (1, 4)],
    mtu: 0,
    reason: "no_real",
};

/// "Fragmentation needed", or "packet too big".
pub const fn fragmentation_needed(mtu: u16) -> Answer {
    Answer {
        kinds: [(3, 4), (2, 0)],
        mtu,
        reason: "fragmentation_needed",
    }
}

impl Rig {
    /// The rows one after the other, on the same connections.
    #[track_caller]
    pub fn check(&mut self, rows: &[Row]) {
        for row in rows {
            self.check_at(LOOPBACK, row);
        }
    }

    /// One row, by an interface of this thread's namespace.
    #[track_caller]
    pub fn check_at(&mut self, ingress: u32, row: &Row) {
        self.check_one(ingress, row.what, &row.packet, &row.expect);
    }

    /// A row whose description is made up as the test goes.
    #[track_caller]
    pub fn check_one(&mut self, ingress: u32, what: &str, packet: &Packet, expect: &Expect) {
        let frame = packet.frame();
        let (verdict, reason) = match expect {
            Expect::Transmitted(_) => (Verdict::Tx, None),
            Expect::Redirected(_) => (Verdict::Redirect, None),
            Expect::Answered(answer) => (Verdict::Tx, Some(answer.reason)),
            Expect::Passed => (Verdict::Pass, None),
            Expect::Dropped(reason) => (Verdict::Drop, Some(*reason)),
        };
        let out = self.exchange(ingress, what, &frame, verdict, reason);
        match expect {
            Expect::Transmitted(expected) | Expect::Redirected(expected) => {
                if expected.part.is_some() {
                    let expected = judge::fragment(&expected.frame());
                    assert_eq!(judge::fragment(&out), expected, "{what}: {packet:#?}");
                } else {
                    assert_eq!(judge::packet(&out), *expected, "{what}: {packet:#?}");
                }
            }
            Expect::Answered(answer) => {
                assert_eq!(
                    judge::message(&out),
                    answer.about(packet),
                    "{what}: {packet:#?}"
                );
            }
            Expect::Passed => assert_eq!(out, frame, "{what}: {packet:#?}"),
            Expect::Dropped(_) => {}
        }
    }

    /// Sends a frame; what comes out, if the verdict is this one and nothing
    /// but the reason is counted.
    #[track_caller]
    pub fn exchange(
        &mut self,
        ingress: u32,
        what: &str,
        frame: &[u8],
        verdict: Verdict,
        reason: Option<&'static str>,
    ) -> Vec<u8> {
        eprintln!("- {what}");
        let before: HashMap<_, _> = self.all_drops().into_iter().collect();
        let outcome = self.run_at(ingress, frame);
        let mut counted = self.all_drops();
        counted.retain_mut(|(name, count)| {
            *count -= before.get(name).copied().unwrap_or(0);
            *count > 0
        });
        let reasons: Vec<_> = reason.into_iter().map(|reason| (reason, 1)).collect();
        assert_eq!(
            (outcome.verdict, counted),
            (verdict, reasons),
            "{what}: {frame:02x?}"
        );
        outcome.frame
    }
}

impl Answer {
    /// The message about a packet: back to its sender, from the address that
    /// it was sent to, with as much of the datagram as the family's rule
    /// allows: 576 bytes in all (RFC 1812 section 4.3.2.3), or 1280 (RFC 4443
    /// section 2.4).
    pub fn about(&self, packet: &Packet) -> Message {
        let is_ipv6 = packet.ip.is_ipv6();
        let (kind, code) = self.kinds[usize::from(is_ipv6)];
        let longest = if is_ipv6 { 1280 - 48 } else { 576 - 28 };
        let mut quote = packet.datagram(&pattern(packet.payload));
        quote.truncate(longest);
        Message {
            packet: Packet {
                to_mac: packet.from_mac,
                from_mac: packet.to_mac,
                tags: packet.tags,
                ip: Header {
                    source: packet.ip.destination,
                    destination: packet.ip.source,
                    // RFC 1812 section 4.3.2.5; RFC 4443 says nothing.
                    tos: if is_ipv6 { 0 } else { 0xc0 },
                    id: 0,
                    df: !is_ipv6,
                    ttl: 64,
                    label: 0,
                },
                transport: Transport::Icmp {
                    kind,
                    code,
                    word: u32::from(self.mtu),
                },
                payload: quote.len(),
                source_port: 0,
                destination_port: 0,
                ..TCP_SYN
            },
            quote,
        }
    }
}
