//! The schedulers in the XDP program against the same code on the host
//! ([`Host`]), which other tests hold against IPVS.

use std::net::{IpAddr, SocketAddr};

use lb_daemon::{
    config::model::{
        ForwardingMethod::Dr, MarkRule, Protocol, Real, RealId, Scheduler, Service, Weight,
    },
    simulate::Host,
};

use crate::{
    judge,
    kernel::{self, Verdict},
    packet::{Header, Ip, Packet},
    rig::LOOPBACK,
    row::PORT_UNREACHABLE,
    world::{
        DATAGRAM, DATAGRAM_V6, PORT, SCTP_INIT, SCTP_INIT_V6, TCP_SYN, TCP_SYN_V6, VIP, mac_of, v4,
        v6,
    },
};

mod changes;
mod everywhere;
mod hashes;
mod many;

/// The real number `number` of a family.
fn real(number: u16, is_ipv6: bool) -> Ip {
    let [high, low] = number.to_be_bytes();
    match is_ipv6 {
        false => v4(10, 1, high, low),
        true => v6([0x2001, 0xdb8, 0xf, 0, 0, 0, 1, number]),
    }
}

/// Reals of these weights, in order.
fn reals(weights: &[u32], port: u16, is_ipv6: bool) -> Vec<Real> {
    let real = |(number, weight): (u16, &u32)| Real {
        weight: Weight::new(*weight).unwrap(),
        ..Real::new(
            RealId {
                address: real(number, is_ipv6),
                port,
            },
            Dr,
        )
    };
    (0..).zip(weights).map(real).collect()
}

/// A service by address with reals of these weights.
fn web(scheduler: Scheduler, weights: &[u32]) -> Service {
    Service {
        reals: reals(weights, PORT, false),
        ..Service::new("tcp:192.0.2.10:80".parse().unwrap(), scheduler)
    }
}

/// Where a new connection goes: to a real, or it hears that there is none.
fn pick(director: &aya::programs::Xdp, packet: &Packet, reals: &[Real]) -> Option<RealId> {
    let outcome = kernel::run(director, LOOPBACK, &packet.frame());
    assert_eq!(outcome.verdict, Verdict::Tx, "{packet:?}");
    let mac: [u8; 6] = outcome.frame[..6].try_into().unwrap();
    let real = reals.iter().find(|real| mac_of(real.id.address) == mac);
    if real.is_none() {
        let said = judge::message(&outcome.frame);
        assert_eq!(said, PORT_UNREACHABLE.about(packet));
    }
    real.map(|real| real.id)
}
