//! The list of connections, read from the kernel's own buckets: whatever the
//! size of a page, and with two entries a connection, each comes once.

use std::{collections::HashMap, sync::Arc};

use lb_daemon::{
    config::model::{
        ForwardingMethod::{Dr, Nat},
        Scheduler::Rr,
        Timeouts,
    },
    connections::{Cursor, Filter, Roster, page},
    dataplane::buckets::ConnectionTables,
};
use lb_tests::privilege;

use crate::{
    rig::{Rig, service},
    world::{DATAGRAM, PORT, REAL, REAL_PORT, TCP_SYN},
};

/// So many that buckets have two and three: the table has 4096.
const CONNECTIONS: u16 = 600;

#[test]
fn every_page_size_finds_each_once() {
    if !privilege::bpf() {
        return;
    }
    let mut rig = Rig::shared();
    let reals = [(REAL, 1)];
    rig.serve(&service("tcp:192.0.2.10:80", Rr, Nat, REAL_PORT, &reals));
    rig.serve(&service("udp:192.0.2.10:80", Rr, Dr, PORT, &reals));
    for port in 1..=CONNECTIONS {
        rig.run(&TCP_SYN.port(port).frame());
        rig.run(&DATAGRAM.port(port).frame());
    }
    let walked = rig.walked.as_ref().unwrap();
    let roster = Roster {
        tables: Arc::new(ConnectionTables::of(walked).unwrap()),
        services: HashMap::new(),
        reals: HashMap::new(),
        chosen: None,
        timeouts: Timeouts::default(),
    };
    for limit in [1, 2, 3, 100, 1000, 10_000] {
        let mut found = Vec::new();
        let mut cursor = Some(Cursor::START);
        while let Some(at) = cursor {
            let (rows, next) = page(&roster, &Filter::default(), at, limit).unwrap();
            assert!(rows.len() == limit || next.is_none(), "limit {limit}");
            for row in rows {
                assert_eq!(row.out_packets, (row.protocol == "tcp").then_some(0));
                assert_eq!(row.in_packets, 1, "{row:?}");
                found.push((row.protocol, row.client));
            }
            cursor = next.map(|next| next.to_string().parse().unwrap());
        }
        found.sort_unstable();
        let count = found.len();
        found.dedup();
        let expected = 2 * usize::from(CONNECTIONS);
        assert_eq!((count, found.len()), (expected, expected), "limit {limit}");
    }
}
