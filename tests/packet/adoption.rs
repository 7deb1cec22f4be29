//! A new lbd on the maps of an old one: what it finds, what it leaves alone,
//! what it refuses; and what the verifier thinks of the programs.

use std::time::Instant;

use lb_daemon::{
    config::model::{
        ForwardingMethod::{Dr, Nat},
        Scheduler::{self, Rr, Wrr},
        Service, Weight,
    },
    dataplane::Sizes,
    reconcile::{adopt, plan},
};
use lb_tests::privilege;

use crate::{
    judge,
    packet::{ACK, Ip, Mac},
    rig::{Rig, SIZES, service},
    world::{OTHER_REAL, PORT, REAL, REAL_PORT, TCP_SYN, THIRD_REAL},
};

/// Two services; the reals' slots are not in the order of configuration.
fn services(scheduler: Scheduler) -> [Service; 2] {
    let weights = [(THIRD_REAL, 3), (REAL, 0), (OTHER_REAL, 5)];
    [
        service("tcp:192.0.2.10:80", scheduler, Dr, PORT, &weights),
        service(
            "tcp:192.0.2.11:443",
            scheduler,
            Nat,
            REAL_PORT,
            &[(REAL, 2), (OTHER_REAL, 1)],
        ),
    ]
}

fn configured(scheduler: Scheduler) -> Rig {
    let mut rig = Rig::new();
    rig.serve(&service(
        "tcp:192.0.2.10:80",
        scheduler,
        Dr,
        PORT,
        &[(OTHER_REAL, 1), (REAL, 1)],
    ));
    for service in services(scheduler) {
        rig.serve(&service);
    }
    rig
}

/// Where the next new connections of the first service go.
fn picks(rig: &mut Rig, first_port: u16, number: u16) -> Vec<Mac> {
    let pick = |port| judge::packet(&rig.run(&TCP_SYN.port(port).frame()).frame).to_mac;
    (first_port..first_port + number).map(pick).collect()
}

/// What may be asked of an image, in one text.
fn seen(rig: &Rig, services: &[Service]) -> String {
    let image = rig.reconciler.image();
    let tables = rig.reconciler.tables();
    let mut text = format!("fill {:?}\n", image.fill());
    for service in services {
        let slot = image.service_slot(service.id).expect("bound");
        let plan = tables.plan(tables.current_plan(slot).unwrap()).unwrap();
        text += &format!("{} {slot} {plan:?}\n", service.id);
        for real in &service.reals {
            let slot = image.real_slot(service.id, real.id);
            let hop = image.hop(real.id.address);
            text += &format!("  {} {slot:?} {hop:?}\n", real.id);
        }
    }
    text
}

#[test]
fn the_image_is_read_back() {
    if !privilege::bpf() {
        return;
    }
    for scheduler in [Rr, Wrr] {
        let services = services(scheduler);
        let mut rig = configured(scheduler);
        picks(&mut rig, 1, 4);
        let before = seen(&rig, &services);
        let mut rig = rig.restart(SIZES).unwrap();
        assert!(rig.adopted);
        assert_eq!(seen(&rig, &services), before);
        let image = rig.reconciler.image();
        assert_eq!(image.bound_services().count(), 2);
        for service in &services {
            let turn = turn(&rig, service);
            let mut copy = rig.reconciler.image().clone();
            let ops = plan::service(&mut copy, service, Some(turn), Instant::now()).unwrap();
            assert_eq!(ops, [], "{} {}", scheduler.name(), service.id);
        }
        for service in &services {
            rig.reconciler.set_service(service).unwrap();
        }
        assert_eq!(seen(&rig, &services), before);
    }
}

/// The image of a daemon that comes again asks for no other plan, whichever the
/// scheduler; also where mh remembers a weight that a real no longer has.
#[test]
fn every_plan_is_read_back() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for scheduler in Scheduler::ALL {
        rig.clear();
        let [mut service, _] = services(*scheduler);
        for weight in [4, 0] {
            service.reals[1].weight = Weight::new(weight).unwrap();
            rig.serve(&service);
            rig.run(&TCP_SYN.port(1 + weight as u16).frame());
        }
        let turn = turn(&rig, &service);
        let mut image = adopt::read(rig.reconciler.tables(), &SIZES).unwrap();
        let ops = plan::service(&mut image, &service, Some(turn), Instant::now()).unwrap();
        assert_eq!(ops, [], "{}", scheduler.name());
    }
}

fn turn(rig: &Rig, service: &Service) -> u64 {
    let slot = rig
        .reconciler
        .image()
        .service_slot(service.id)
        .expect("bound");
    let tables = rig.reconciler.tables();
    tables
        .plan(tables.current_plan(slot).unwrap())
        .unwrap()
        .turn
}

