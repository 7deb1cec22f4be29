//! The replay through the XDP program, packet by packet.

use std::net::Ipv4Addr;

use lb_common::{connection::Connection, flow::FlowKeyV4};
use lb_daemon::config::model::{MarkRule, RealId, Service};

use super::{Flow, Plane, States};
use crate::{
    judge,
    kernel::Verdict,
    packet::{Header, Ip, Packet, SYN},
    rig::{Rig, Shared},
    row::PORT_UNREACHABLE,
    world::{TCP_SYN, mac_of},
};

impl Plane for Shared {
    fn serve(&mut self, service: &Service, marks: &[MarkRule]) {
        Rig::serve(self, service);
        self.reconciler.set_marks(marks).unwrap();
    }

    fn change(&mut self, service: &Service) {
        self.reconciler.set_service(service).unwrap();
    }

    /// The real is known by the frame's address.
    fn syn(&mut self, flow: &Flow) -> Option<Ipv4Addr> {
        let packet = packet(flow, SYN);
        let outcome = self.run(&packet.frame());
        assert_eq!(outcome.verdict, Verdict::Tx);
        if outcome.frame[23] == 1 {
            assert_eq!(
                judge::message(&outcome.frame),
                PORT_UNREACHABLE.about(&packet)
            );
            return None;
        }
        let [2, 1, address @ ..] = judge::packet(&outcome.frame).to_mac else {
            panic!("to no real: {:02x?}", outcome.frame)
        };
        let address = Ipv4Addr::from(address);
        assert_eq!(mac_of(address.into()), judge::packet(&outcome.frame).to_mac);
        Some(address)
    }

    fn segment(&mut self, flow: &Flow, flags: u8) {
        let verdict = self.run(&packet(flow, flags).frame()).verdict;
        assert!(
            matches!(verdict, Verdict::Tx | Verdict::Pass),
            "{verdict:?}"
        );
    }

    fn counts(&mut self, service: &Service, real: RealId) -> (u32, u32) {
        Rig::counts(self, service, real.address)
    }

    fn states(&mut self) -> States {
        let row = |(key, entry): (FlowKeyV4, Connection)| {
            let client = (
                Ip::from(key.source.get().to_be_bytes()),
                key.source_port.get(),
            );
            (client, entry.state().name().to_owned())
        };
        self.entries().into_iter().map(row).collect()
    }
}

fn packet(flow: &Flow, flags: u8) -> Packet {
    let ip = Header {
        source: flow.src.into(),
        destination: flow.dst.into(),
        ..TCP_SYN.ip
    };
    Packet { ip, ..TCP_SYN }.port(flow.sport).with(flags)
}
