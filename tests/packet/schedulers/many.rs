//! As many reals as a service may have.

use super::*;
use crate::rig::{Rig, SIZES};
use lb_common::{abi::program, limits::MAX_REALS_PER_SERVICE};
use lb_daemon::dataplane::Sizes;
use lb_tests::privilege;

const REALS: usize = MAX_REALS_PER_SERVICE as usize;

/// Each pick out of 1,024 reals is the host's, also where their slots lie
/// scattered and in another order than they are configured in.
#[test]
fn out_of_1024_reals() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::with_sizes(Sizes {
        reals: 4 * MAX_REALS_PER_SERVICE,
        next_hops: 4 * MAX_REALS_PER_SERVICE,
        plan_words: 1 << 20,
        ..SIZES
    });
    let weights: Vec<u32> = (0..REALS as u32).map(|number| number % 7).collect();
    for scheduler in Scheduler::ALL {
        for is_scattered in [false, true] {
            rig.clear();
            let service = web(*scheduler, &weights);
            // Where a sequence stands depends on what was there before.
            let is_sequence = matches!(scheduler, Scheduler::Rr | Scheduler::Wrr);
            if is_scattered && is_sequence {
                continue;
            }
            if is_scattered {
                // From the last to the first, two at a time.
                for number in (0..REALS).rev().step_by(REALS / 16) {
                    let mut some = service.clone();
                    some.reals.drain(..number);
                    rig.serve(&some);
                }
            }
            rig.serve(&service);
            let mut host = Host::new(1, std::time::Duration::from_hours(24));
            host.set_service(&service).unwrap();
            let director = rig.programs.xdp(program::DIRECTOR).unwrap();
            for port in 1..=200 {
                let packet = TCP_SYN.port(port);
                let client = SocketAddr::new(packet.ip.source, port);
                let real = pick(director, &packet, &service.reals);
                if *scheduler != Scheduler::Twos {
                    let expected = host.pick(client, VIP);
                    assert_eq!(real, expected, "{scheduler:?}, {is_scattered}, {port}");
                }
                host.count(real.unwrap(), 1, 0);
            }
        }
    }
}
