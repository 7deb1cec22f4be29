//! Persistence: clients stay with their real, for as long as they have
//! connections there and the timeout after.

use lb_common::{abi::program, persistence::TemplateKey};
use lb_daemon::config::model::{
    ForwardingMethod::{Dr, Nat},
    Persistence, RealState,
    Scheduler::Rr,
    Service,
};
use lb_tests::privilege;

use crate::{
    judge,
    kernel::{self, Verdict},
    packet::{ACK, Header, Ip, Mac, Packet, RST},
    rig::{ALL, IDLE, OPTIONS, Rig, service, sweep_input},
    world::{
        CLIENT_V6, OTHER_REAL, OTHER_REAL_V6, PORT, REAL, REAL_V6, TCP_SYN, TCP_SYN_V6, mac_of, v4,
        v6,
    },
};
use lb_daemon::config::model::{Defence, Options};

const BOTH: [(Ip, u32); 2] = [(REAL, 1), (OTHER_REAL, 1)];

fn web() -> Service {
    Service {
        persistence: Some(Persistence {
            timeout_s: 300,
            netmask: 24,
            netmask_v6: 64,
        }),
        ..service("tcp:192.0.2.10:80", Rr, Dr, PORT, &BOTH)
    }
}

fn from(client: Ip, port: u16) -> Packet {
    Packet {
        ip: Header {
            source: client,
            ..TCP_SYN.ip
        },
        ..TCP_SYN
    }
    .port(port)
}

impl Rig {
    fn real_of(&mut self, packet: &Packet) -> Mac {
        let outcome = self.run(&packet.frame());
        assert_eq!(outcome.verdict, Verdict::Tx);
        judge::packet(&outcome.frame).to_mac
    }

    /// Persistence templates that a real counts, which must be those that are
    /// there.
    fn persistent(&self, service: &Service, real: Ip) -> u32 {
        let slot = self.slot(service, real);
        let counted = self
            .reconciler
            .tables()
            .real_counts(slot)
            .unwrap()
            .persistent;
        let there = self.templates();
        let there = there.iter().filter(|(_, template)| template.real == slot);
        assert_eq!(counted as usize, there.count());
        counted
    }

    fn sweep_templates(&mut self, mode: u8) -> u32 {
        let keys = self.templates();
        let mut input = vec![u8::try_from(keys.len()).unwrap(), mode];
        input.resize(16, 0);
        for (key, _) in keys {
            // SAFETY: plain data.
            let key: [u8; size_of::<TemplateKey>()] = unsafe { std::mem::transmute(key) };
            input.extend(key);
        }
        kernel::return_value(self.programs.xdp(program::SWEEP_TEMPLATES).unwrap(), &input)
    }

    fn end_connections(&mut self) {
        let keys = sweep_input(ALL, &self.keys());
        kernel::return_value(self.programs.xdp(program::SWEEP_V4).unwrap(), &keys);
    }
}

#[test]
fn neighbours_stay_together() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let web = web();
    rig.serve(&web);
    let homes: Vec<_> = (1..=4)
        .map(|network| rig.real_of(&from(v4(198, 51, network, 1), 1)))
        .collect();
    assert_eq!(homes[0], homes[2]);
    assert_ne!(homes[0], homes[1], "rr for those who are new");
    for host in 1..=20 {
        for (network, home) in (1..=4).zip(&homes) {
            let client = v4(198, 51, network, host);
            assert_eq!(rig.real_of(&from(client, 1000 + u16::from(host))), *home);
        }
    }
    assert_eq!(
        (rig.persistent(&web, REAL), rig.persistent(&web, OTHER_REAL)),
        (2, 2)
    );
    assert_eq!(
        rig.counts(&web, REAL).0 + rig.counts(&web, OTHER_REAL).0,
        84
    );
}

#[test]
fn over_ipv6_by_prefix() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let web = Service {
        persistence: web().persistence,
        ..service(
            "tcp:[2001:db8:a::10]:80",
            Rr,
            Dr,
            PORT,
            &[(REAL_V6, 1), (OTHER_REAL_V6, 1)],
        )
    };
    rig.serve(&web);
    let from = |client| Packet {
        ip: Header {
            source: client,
            ..TCP_SYN_V6.ip
        },
        ..TCP_SYN_V6
    };
    let home = rig.real_of(&from(CLIENT_V6));
    for host in 100..110 {
        let neighbour = v6([0x2001, 0xdb8, 0xc, 0, 1, 2, 3, host]);
        assert_eq!(rig.real_of(&from(neighbour)), home);
    }
    let stranger = v6([0x2001, 0xdb8, 0xc, 1, 0, 0, 0, 7]);
    assert_ne!(rig.real_of(&from(stranger)), home);
}

