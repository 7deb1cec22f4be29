//! A row of a table: description, packet in, what must become of it.

use std::collections::HashMap;

use crate::{
    judge::{self, Message},
    kernel::Verdict,
    packet::{Header, Packet},
    rig::Rig,
};

/// Largest quotation in an ICMP message: RFC 1812 section 4.3.2.3 allows a
/// datagram of 576 bytes, of which 28 are headers.
const MAX_QUOTE: usize = 548;

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

/// An ICMP message.
pub struct Answer {
    pub kind: u8,
    pub code: u8,
    pub mtu: u16,
    pub reason: &'static str,
}

pub const TIME_EXCEEDED: Answer = Answer {
    kind: 11,
    code: 0,
    mtu: 0,
    reason: "ttl_exceeded",
};
pub const PORT_UNREACHABLE: Answer = Answer {
    kind: 3,
    code: 3,
    mtu: 0,
    reason: "no_real",
};

pub const fn fragmentation_needed(mtu: u16) -> Answer {
    Answer {
        kind: 3,
        code: 4,
        mtu,
        reason: "fragmentation_needed",
    }
}

impl Rig {
    /// The rows one after the other, on the same connections.
    #[track_caller]
    pub fn check(&mut self, rows: &[Row]) {
        for row in rows {
            self.check_at(crate::rig::LOOPBACK, row);
        }
    }

    /// One row, by an interface of this thread's namespace.
    #[track_caller]
    pub fn check_at(&mut self, ingress: u32, row: &Row) {
        eprintln!("- {}", row.what);
        let frame = row.packet.frame();
        let before: HashMap<_, _> = self.all_drops().into_iter().collect();
        let outcome = self.run_at(ingress, &frame);
        let mut counted = self.all_drops();
        counted.retain_mut(|(name, count)| {
            *count -= before.get(name).copied().unwrap_or(0);
            *count > 0
        });
        let (verdict, reason) = match row.expect {
            Expect::Transmitted(_) => (Verdict::Tx, None),
            Expect::Redirected(_) => (Verdict::Redirect, None),
            Expect::Answered(ref answer) => (Verdict::Tx, Some(answer.reason)),
            Expect::Passed => (Verdict::Pass, None),
            Expect::Dropped(reason) => (Verdict::Drop, Some(reason)),
        };
        let reasons: Vec<_> = reason.into_iter().map(|reason| (reason, 1)).collect();
        assert_eq!(
            (outcome.verdict, counted),
            (verdict, reasons),
            "{}",
            row.what
        );
        match &row.expect {
            Expect::Transmitted(expected) | Expect::Redirected(expected) => {
                assert_eq!(judge::packet(&outcome.frame), *expected, "{}", row.what);
            }
            Expect::Answered(answer) => {
                let expected = answer.about(&row.packet);
                assert_eq!(judge::message(&outcome.frame), expected, "{}", row.what);
            }
            Expect::Passed => assert_eq!(outcome.frame, frame, "{}", row.what),
            Expect::Dropped(_) => {}
        }
    }
}

impl Answer {
    /// The message about a packet: back to its sender, from the address that
    /// it was sent to, with the datagram as it came.
    pub fn about(&self, packet: &Packet) -> Message {
        let datagram = &packet.frame()[14..14 + packet.length()];
        Message {
            to_mac: packet.from_mac,
            from_mac: packet.to_mac,
            ip: Header {
                source: packet.ip.destination,
                destination: packet.ip.source,
                tos: 0xc0,
                id: 0,
                df: true,
                ttl: 64,
            },
            kind: self.kind,
            code: self.code,
            word: u32::from(self.mtu),
            quote: datagram[..datagram.len().min(MAX_QUOTE)].to_vec(),
        }
    }
}