/// One rig is restarted again and again, the other never: they pick the same,
/// also where weights change afterwards.
#[test]
fn the_turn_goes_on() {
    if !privilege::bpf() {
        return;
    }
    for scheduler in [Rr, Wrr] {
        let (mut restarted, mut steady) = (configured(scheduler), configured(scheduler));
        let changes: [&[(Ip, u32)]; 4] = [
            &[(THIRD_REAL, 3), (REAL, 0), (OTHER_REAL, 5)],
            &[(THIRD_REAL, 3), (REAL, 2), (OTHER_REAL, 5)],
            &[(THIRD_REAL, 3), (REAL, 2), (OTHER_REAL, 0)],
            &[(REAL, 2), (OTHER_REAL, 4)],
        ];
        for (round, reals) in (0..).zip(changes) {
            restarted = restarted.restart(SIZES).unwrap();
            let changed = service("tcp:192.0.2.10:80", scheduler, Dr, PORT, reals);
            restarted.serve(&changed);
            steady.serve(&changed);
            let first_port = 1 + 100 * round;
            let expected = picks(&mut steady, first_port, 11);
            assert_eq!(
                picks(&mut restarted, first_port, 11),
                expected,
                "{} round {round}",
                scheduler.name()
            );
        }
    }
}

/// Connections and counts outlive lbd: the established go on where they went.
#[test]
fn connections_are_kept() {
    if !privilege::bpf() {
        return;
    }
    let services = services(Wrr);
    let mut rig = configured(Wrr);
    let before = picks(&mut rig, 1, 16);
    let counts = |rig: &Rig| [THIRD_REAL, OTHER_REAL].map(|real| rig.counts(&services[0], real));
    assert_eq!(counts(&rig), [(6, 0), (10, 0)]);
    let mut rig = rig.restart(SIZES).unwrap();
    assert_eq!(counts(&rig), [(6, 0), (10, 0)]);
    for (port, mac) in (1..).zip(before) {
        let frame = rig.run(&TCP_SYN.port(port).with(ACK).frame()).frame;
        assert_eq!(judge::packet(&frame).to_mac, mac, "port {port}");
    }
    assert_eq!(counts(&rig), [(6, 0), (10, 0)]);
}

/// Maps of other sizes are made and filled: slots, turns, templates and counters are
/// what they were, and connections go on where they went, each found by its key.
#[test]
fn everything_goes_into_maps_of_other_sizes() {
    if !privilege::bpf() {
        return;
    }
    let services = services(Wrr);
    for sizes in [
        Sizes {
            connections: 256,
            ..SIZES
        },
        Sizes {
            connections: 100_000,
            templates: 512,
            services: 16,
            reals: 128,
            next_hops: 128,
            plans: 1024,
            plan_words: 131_072,
        },
    ] {
        let mut rig = configured(Wrr);
        let before = picks(&mut rig, 1, 16);
        let looks = |rig: &Rig| {
            let text = seen(rig, &services);
            // What is free is another number.
            let text = text.split_once('\n').unwrap().1.to_owned();
            let counts = [THIRD_REAL, OTHER_REAL].map(|real| rig.counts(&services[0], real));
            (text, counts)
        };
        let was = looks(&rig);
        let mut rig = rig.restart(sizes).unwrap();
        assert!(rig.adopted);
        assert_eq!(looks(&rig), was, "{sizes:?}");
        assert_eq!(rig.connections.faults().unwrap(), [] as [String; 0]);
        for (port, mac) in (1..).zip(before) {
            let frame = rig.run(&TCP_SYN.port(port).with(ACK).frame()).frame;
            assert_eq!(judge::packet(&frame).to_mac, mac, "port {port}, {sizes:?}");
        }
        assert_eq!(looks(&rig).1, was.1);
    }
}

/// What the old programs do while the new maps are filled gets there, too: a connection
/// that began meanwhile is not lost, nor counted twice, whenever it began.
#[test]
fn what_happens_meanwhile_is_carried_over() {
    if !privilege::bpf() {
        return;
    }
    let services = services(Rr);
    let mut rig = configured(Rr);
    let mut expected = picks(&mut rig, 1, 4);
    let later = std::cell::RefCell::new(Vec::new());
    let sizes = Sizes {
        connections: 8192,
        ..SIZES
    };
    let counted = |rig: &Rig| {
        let of = |real| rig.counts(&services[0], real);
        [THIRD_REAL, OTHER_REAL].map(of)
    };
    let mut rig = rig.migrate(sizes, |rig, step| {
        later.borrow_mut().extend(picks(rig, 5 + 2 * step, 2));
    });
    expected.extend(later.into_inner());
    assert_eq!(counted(&rig), [(4, 0), (4, 0)]);
    assert_eq!(rig.connections.iter().unwrap().count(), 8);
    assert_eq!(rig.connections.faults().unwrap(), [] as [String; 0]);
    for (port, mac) in (1..).zip(expected) {
        let frame = rig.run(&TCP_SYN.port(port).with(ACK).frame()).frame;
        assert_eq!(judge::packet(&frame).to_mac, mac, "port {port}");
    }
    assert_eq!(counted(&rig), [(4, 0), (4, 0)]);
}

