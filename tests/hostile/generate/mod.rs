//! Packets by the number: the same seed, the same packets, given that the data
//! plane does the same with them. Most belong to a few conversations, so that
//! they meet connections; then many are spoilt.
//!
//! ```text
//! conversation   who talks to whom; what was learnt of its translation
//! shape          what varies in headers: options, tags, sizes, TTL
//! segment        TCP, UDP, SCTP, fragments of them
//! error          ICMP errors about conversations and tunnels
//! foreign        what no director handles, and noise
//! spoil          lies, cuts, flipped bits
//! ```

mod conversation;
mod error;
mod foreign;
mod segment;
mod shape;
mod spoil;

use fastrand::Rng;

use crate::{draft::Draft, judge::Sent, method::Method};
use conversation::{Conversation, Learnt};

/// What a packet is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of a client, to the VIP.
    Request,
    /// Of a real.
    Reply,
    Fragment,
    /// An ICMP error to the VIP, about what came from it.
    ErrorToVip,
    /// An ICMP error to a client, about what went to a real.
    ErrorToClient,
    /// An ICMP error to the director, about a tunnel of its own.
    ErrorToTunnel,
    /// Addresses and ports of anywhere.
    Stray,
    Foreign,
    Noise,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Fragment => "fragment",
            Self::ErrorToVip => "error to VIP",
            Self::ErrorToClient => "error to client",
            Self::ErrorToTunnel => "error to tunnel",
            Self::Stray => "stray",
            Self::Foreign => "foreign",
            Self::Noise => "noise",
        }
    }
}

/// The interface that a packet comes in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Clients,
    Reals,
}

impl Side {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Reals => "reals",
        }
    }
}

/// A packet that was made.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    pub kind: Kind,
    pub side: Side,
    /// Something in it is not as a correct sender would have it.
    pub is_spoilt: bool,
    conversation: Option<Conversation>,
}

impl Made {
    /// A packet that comes from outside the generator.
    pub const fn of_somebody(side: Side) -> Self {
        Self {
            kind: Kind::Stray,
            side,
            is_spoilt: true,
            conversation: None,
        }
    }
}

pub struct Generator {
    method: Method,
    /// The packet made last.
    pub draft: Draft,
    learnt: Learnt,
}

impl Generator {
    pub fn new(method: Method) -> Self {
        Self {
            method,
            draft: Draft::default(),
            learnt: Learnt::default(),
        }
    }

    /// Of one conversation after the other the packet that opens it.
    pub fn open(&mut self, number: usize) -> Option<Made> {
        let conversation = Conversation::nth(number)?;
        self.draft.clear();
        segment::opening(&mut self.draft, conversation);
        Some(Made {
            kind: Kind::Request,
            side: Side::Clients,
            is_spoilt: false,
            conversation: Some(conversation),
        })
    }

    /// The next packet into `self.draft`.
    pub fn make(&mut self, rng: &mut Rng) -> Made {
        self.draft.clear();
        let kind = self.kind(rng);
        let conversation = Conversation::any(rng);
        let mut side = Side::Clients;
        let mut own = Some(conversation);
        match kind {
            Kind::Request => segment::request(&mut self.draft, rng, conversation),
            Kind::Reply => {
                side = Side::Reals;
                segment::reply(
                    &mut self.draft,
                    rng,
                    conversation,
                    self.learnt.sent(conversation),
                );
            }
            Kind::Fragment if self.method.translates() && rng.bool() => {
                side = Side::Reals;
                let sent = self.learnt.sent(conversation);
                segment::fragment_of_reply(&mut self.draft, rng, conversation, sent);
            }
            Kind::Fragment => segment::fragment(&mut self.draft, rng, conversation),
            Kind::ErrorToVip => error::to_vip(&mut self.draft, rng, conversation),
            Kind::ErrorToClient => {
                side = if rng.bool() {
                    Side::Reals
                } else {
                    Side::Clients
                };
                error::to_client(
                    &mut self.draft,
                    rng,
                    conversation,
                    self.learnt.sent(conversation),
                );
            }
            Kind::ErrorToTunnel => {
                side = Side::Reals;
                error::to_tunnel(
                    &mut self.draft,
                    rng,
                    self.method,
                    conversation,
                    self.learnt.sent(conversation),
                );
            }
            Kind::Stray => {
                own = None;
                segment::stray(&mut self.draft, rng);
            }
            Kind::Foreign => {
                own = None;
                foreign::packet(&mut self.draft, rng);
            }
            Kind::Noise => {
                own = None;
                foreign::noise(&mut self.draft, rng);
            }
        }
        // A few come in by the other interface: one arm, or a wrong cable.
        if rng.u8(..16) == 0 {
            side = if side == Side::Clients {
                Side::Reals
            } else {
                Side::Clients
            };
        }
        let is_spoilt = rng.u8(..100) < 22;
        if is_spoilt {
            spoil::packet(&mut self.draft, rng);
        }
        Made {
            kind,
            side,
            is_spoilt,
            conversation: own,
        }
    }

    fn kind(&self, rng: &mut Rng) -> Kind {
        use Kind::{
            ErrorToClient, ErrorToTunnel, ErrorToVip, Foreign, Fragment, Noise, Reply, Request,
            Stray,
        };
        let is_tunnel = matches!(self.method, Method::Tun(_));
        let (replies, to_client) = if self.method.translates() {
            (20, 8)
        } else {
            (2, 1)
        };
        let weights = [
            (Request, 46),
            (Reply, replies),
            (Fragment, 9),
            (ErrorToVip, 8),
            (ErrorToClient, to_client),
            (ErrorToTunnel, if is_tunnel { 6 } else { 1 }),
            (Stray, 5),
            (Foreign, 4),
            (Noise, 2),
        ];
        let mut turn = rng.u32(..weights.iter().map(|(_, weight)| *weight).sum::<u32>());
        for (kind, weight) in weights {
            if turn < weight {
                return kind;
            }
            turn -= weight;
        }
        unreachable!("a turn beyond the sum of the weights")
    }

    /// Notes how a conversation's packet was sent on.
    pub fn learn(&mut self, made: &Made, sent: Sent) {
        if let (Kind::Request, false, Some(conversation)) =
            (made.kind, made.is_spoilt, made.conversation)
        {
            self.learnt.note(conversation, sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same seed, the same packets; and none too short for a test run.
    #[test]
    fn a_seed_is_a_packet() {
        for method in Method::ALL {
            let (mut one, mut other) = (Generator::new(method), Generator::new(method));
            for seed in 0..20_000 {
                let made = one.make(&mut Rng::with_seed(seed));
                other.make(&mut Rng::with_seed(seed));
                assert_eq!(one.draft.bytes, other.draft.bytes, "{seed}");
                let length = one.draft.len();
                assert!(
                    (14..=crate::run::MAX_FRAME).contains(&length),
                    "{seed}: {length} bytes, {made:?}"
                );
            }
        }
    }
}
