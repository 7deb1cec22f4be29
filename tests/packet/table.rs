//! The connection table as the programs leave it: nothing is lost and nothing is
//! there twice, whatever came and went.

use lb_daemon::config::model::ForwardingMethod::{Dr, Nat};
use lb_tests::privilege;

use crate::{
    rig::{ALL, DEFENCELESS, OPTIONS, Rig, SIZES},
    sweep::web,
    world::TCP_SYN,
};

/// A table for so many connections is filled to the last place and emptied,
/// again and again: by dr, and by nat with two entries a connection.
#[test]
fn no_place_is_lost() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    rig.set_policy(&OPTIONS, &DEFENCELESS);
    for (method, entries) in [(Dr, 1), (Nat, 2), (Dr, 1)] {
        rig.serve(&web(method));
        for round in 0..4 {
            for client in 0..SIZES.connections / entries {
                let port = 1024 + client as u16;
                rig.run(&TCP_SYN.port(port).frame());
            }
            let found = rig.entries().len();
            assert_eq!(rig.connections.faults().unwrap(), Vec::<String>::new());
            assert_eq!(found as u32, SIZES.connections, "{method:?}, round {round}");
            let keys = rig.keys();
            for keys in keys.chunks(64) {
                rig.sweep(ALL, keys);
            }
            assert_eq!(rig.entries().len(), 0, "{method:?}, round {round}");
            assert_eq!(rig.connections.faults().unwrap(), Vec::<String>::new());
        }
    }
}
