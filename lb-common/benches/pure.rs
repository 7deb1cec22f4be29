//! What the pure code costs on the host, by criterion: `cargo xtask bench pure`.
//! The programs run the same code; what they cost in the kernel, maps and all, is
//! what `cargo xtask bench` measures.

use std::{hint::black_box, net::IpAddr};

use criterion::{Criterion, criterion_group, criterion_main};
use lb_common::{
    addr::{Addr, Be16},
    checksum,
    flow::{Endpoint, FlowKey, FlowKeyV4, FlowKeyV6},
    limits::ETHERNET_HEADER_BYTES,
    parse::{self, Family, SliceFrame, V4, V6},
    real::RealCounts,
    scheduler::{
        Key, Listed, Options, Scheduler,
        memory::{Memory, OPTIONS},
    },
    tcp_state::flag,
    transition::{Half, next_number, table},
    wire::protocol,
};

criterion_group!(benches, parser, keys, checksums, transitions, picks, tables);
criterion_main!(benches);

const ACK_V4: &[u8] = &[
    2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
    0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x14, 0x86, // IPv4, its checksum
    100, 64, 0, 0, 192, 0, 2, 10, // its addresses
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xfd, 0xe8, 0, 0, 0, 0, // TCP
];

const ACK_V6: &[u8] = &[
    2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, // Ethernet
    0x60, 0, 0, 0, 0, 20, 6, 64, // IPv6
    0x20, 0x01, 0x0d, 0xb8, 0, 0x0c, 0, 0, 0, 0, 0, 0, 0x64, 0x40, 0, 0, // its source
    0x20, 0x01, 0x0d, 0xb8, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, // its destination
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xfd, 0xe8, 0, 0, 0, 0, // TCP
];

/// The key of a frame's flow: link, datagram, transport.
fn key<F: Family>(frame: &[u8]) -> Option<F::Key> {
    let frame = SliceFrame(frame);
    let link = parse::link(&frame)?;
    if link.ethertype != F::ETHERTYPE {
        return None;
    }
    let datagram = F::datagram(&frame, ETHERNET_HEADER_BYTES)?;
    Some(parse::flow(&frame, &datagram)?.key)
}

fn endpoint(address: &str, port: u16) -> Endpoint {
    let address: IpAddr = address.parse().expect("an address");
    Endpoint {
        address: address.into(),
        port: Be16::new(port),
    }
}

fn parser(criterion: &mut Criterion) {
    assert_eq!(key::<V4>(ACK_V4), Some(key_v4()));
    assert_eq!(key::<V6>(ACK_V6), Some(key_v6()));
    let mut group = criterion.benchmark_group("parse");
    group.bench_function("tcp_v4", |bencher| {
        bencher.iter(|| key::<V4>(black_box(ACK_V4)));
    });
    group.bench_function("tcp_v6", |bencher| {
        bencher.iter(|| key::<V6>(black_box(ACK_V6)));
    });
}

fn key_v4() -> FlowKeyV4 {
    let client = endpoint("100.64.0.0", 40_000);
    FlowKeyV4::new(client, endpoint("192.0.2.10", 80), protocol::TCP)
}

fn key_v6() -> FlowKeyV6 {
    let client = endpoint("2001:db8:c::6440:0", 40_000);
    FlowKeyV6::new(client, endpoint("2001:db8:a::10", 80), protocol::TCP)
}

fn keys(criterion: &mut Criterion) {
    let (v4, v6) = (key_v4(), key_v6());
    let mut group = criterion.benchmark_group("tag");
    group.bench_function("v4", |bencher| bencher.iter(|| black_box(v4).tag()));
    group.bench_function("v6", |bencher| bencher.iter(|| black_box(v6).tag()));
}

fn checksums(criterion: &mut Criterion) {
    let (client, real) = (key_v6().source().address, key_v6().destination().address);
    let mut group = criterion.benchmark_group("checksum");
    group.bench_function("replace_u32", |bencher| {
        bencher.iter(|| {
            let delta = checksum::replace_u32(black_box(0x0a00_0001), black_box(0x0a00_0202));
            checksum::apply(black_box(0x1234), delta)
        });
    });
    group.bench_function("replace_address_v6", |bencher| {
        bencher.iter(|| {
            let delta = checksum::replace_address(black_box(client), black_box(real));
            checksum::apply(black_box(0x1234), delta)
        });
    });
}

fn transitions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transition");
    group.bench_function("next_number", |bencher| {
        let table = table(protocol::TCP, Half::ClientOnly, false);
        bencher.iter(|| next_number(black_box(table), black_box(flag::ACK), black_box(1)));
    });
}

/// Reals of unequal weights; ovf has nobody left where all have more connections than
/// that.
fn reals(number: u32) -> Vec<Listed> {
    let real = |slot: u32| {
        let identity = u64::from(slot + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Listed::new(slot, 1000 + slot % 5, identity)
    };
    (0..number).map(real).collect()
}

/// By each scheduler, of 64 reals with some connections, each time another client.
fn picks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick_of_64");
    for scheduler in Scheduler::ALL {
        let mut memory = Memory::new(*scheduler, &reals(64), OPTIONS);
        for slot in 0..64 {
            let counts = RealCounts {
                active: 500 + slot * 37 % 64,
                inactive: slot,
                ..RealCounts::default()
            };
            memory.set_counts(slot, counts);
        }
        let mut key = Key {
            source: client(0),
            destination: endpoint("192.0.2.10", 80).address,
            source_port: 40_000,
        };
        let mut number = 0;
        group.bench_function(scheduler.name(), |bencher| {
            bencher.iter(|| {
                number += 1;
                key.source = client(number);
                memory.pick(black_box(key))
            });
        });
    }
}

fn client(number: u32) -> Addr {
    IpAddr::from((0x6440_0000 + (number & 0xf_ffff)).to_be_bytes()).into()
}

/// mh's longest usual table, as a daemon makes it anew when a real comes or goes.
fn tables(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(20);
    let options = Options {
        table_size: 65_537,
        ..OPTIONS
    };
    let reals = reals(100);
    group.bench_function("mh_65537_places_100_reals", |bencher| {
        bencher.iter(|| {
            let mut words = Vec::new();
            Scheduler::Mh.layout().plan(&reals, options, &mut words);
            words
        });
    });
}
