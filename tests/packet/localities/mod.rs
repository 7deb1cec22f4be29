//! What lblc and lblcr remember of destinations: who gets a connection, what is
//! in `LOCALITIES` after, and when it goes.

use std::time::Instant;

use aya::maps::{Array, HashMap, Map, MapData};
use lb_common::{
    abi::map,
    addr::Addr,
    scheduler::locality::{LocalityKey, LocalitySet},
};
use lb_daemon::config::model::{
    ForwardingMethod::Dr, MarkRule, Protocol, RealId, Scheduler, Service, Weight,
};

use lb_tests::privilege;

use crate::{
    judge,
    kernel::Verdict,
    packet::{Header, Ip, Packet},
    rig::{Rig, Shared, service},
    world::{
        OTHER_REAL, OTHER_REAL_V6, REAL, REAL_V6, TCP_SYN, TCP_SYN_V6, THIRD_REAL, mac_of, v4, v6,
    },
};

mod forget;
mod memory;
mod sets;

/// A network under a firewall mark, for only such a service has destinations.
struct Family {
    name: &'static str,
    service: &'static str,
    syn: Packet,
    network: (Ip, u8),
    destination: fn(u8) -> Ip,
    reals: [Ip; 3],
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "IPv4",
        service: "fwmark:7",
        syn: TCP_SYN,
        network: (v4(192, 0, 2, 0), 24),
        destination: |number| v4(192, 0, 2, number),
        reals: [REAL, OTHER_REAL, THIRD_REAL],
    },
    Family {
        name: "IPv6",
        service: "fwmark6:7",
        syn: TCP_SYN_V6,
        network: (v6([0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0]), 64),
        destination: |number| v6([0x2001, 0xdb8, 0xa, 0, 0, 0, 0, number as u16]),
        reals: [
            REAL_V6,
            OTHER_REAL_V6,
            v6([0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x13]),
        ],
    },
];

/// A service with its clients.
struct Site<'a> {
    rig: &'a mut Shared,
    family: &'a Family,
    service: Service,
    /// Of all reals that there ever are; the tests speak of them by place.
    reals: Vec<Ip>,
    slot: u32,
    last_port: u16,
}

/// A test with such a service in either family.
fn in_both_families(scheduler: Scheduler, weights: &[u32], test: impl Fn(&mut Site<'_>)) {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for family in &FAMILIES {
        test(&mut Site::new(&mut rig, family, scheduler, weights));
    }
}

impl<'a> Site<'a> {
    /// The family's first reals, one for each weight.
    fn new(rig: &'a mut Shared, family: &'a Family, scheduler: Scheduler, weights: &[u32]) -> Self {
        let reals = family.reals[..weights.len()].to_vec();
        Self::with_reals(rig, family, scheduler, reals, weights)
    }

    fn with_reals(
        rig: &'a mut Shared,
        family: &'a Family,
        scheduler: Scheduler,
        reals: Vec<Ip>,
        weights: &[u32],
    ) -> Self {
        rig.clear();
        let pairs: Vec<_> = reals.iter().copied().zip(weights.iter().copied()).collect();
        let service = service(family.service, scheduler, Dr, 0, &pairs);
        rig.serve(&service);
        let rule = MarkRule {
            mark: 7,
            protocol: Protocol::Tcp,
            destination: family.network,
            ports: Vec::new(),
        };
        rig.reconciler.set_marks(&[rule]).unwrap();
        let mut site = Self {
            rig,
            family,
            service,
            reals,
            slot: 0,
            last_port: 0,
        };
        let first = site.slot_of(0);
        site.slot = site.rig.reconciler.tables().reals().unwrap()[first as usize].service;
        site
    }

    fn syn(&self, destination: u8, port: u16) -> Packet {
        let ip = Header {
            destination: (self.family.destination)(destination),
            ..self.family.syn.ip
        };
        Packet {
            ip,
            ..self.family.syn
        }
        .port(port)
    }

    /// A new connection to a destination; the place of its real.
    #[track_caller]
    fn connect(&mut self, destination: u8) -> usize {
        self.last_port += 1;
        let frame = self.syn(destination, self.last_port).frame();
        let outcome = self.rig.run(&frame);
        assert_eq!(outcome.verdict, Verdict::Tx);
        let mac = judge::packet(&outcome.frame).to_mac;
        let real = self.reals.iter().position(|real| mac_of(*real) == mac);
        real.expect("a real of the service")
    }

    /// Where so many go, one after the other.
    #[track_caller]
    fn connect_all(&mut self, destination: u8, number: usize) -> Vec<usize> {
        (0..number).map(|_| self.connect(destination)).collect()
    }

    /// Other weights for the reals that there are.
    fn weigh(&mut self, weights: &[u32]) {
        assert_eq!(self.service.reals.len(), weights.len());
        for (real, weight) in self.service.reals.iter_mut().zip(weights) {
            real.weight = Weight::new(*weight).unwrap();
        }
        self.rig.serve(&self.service);
    }

    /// Takes the first real out of the service; its connections go on.
    fn delete_first(&mut self) {
        self.service.reals.remove(0);
        self.rig.serve(&self.service);
    }

    /// As when a walk has found nobody who refers to deleted reals.
    fn free_retired(&mut self) {
        let began = Instant::now();
        self.rig.reconciler.free_retired(began, |_| false).unwrap();
    }

    /// The slot of a real, by its place.
    fn slot_of(&self, real: usize) -> u32 {
        let id = RealId {
            address: self.reals[real],
            port: 0,
        };
        let slot = self.rig.reconciler.real_slot(self.service.id, id);
        slot.expect("a configured real")
    }

    fn key(&self, destination: u8) -> LocalityKey {
        LocalityKey {
            destination: Addr::from((self.family.destination)(destination)),
            service: self.slot,
        }
    }

    fn set(&self, destination: u8) -> Option<LocalitySet> {
        self.rig
            .pinned_localities()
            .get(&self.key(destination), 0)
            .ok()
    }

    /// Slots of the reals that are remembered of a destination, the oldest first.
    fn members(&self, destination: u8) -> Vec<u32> {
        let set = self.set(destination).expect("a destination that is known");
        set.members[..set.count as usize].to_vec()
    }

    /// Changes what is remembered of a destination.
    fn change(&self, destination: u8, change: impl FnOnce(&mut LocalitySet)) {
        let mut set = self.set(destination).expect("a destination that is known");
        change(&mut set);
        let mut map = self.rig.pinned_localities();
        map.insert(self.key(destination), set, 0).unwrap();
    }

    /// The service's number of destinations.
    fn count(&self) -> u32 {
        self.rig.locality_counts().get(&self.slot, 0).unwrap()
    }

    fn pretend_count(&self, count: u32) {
        self.rig.locality_counts().set(self.slot, count, 0).unwrap();
    }
}

impl Rig {
    fn pinned_localities(&self) -> HashMap<MapData, LocalityKey, LocalitySet> {
        let pin = self.pins().path().join(map::LOCALITIES);
        let map = MapData::from_pin(&pin).unwrap();
        Map::HashMap(map).try_into().unwrap()
    }

    /// All that is remembered.
    fn localities(&self) -> Vec<(LocalityKey, LocalitySet)> {
        let map = self.pinned_localities();
        map.iter().collect::<Result<_, _>>().unwrap()
    }

    fn locality_counts(&self) -> Array<MapData, u32> {
        let pin = self.pins().path().join(map::LOCALITY_COUNTS);
        let map = MapData::from_pin(&pin).unwrap();
        Map::Array(map).try_into().unwrap()
    }
}
