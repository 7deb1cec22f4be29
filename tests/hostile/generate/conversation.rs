//! Who talks to the services. There are few, so that each has many packets.

use std::net::IpAddr;

use fastrand::Rng;

use crate::{
    draft::number,
    judge::Sent,
    world::{
        CLIENT_PORTS, CLIENTS, FAMILIES, FIRST_CLIENT_PORT, Family, PORT, QUIESCED_PORT,
        REACHABLE_CLIENTS, REAL_PORT, REALS, RIVAL_PORT, client, real, vip,
    },
};

const PROTOCOLS: [u8; 3] = [number::TCP, number::UDP, number::SCTP];
const NUMBER: usize = FAMILIES.len() * PROTOCOLS.len() * CLIENTS * CLIENT_PORTS;

#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    number: usize,
    pub family: Family,
    pub protocol: u8,
    pub client: IpAddr,
    pub client_port: u16,
    pub port: u16,
}

impl Conversation {
    pub fn nth(number: usize) -> Option<Self> {
        if number >= NUMBER {
            return None;
        }
        let (rest, port) = (number / CLIENT_PORTS, number % CLIENT_PORTS);
        let (rest, index) = (rest / CLIENTS, rest % CLIENTS);
        let (family, protocol) = (
            FAMILIES[rest / PROTOCOLS.len()],
            PROTOCOLS[rest % PROTOCOLS.len()],
        );
        Some(Self {
            number,
            family,
            protocol,
            client: client(family, index),
            client_port: FIRST_CLIENT_PORT + port as u16,
            port: PORT,
        })
    }

    /// Any of them, those of unreachable clients seldom; now and then with
    /// another service.
    pub fn any(rng: &mut Rng) -> Self {
        let clients = if rng.u8(..20) == 0 {
            CLIENTS
        } else {
            REACHABLE_CLIENTS
        };
        let port = rng.usize(..CLIENT_PORTS);
        let index = rng.usize(..clients);
        // TCP the most, SCTP the least.
        let protocol = [0, 0, 0, 1, 1, 2][rng.usize(..6)];
        let family = rng.usize(..FAMILIES.len());
        let number =
            ((family * PROTOCOLS.len() + protocol) * CLIENTS + index) * CLIENT_PORTS + port;
        let mut conversation = Self::nth(number).expect("a number in range");
        conversation.port = match rng.u8(..64) {
            0 => QUIESCED_PORT,
            1 => RIVAL_PORT,
            2 => rng.u16(..),
            _ => PORT,
        };
        conversation
    }

    pub fn vip(&self) -> IpAddr {
        vip(self.family)
    }
}

/// How conversations' packets were last sent on, by their numbers.
pub struct Learnt(Vec<Option<Sent>>);

impl Default for Learnt {
    fn default() -> Self {
        Self(vec![None; NUMBER])
    }
}

impl Learnt {
    pub fn note(&mut self, conversation: Conversation, sent: Sent) {
        if conversation.port == PORT {
            self.0[conversation.number] = Some(sent);
        }
    }

    /// What is known, else a guess as of plain nat.
    pub fn sent(&self, conversation: Conversation) -> Sent {
        self.0[conversation.number].unwrap_or(Sent {
            source: conversation.client,
            destination: real(conversation.family, conversation.number % REALS),
            ports: Some([conversation.client_port, REAL_PORT]),
        })
    }
}
