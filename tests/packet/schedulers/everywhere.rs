//! Every scheduler with each of its flags, for every protocol, both families,
//! services by address and by firewall mark: each pick is the host's.

use super::*;
use crate::rig::Rig;
use lb_tests::privilege;

/// One real is quiesced, one has a threshold, one more weight than others.
const WEIGHTS: [u32; 6] = [2, 1, 0, 3, 1, 1];
const LIMITED: usize = 3;
const CONNECTIONS: u16 = 40;

/// What a scheduler is tried with.
#[derive(Clone, Copy, Debug)]
struct Combination {
    scheduler: Scheduler,
    flags: u32,
    protocol: Protocol,
    is_ipv6: bool,
    by_mark: bool,
}

impl Combination {
    fn service(self) -> Service {
        let name = match (self.by_mark, self.is_ipv6) {
            (true, false) => "fwmark:1".to_owned(),
            (true, true) => "fwmark6:1".to_owned(),
            (false, false) => format!("{}:192.0.2.10:80", self.protocol.name()),
            (false, true) => format!("{}:[2001:db8:a::10]:80", self.protocol.name()),
        };
        let port = if self.by_mark { 0 } else { PORT };
        let mut reals = reals(&WEIGHTS, port, self.is_ipv6);
        reals[LIMITED].upper_threshold = 4;
        Service {
            reals,
            scheduler_flags: self.flags,
            ..Service::new(name.parse().unwrap(), self.scheduler)
        }
    }

    fn mark(self) -> Option<MarkRule> {
        let destination = match self.is_ipv6 {
            false => (v4(192, 0, 2, 0), 24),
            true => (v6([0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0]), 64),
        };
        self.by_mark.then_some(MarkRule {
            mark: 1,
            protocol: self.protocol,
            destination,
            ports: Vec::new(),
        })
    }

    /// The first packet of a connection. Clients come back, and so do the
    /// addresses that a mark's clients want.
    fn packet(self, number: u16) -> Packet {
        let packet = match (self.protocol, self.is_ipv6) {
            (Protocol::Tcp, false) => TCP_SYN,
            (Protocol::Tcp, true) => TCP_SYN_V6,
            (Protocol::Udp, false) => DATAGRAM,
            (Protocol::Udp, true) => DATAGRAM_V6,
            (Protocol::Sctp, false) => SCTP_INIT,
            (Protocol::Sctp, true) => SCTP_INIT_V6,
        };
        let client = number % 11;
        let wanted = if self.by_mark { number % 5 } else { 0 };
        let (source, destination) = match self.is_ipv6 {
            false => (
                v4(198, 51, 100, client as u8),
                v4(192, 0, 2, 10 + wanted as u8),
            ),
            true => (
                v6([0x2001, 0xdb8, 0xc, 0, 0, 0, 0, client]),
                v6([0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x10 + wanted]),
            ),
        };
        let ip = Header {
            source,
            destination,
            ..packet.ip
        };
        Packet { ip, ..packet }.port(20_000 + number)
    }
}

fn combinations() -> Vec<Combination> {
    let mut all = Vec::new();
    for scheduler in Scheduler::ALL {
        let bits = scheduler.layout().flags().iter().map(|(_, flag)| *flag);
        let every = bits.clone().fold(0, |all, flag| all | flag);
        let mut flags: Vec<u32> = bits.chain([0, every]).collect();
        flags.sort_unstable();
        flags.dedup();
        for flags in flags {
            for protocol in Protocol::ALL {
                for (is_ipv6, by_mark) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    all.push(Combination {
                        scheduler: *scheduler,
                        flags,
                        protocol,
                        is_ipv6,
                        by_mark,
                    });
                }
            }
        }
    }
    all
}

#[test]
fn every_scheduler_everywhere() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let combinations = combinations();
    for combination in &combinations {
        rig.clear();
        let service = combination.service();
        rig.serve(&service);
        rig.reconciler
            .set_marks(combination.mark().as_slice())
            .unwrap();
        let mut host = Host::new(1, std::time::Duration::from_hours(24));
        host.set_service(&service).unwrap();
        let director = rig.programs.xdp(lb_common::abi::program::DIRECTOR).unwrap();
        for number in 0..CONNECTIONS {
            let packet = combination.packet(number);
            let client = SocketAddr::new(packet.ip.source, packet.source_port);
            let real = pick(director, &packet, &service.reals);
            let what = format!("{combination:?}: connection {number}");
            if combination.scheduler == Scheduler::Twos {
                // By chance; but never the quiesced one.
                assert!(
                    real.is_some_and(|real| real != service.reals[2].id),
                    "{what}"
                );
            } else {
                assert_eq!(real, host.pick(client, packet.ip.destination), "{what}");
            }
            if let Some(real) = real {
                let is_active = combination.protocol == Protocol::Tcp;
                host.count(real, is_active.into(), (!is_active).into());
            }
        }
        for real in &service.reals {
            let counts = rig.counts(&service, real.id.address);
            assert_eq!(counts, host.counts(real.id), "{combination:?}");
        }
        let limited = rig.counts(&service, service.reals[LIMITED].id.address);
        assert!(limited.0 + limited.1 <= 4, "{combination:?}");
    }
    // Fourteen, sh and mh with three more each; a new one adds to them.
    assert!(combinations.len() >= (14 + 6) * 3 * 4);
}