/// A template goes when it has been idle for its time and nothing is under it.
#[test]
fn a_template_outlives_its_connections() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let mut web = web();
    web.persistence.as_mut().unwrap().timeout_s = 0;
    rig.serve(&web);
    let client = v4(198, 51, 100, 7);
    let home = rig.real_of(&from(client, 1));
    let template = |rig: &Rig| rig.templates()[0].1;
    assert_eq!(template(&rig).connections, 1);
    assert_eq!(rig.real_of(&from(client, 2)), home);
    assert_eq!(template(&rig).connections, 2);
    // The timeout of 0 has passed at once.
    assert_eq!(rig.sweep_templates(IDLE), 0, "connections are under it");
    // A connection in CLOSE is under it still, and a SYN goes on in it.
    rig.run(&from(client, 1).with(ACK).frame());
    rig.run(&from(client, 1).with(RST).frame());
    assert_eq!(rig.real_of(&from(client, 1)), home);
    assert_eq!(template(&rig).connections, 2);
    rig.end_connections();
    assert_eq!(template(&rig).connections, 0);
    assert_eq!(
        rig.persistent(&web, REAL) + rig.persistent(&web, OTHER_REAL),
        1
    );
    assert_eq!(rig.sweep_templates(IDLE), 1);
    assert_eq!(
        rig.persistent(&web, REAL) + rig.persistent(&web, OTHER_REAL),
        0
    );
}

#[test]
fn an_idle_template_stays_for_its_time() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.serve(&web());
    rig.real_of(&from(v4(198, 51, 100, 7), 1));
    rig.end_connections();
    assert_eq!(rig.sweep_templates(IDLE), 0);
}

/// Quiesced reals keep their clients, unless `expire_quiescent`; those in maint
/// and deleted ones lose them at once.
#[test]
fn whose_real_takes_nobody() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let client = v4(198, 51, 100, 7);
    let expiring = Options {
        expire_quiescent: true,
        ..OPTIONS
    };
    type Change = fn(&mut Service);
    let drain: Change = |web| web.reals[0].state = RealState::Drain;
    let maint: Change = |web| web.reals[0].state = RealState::Maint;
    let quiesce: Change =
        |web| web.reals[0].weight = lb_daemon::config::model::Weight::new(0).unwrap();
    let delete: Change = |web| {
        web.reals.remove(0);
    };
    for (what, options, change, stays) in [
        ("drain", &OPTIONS, drain, true),
        ("weight 0", &OPTIONS, quiesce, true),
        ("drain", &expiring, drain, false),
        ("weight 0", &expiring, quiesce, false),
        ("maint", &OPTIONS, maint, false),
        ("deleted", &OPTIONS, delete, false),
    ] {
        rig.clear();
        rig.set_policy(options, &Defence::default());
        let mut web = web();
        rig.serve(&web);
        assert_eq!(rig.real_of(&from(client, 1)), mac_of(REAL));
        change(&mut web);
        rig.serve(&web);
        let now = rig.real_of(&from(client, 2));
        let expected = if stays { REAL } else { OTHER_REAL };
        let expire = options.expire_quiescent;
        assert_eq!(now, mac_of(expected), "{what}, expire_quiescent {expire}");
        // The established one goes on.
        assert_eq!(
            rig.real_of(&from(client, 1).with(ACK)),
            mac_of(REAL),
            "{what}"
        );
        // Strangers do not come.
        let stranger = rig.real_of(&from(v4(198, 51, 200, 7), 1));
        assert_eq!(stranger, mac_of(OTHER_REAL), "{what}");
    }
}

/// The option set while services are there.
#[test]
fn expire_quiescent_takes_effect_at_once() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let client = v4(198, 51, 100, 7);
    let mut web = web();
    rig.serve(&web);
    rig.real_of(&from(client, 1));
    web.reals[0].state = RealState::Drain;
    rig.serve(&web);
    assert_eq!(rig.real_of(&from(client, 2)), mac_of(REAL));
    let options = Options {
        expire_quiescent: true,
        ..OPTIONS
    };
    rig.set_policy(&options, &Defence::default());
    assert_eq!(rig.real_of(&from(client, 3)), mac_of(OTHER_REAL));
    assert_eq!(rig.persistent(&web, REAL), 0);
    assert_eq!(rig.persistent(&web, OTHER_REAL), 1);
}

/// One service for all ports of an address.
#[test]
fn port_zero_is_every_port() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    for method in [Dr, Nat] {
        rig.clear();
        let any = Service {
            persistence: web().persistence,
            ..service("tcp:192.0.2.10:0", Rr, method, 0, &BOTH)
        };
        rig.serve(&any);
        // An exact service comes first.
        let exact = service("tcp:192.0.2.10:443", Rr, Dr, 443, &[(OTHER_REAL, 1)]);
        rig.serve(&exact);
        let client = v4(198, 51, 100, 7);
        for (number, port) in [21, 80, 65_535].into_iter().enumerate() {
            let packet = Packet {
                destination_port: port,
                ..from(client, 100 + number as u16)
            };
            let out = judge::packet(&rig.run(&packet.frame()).frame);
            assert_eq!(out.to_mac, mac_of(REAL), "{method:?} {port}");
            assert_eq!(out.destination_port, port, "{method:?}");
        }
        let packet = Packet {
            destination_port: 443,
            ..from(client, 200)
        };
        assert_eq!(rig.real_of(&packet), mac_of(OTHER_REAL));
        // An edit of the netmask makes other templates; the old ones' counts
        // stay theirs.
        let mut edited = any;
        edited.persistence.as_mut().unwrap().netmask = 32;
        rig.serve(&edited);
        rig.real_of(&Packet {
            destination_port: 81,
            ..from(client, 300)
        });
        assert_eq!(rig.templates().len(), 2);
        rig.end_connections();
        assert!(
            rig.templates()
                .iter()
                .all(|(_, template)| template.connections == 0)
        );
    }
}