/// The next daemon ends what one that died has begun.
#[test]
fn a_migration_that_is_cut_off_is_ended() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = configured(Rr);
    let mut expected = picks(&mut rig, 1, 4);
    let later = std::cell::RefCell::new(Vec::new());
    let sizes = Sizes {
        connections: 8192,
        ..SIZES
    };
    let scratch = rig.begin_to_migrate(sizes, |rig| later.borrow_mut().extend(picks(rig, 5, 2)));
    expected.extend(later.into_inner());
    let mut rig = Rig::open(scratch, sizes).unwrap();
    assert!(rig.adopted);
    assert_eq!(rig.connections.iter().unwrap().count(), 6);
    assert_eq!(rig.connections.faults().unwrap(), [] as [String; 0]);
    for (port, mac) in (1..).zip(expected) {
        let frame = rig.run(&TCP_SYN.port(port).with(ACK).frame()).frame;
        assert_eq!(judge::packet(&frame).to_mac, mac, "port {port}");
    }
    let rig = rig.restart(sizes).unwrap();
    assert_eq!(rig.connections.iter().unwrap().count(), 6);
}

/// What has no room is refused before anything is changed, with its key.
#[test]
fn smaller_than_what_is_in_use_is_refused() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = configured(Rr);
    picks(&mut rig, 1, 16);
    let cases = [
        (
            "capacity.connections is too small",
            "16 are in use, and there would be room for 15",
            Sizes {
                connections: 15,
                ..SIZES
            },
        ),
        (
            "capacity.services is too small",
            "2 are in use",
            Sizes {
                services: 1,
                ..SIZES
            },
        ),
        (
            "capacity.reals is too small",
            "5 are in use",
            Sizes { reals: 4, ..SIZES },
        ),
    ];
    for (key, use_, sizes) in cases {
        let Err(refusal) = rig.restart(sizes) else {
            panic!("taken over: {key}")
        };
        let message = refusal.error.to_string();
        assert!(message.contains(key) && message.contains(use_), "{message}");
        rig = Rig::open(refusal.scratch, SIZES).unwrap();
        assert!(rig.adopted, "the refusal left nothing to adopt");
        assert_eq!(rig.connections.iter().unwrap().count(), 16);
    }
}

/// The programs of the last daemon are taken as they are, all of them or none.
#[test]
fn programs_are_kept() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = configured(Rr);
    assert!(!rig.programs.are_kept());
    let first = picks(&mut rig, 40_000, 1);
    let id = |rig: &Rig| rig.programs.info("director").unwrap().id();
    let before = id(&rig);
    rig.keep_programs();
    let mut rig = rig.restart(SIZES).unwrap();
    assert!(rig.adopted && rig.programs.are_kept());
    assert_eq!(id(&rig), before);
    assert_eq!(
        rig.programs.verified_instructions().len(),
        rig.load_again().verified_instructions().len()
    );
    let ack = TCP_SYN.port(40_000).with(ACK).frame();
    assert_eq!(judge::packet(&rig.run(&ack).frame).to_mac, first[0]);
    assert_eq!(picks(&mut rig, 40_001, 2).len(), 2);

    // One that is not pinned makes the others strangers to each other.
    let entries = std::fs::read_dir(rig.pins().path()).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let folder = paths.find(|path| path.is_dir()).unwrap();
    std::fs::remove_file(folder.join("vlan")).unwrap();
    let mut rig = rig.restart(SIZES).unwrap();
    assert!(rig.adopted && !rig.programs.are_kept());
    assert_ne!(id(&rig), before);
    assert_eq!(judge::packet(&rig.run(&ack).frame).to_mac, first[0]);
    rig.keep_programs();
    assert!(rig.restart(SIZES).unwrap().programs.are_kept());
}

/// A map of another layout under the right name.
#[test]
fn other_layouts_are_refused() {
    if !privilege::bpf() {
        return;
    }
    let rig = configured(Rr);
    let reals = rig.pins().path().join("REALS");
    std::fs::remove_file(&reals).unwrap();
    let hops = rig.pins().path().join("NEXT_HOPS");
    aya::maps::MapData::from_pin(&hops)
        .unwrap()
        .pin(&reals)
        .unwrap();
    let Err(refusal) = rig.restart(SIZES) else {
        panic!("it was adopted")
    };
    let message = refusal.error.to_string();
    assert!(
        message.contains("map REALS: value size is 64, this configuration makes it 48"),
        "{message}"
    );
}

/// How much the verifier had to walk: it gives up at a million.
#[test]
fn the_verifier_has_room() {
    if !privilege::bpf() {
        return;
    }
    let rig = Rig::new();
    let mut counts: Vec<_> = rig.programs.verified_instructions().into_iter().collect();
    counts.sort();
    for (name, instructions) in &counts {
        println!("{instructions:>8} instructions verified in {name}");
        assert!(*instructions < 500_000, "{name}: {instructions}");
    }
}
