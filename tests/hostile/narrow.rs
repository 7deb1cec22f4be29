//! Drops that take a state of their own: a full table, a stage without its
//! program, a frame without headroom, a connection that ends between two
//! fragments, a pool without a free port.

use std::collections::BTreeMap;

use lb_common::{abi::stage, sweep::mode, verdict::DropReason};
use lb_daemon::config::model::{Defence, SourceLimit, Strategy};

use crate::{
    director::{CONNECTIONS, Director, defenceless},
    draft::{Draft, Fragment, Header, IPV4, number},
    generate::{Generator, Side},
    method::{Encapsulation, Method},
    run::{MAX_FRAME, Verdict},
    wires::Wires,
    world::{DIRECTOR_MAC, Family, PORT, ROUTER_MAC, client, pool, real, vip},
};

/// Fewer than there are conversations of a family.
const FEW_CONNECTIONS: u32 = 64;

/// Metadata that leaves no headroom: `XDP_PACKET_HEADROOM` less `struct
/// xdp_frame`.
const METADATA: usize = 256 - 40;

/// Ports that masquerading has on one address, towards one real.
const POOL_PORTS: u32 = 65_536 - 1024;

/// Provokes each of them; the drops by reason, and those that this Linux keeps
/// a test run from.
pub fn provoke(wires: Wires) -> (BTreeMap<&'static str, u64>, Option<DropReason>) {
    let mut drops = BTreeMap::new();
    let openings = openings();
    let few = &openings[..8];

    let mut director = Director::open(FEW_CONNECTIONS);
    director.enter(Method::Dr, wires);
    run(&mut director, wires, &openings);
    // Each family has a table.
    let beyond = openings.len() as u64 - 2 * u64::from(FEW_CONNECTIONS);
    hold(&director, "connection_table_full", beyond);

    director.forget_connections();
    director.empty_stage(stage::CONNECT_V4);
    run(&mut director, wires, few);
    hold(&director, "tail_call_failed", few.len() as u64);
    director.fill_stages();

    run(&mut director, wires, &[fragment(0)]);
    director.forget_connections();
    run(&mut director, wires, &[fragment(4)]);
    hold(&director, "fragment_connection_gone", 1);

    director.clear();
    director.enter(Method::Tun(Encapsulation::Ipip), wires);
    let out_of_reach = no_headroom(&mut director, wires, &few[0]);
    crate::add(&mut drops, &director.drops());

    refused(&mut director, wires, few);
    crate::add(&mut drops, &director.drops());

    let mut director = Director::open(CONNECTIONS);
    director.set_services(&Method::Dr.configuration());
    run(&mut director, wires, few);
    hold(&director, "next_hop_unresolved", few.len() as u64);
    crate::add(&mut drops, &director.drops());

    let mut director = Director::open(2 * POOL_PORTS);
    director.configure(&one_address(), wires);
    run_crowd(&mut director, wires);
    hold(&director, "masquerade_ports_exhausted", 1);
    crate::add(&mut drops, &director.drops());
    (drops, out_of_reach)
}

/// Who may not connect, and connections that an operator ends.
fn refused(director: &mut Director, wires: Wires, frames: &[Vec<u8>]) {
    let count = frames.len() as u64;
    director.clear();
    director.enter(Method::Dr, wires);
    run(director, wires, frames);
    director.sweep_v4(mode::DOOM);
    run(director, wires, frames);
    hold(director, "real_deleted", count);
    // A segment that is no beginning, on a connection that is cut.
    run(director, wires, frames);
    director.sweep_v4(mode::CUT);
    let mut segment = frames[0].clone();
    // Ethernet, IPv4, and TCP up to its flags.
    segment[14 + 20 + 13] = 0x10;
    run(director, wires, &[segment]);
    hold(director, "connection_cut", 1);

    let any = ["0.0.0.0", "::"].map(|network| (network.parse().unwrap(), 0));
    for (reason, defence) in [
        (
            "denied",
            Defence {
                deny: any.to_vec(),
                ..defenceless()
            },
        ),
        (
            "rate_limited",
            Defence {
                rate_limit: Some(SourceLimit {
                    per_source: 1,
                    netmask: 0,
                    netmask_v6: 0,
                    burst: 1,
                }),
                ..defenceless()
            },
        ),
        (
            "drop_packet",
            Defence {
                drop_packet: Strategy::On,
                ..defenceless()
            },
        ),
    ] {
        director.forget_connections();
        director.defend(&defence);
        let tries = if reason == "drop_packet" { 40 } else { 1 };
        for _ in 0..tries {
            director.forget_connections();
            run(director, wires, frames);
        }
        hold(director, reason, 1);
    }
}

/// The first packets of all conversations; those of TCP over IPv4 come first.
fn openings() -> Vec<Vec<u8>> {
    let mut generator = Generator::new(Method::Dr);
    let opening = |number| {
        generator.open(number)?;
        Some(generator.draft.bytes.clone())
    };
    (0..).map_while(opening).collect()
}

fn run(director: &mut Director, wires: Wires, frames: &[Vec<u8>]) {
    for frame in frames {
        let (verdict, _) = director.runner.run(wires.index(Side::Clients), frame);
        assert_ne!(verdict, Verdict::Aborted);
    }
}

#[track_caller]
fn hold(director: &Director, reason: &str, least: u64) {
    let drops = director.drops();
    let count = drops.get(reason).copied().unwrap_or(0);
    assert!(
        count >= least,
        "{reason}: {count} packets, not {least}: {drops:?}"
    );
}

/// Metadata takes the place of the headroom. Before Linux 6.3 there are 32
/// bytes of it at most, and room for any tunnel is left.
fn no_headroom(director: &mut Director, wires: Wires, frame: &[u8]) -> Option<DropReason> {
    let data = [&[0; METADATA], frame].concat();
    assert!(data.len() < MAX_FRAME);
    let ingress = wires.index(Side::Clients);
    let outcome = director.runner.try_run(ingress, METADATA as u32, &data);
    let Ok((verdict, _)) = outcome else {
        println!("no_headroom: this Linux takes no metadata of {METADATA} bytes");
        return Some(DropReason::NoHeadroom);
    };
    assert_eq!(verdict, Verdict::Drop, "tunnelled without headroom");
    hold(director, "no_headroom", 1);
    None
}

/// A datagram of a client to the service, or the piece of one.
fn datagram(source_port: u16, fragment: Option<Fragment>) -> Vec<u8> {
    let mut draft = Draft::default();
    draft.ethernet(DIRECTOR_MAC, ROUTER_MAC, &[], IPV4);
    let header = Header {
        source: client(Family::V4, 0),
        destination: vip(Family::V4),
        protocol: number::UDP,
        ttl: 64,
        tos: 0,
        label: 0,
        df: false,
        id: 0x1234,
        fragment,
        extras: &[],
    };
    let ip = draft.ip(&header);
    if fragment.is_none_or(|fragment| fragment.units == 0) {
        let udp = draft.udp([source_port, PORT]);
        draft.data(24, 0);
        draft.close_transport(udp, &header, false);
    } else {
        draft.data(16, 0);
    }
    draft.close_ip(ip);
    draft.bytes
}

fn fragment(units: u16) -> Vec<u8> {
    datagram(
        40_000,
        Some(Fragment {
            units,
            is_last: units > 0,
        }),
    )
}

/// A masquerading service with one real and a pool of one address.
fn one_address() -> String {
    let (vip, pool, real) = (vip(Family::V4), pool(Family::V4, 0), real(Family::V4, 0));
    format!(
        "[director]\ninterfaces = [\"lo\"]\n[[service]]\nprotocol = \"udp\"\naddress = \"{vip}\"\nport = {PORT}\n\
         scheduler = \"rr\"\nforward = \"nat\"\nmasquerade = [\"{pool}\"]\n[[service.real]]\naddress = \"{real}\"\n"
    )
}

/// As many clients' ports as there are, until the pool's are so few that one
/// is not found.
fn run_crowd(director: &mut Director, wires: Wires) {
    for source_port in 0..=u16::MAX {
        let frame = datagram(source_port, None);
        let (verdict, _) = director.runner.run(wires.index(Side::Clients), &frame);
        assert_ne!(verdict, Verdict::Aborted);
    }
}
