//! Pages over tables that are lists of buckets, as the kernel's are.

use std::{net::SocketAddr, sync::Mutex};

use lb_common::{
    addr::{Addr, Be16},
    connection::{Connection, direction, mark},
    connection_state::ConnectionState,
    flow::{Endpoint, FlowKey, FlowKeyV4, FlowKeyV6},
    persistence::{Template, TemplateKey},
};
use serde_json::{Value, json};

use super::*;
use crate::dataplane::buckets::{Batch, Buckets};

/// A table of buckets.
#[derive(Debug)]
struct Fake<K, V>(Mutex<Vec<Vec<(K, V)>>>);

impl<K, V> Fake<K, V> {
    fn boxed(buckets: Vec<Vec<(K, V)>>) -> Box<Self> {
        Box::new(Self(Mutex::new(buckets)))
    }
}

impl<K, V> Buckets<K, V> for Fake<K, V>
where
    K: Copy + std::fmt::Debug + Eq + Send + Sync,
    V: Copy + std::fmt::Debug + Send + Sync,
{
    fn read(&self, first: u32, most: usize) -> io::Result<Option<Batch<K, V>>> {
        let buckets = self.0.lock().unwrap();
        let mut entries = Vec::new();
        for (index, bucket) in buckets.iter().enumerate().skip(first as usize) {
            if entries.len() + bucket.len() > most {
                let next = Some(index as u32);
                return Ok((!entries.is_empty()).then_some(Batch { entries, next }));
            }
            entries.extend(bucket.iter().copied());
        }
        Ok(Some(Batch {
            entries,
            next: None,
        }))
    }

    fn get(&self, key: &K) -> io::Result<Option<V>> {
        let buckets = self.0.lock().unwrap();
        let found = buckets.iter().flatten().find(|(other, _)| other == key);
        Ok(found.map(|(_, value)| *value))
    }
}

fn end(text: &str) -> Endpoint {
    let socket: SocketAddr = text.parse().unwrap();
    Endpoint {
        address: socket.ip().into(),
        port: Be16::new(socket.port()),
    }
}

/// A connection of real slot `real`, at 10.0.0.(2 + slot).
fn connection<K: FlowKey>(client: &str, vip: &str, real: u32) -> (K, Connection) {
    let address: std::net::IpAddr = [10, 0, 0, 2 + real as u8].into();
    let entry = Connection {
        last_seen_ns: now_ns(),
        bytes: 520,
        packets: 7,
        real,
        state: ConnectionState::Established as u32,
        method: ForwardingMethod::Dr as u8,
        new_destination: address.into(),
        new_destination_port: Be16::new(80),
        ..Connection::default()
    };
    (K::new(end(client), end(vip), 6), entry)
}

fn v4(port: u16) -> (FlowKeyV4, Connection) {
    connection(&format!("198.51.100.7:{port}"), "192.0.2.10:80", 0)
}

/// Two services, web with the real slots 0 and 1, a mark with 2.
fn roster_of(tables: ConnectionTables) -> Roster {
    let real = |slot: u8, port, method| {
        let address = [10, 0, 0, 2 + slot].into();
        (u32::from(slot), (RealId { address, port }, method))
    };
    Roster {
        tables: Arc::new(tables),
        services: [(3, "tcp:192.0.2.10:80"), (4, "fwmark:80")]
            .map(|(slot, id)| (slot, id.parse().unwrap()))
            .into(),
        reals: [
            real(0, 80, ForwardingMethod::Dr),
            real(1, 80, ForwardingMethod::Nat),
            real(2, 0, ForwardingMethod::Tun),
        ]
        .into(),
        chosen: None,
        timeouts: Timeouts::default(),
    }
}

/// A roster with five connections by dr in three buckets and a persistent
/// client, for the API's tests.
pub(crate) fn roster() -> Roster {
    let client: std::net::IpAddr = [198, 51, 100, 0].into();
    let key = TemplateKey {
        client: client.into(),
        service: 3,
        prefix: 24,
        pad: [0; 3],
    };
    let template = Template {
        last_seen_ns: now_ns(),
        timeout_s: 300,
        ..Template::default()
    };
    roster_of(ConnectionTables {
        v4: Fake::boxed(vec![
            vec![v4(1), v4(2), v4(3)],
            vec![],
            vec![v4(4)],
            vec![v4(5)],
        ]),
        v6: Fake::boxed(vec![vec![]]),
        templates: Fake::boxed(vec![vec![(key, template)]]),
    })
}

/// Every page of a question.
fn pages(roster: &Roster, filter: &Filter, limit: usize) -> Vec<Vec<wire::Connection>> {
    let (mut pages, mut cursor) = (Vec::new(), Some(Cursor::START));
    while let Some(at) = cursor {
        let (rows, next) = page(roster, filter, at, limit).unwrap();
        assert!(rows.len() <= limit);
        pages.push(rows);
        // As a client would hand it back.
        cursor = next.map(|next| next.to_string().parse().unwrap());
        assert!(pages.len() < 100, "the pages do not end");
    }
    pages
}

fn clients(pages: &[Vec<wire::Connection>]) -> Vec<String> {
    let mut clients: Vec<_> = pages.iter().flatten().map(|c| c.client.clone()).collect();
    clients.sort_unstable();
    clients
}

#[test]
fn every_limit_finds_each_once() {
    let roster = roster();
    let expected: Vec<_> = ["198.51.100.0:0".to_owned()]
        .into_iter()
        .chain((1..=5).map(|port| format!("198.51.100.7:{port}")))
        .collect();
    for limit in 1..=7 {
        let pages = pages(&roster, &Filter::default(), limit);
        assert_eq!(clients(&pages), expected, "limit {limit}: {pages:?}");
        let full = pages.iter().take_while(|page| page.len() == limit).count();
        assert_eq!(full, 6 / limit, "limit {limit}: {pages:?}");
    }
}

/// What comes and goes between two pages moves nothing else.
#[test]
fn a_bucket_may_change_between_pages() {
    let buckets = |ports: &[u16]| {
        roster_of(ConnectionTables {
            v4: Fake::boxed(vec![ports.iter().map(|port| v4(*port)).collect()]),
            v6: Fake::boxed(vec![]),
            templates: Fake::boxed(vec![]),
        })
    };
    let filter = Filter::default();
    let (first, next) = page(&buckets(&[1, 2, 3, 4]), &filter, Cursor::START, 2).unwrap();
    let seen = clients(&[first]);
    let kept = |port: &u16| {
        let client = format!("198.51.100.7:{port}");
        !seen.contains(&client)
    };
    let left: Vec<_> = (1..=4).filter(kept).collect();
    // The first of those seen is gone, and what is left stands the other way
    // round.
    let after = buckets(&[left[1], left[0]]);
    let (second, _) = page(&after, &filter, next.unwrap(), 2).unwrap();
    let expected: Vec<_> = left.iter().map(|p| format!("198.51.100.7:{p}")).collect();
    assert_eq!(clients(&[second]), expected);
}

fn rows(roster: &Roster, filter: &Filter) -> Value {
    let (rows, next) = page(roster, filter, Cursor::START, 100).unwrap();
    assert_eq!(next, None);
    serde_json::to_value(rows).unwrap()
}

#[test]
fn a_row_is_the_contracts() {
    let mut one = v4(40_000);
    one.1.last_seen_ns -= 7_500_000_000;
    let roster = roster_of(ConnectionTables {
        v4: Fake::boxed(vec![vec![one]]),
        v6: Fake::boxed(vec![]),
        templates: Fake::boxed(vec![]),
    });
    let (found, _) = page(&roster, &Filter::default(), Cursor::START, 1).unwrap();
    assert_eq!(
        serde_json::to_string(&found[0]).unwrap(),
        r#"{"protocol":"tcp","client":"198.51.100.7:40000","virtual":"192.0.2.10:80","real":"10.0.0.2:80","forward":"dr","state":"ESTABLISHED","expires_s":893,"in_packets":7,"in_bytes":520}"#
    );
}

/// By nat one row for both entries, with what came back, and the timeout runs
/// from the last packet of either.
#[test]
fn nat_is_one_row() {
    let (key, mut forward) =
        connection::<FlowKeyV6>("[2001:db8::7]:40000", "[2001:db8:1::a]:80", 1);
    let real = end("[2001:db8:2::1]:8080");
    forward.method = ForwardingMethod::Nat as u8;
    (forward.new_destination, forward.new_destination_port) = (real.address, real.port);
    let client = key.source();
    (forward.new_source, forward.new_source_port) = (client.address, client.port);
    let mut reverse = forward;
    reverse.direction = direction::REVERSE;
    (reverse.packets, reverse.bytes) = (5, 9000);
    forward.last_seen_ns = 0;
    let partner: FlowKeyV6 = forward.partner_key(6);
    let roster = roster_of(ConnectionTables {
        v4: Fake::boxed(vec![]),
        v6: Fake::boxed(vec![vec![(key, forward)], vec![(partner, reverse)]]),
        templates: Fake::boxed(vec![]),
    });
    let expected = json!([{
        "protocol": "tcp", "client": "[2001:db8::7]:40000", "virtual": "[2001:db8:1::a]:80",
        "real": "[2001:db8:2::1]:8080", "forward": "nat", "state": "ESTABLISHED",
        "expires_s": 900, "in_packets": 7, "in_bytes": 520, "out_packets": 5, "out_bytes": 9000,
    }]);
    assert_eq!(rows(&roster, &Filter::default()), expected);
}

/// A tunnel's port is not the real's.
#[test]
fn a_tunnels_real_has_the_packets_port() {
    let mut one = v4(1);
    one.1.method = ForwardingMethod::Tun as u8;
    one.1.new_destination_port = Be16::new(6080);
    let roster = roster_of(ConnectionTables {
        v4: Fake::boxed(vec![vec![one]]),
        v6: Fake::boxed(vec![]),
        templates: Fake::boxed(vec![]),
    });
    let found = rows(&roster, &Filter::default());
    assert_eq!(
        (&found[0]["real"], &found[0]["forward"]),
        (&json!("10.0.0.2:80"), &json!("tun"))
    );
}

#[test]
fn what_is_cut_is_listed_and_what_is_being_deleted_is_not() {
    let entry = |port, state| {
        let (key, entry) = v4(port);
        (key, Connection { state, ..entry })
    };
    let roster = roster_of(ConnectionTables {
        v4: Fake::boxed(vec![vec![
            entry(1, ConnectionState::Cut as u32),
            entry(2, mark::CLAIMED),
            entry(3, ConnectionState::SynRecv as u32 | mark::DOOMED),
        ]]),
        v6: Fake::boxed(vec![]),
        templates: Fake::boxed(vec![]),
    });
    let found = rows(&roster, &Filter::default());
    let states = |found: &Value| {
        let rows = found.as_array().unwrap();
        rows.iter()
            .map(|row| row["state"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&found), ["CUT", "SYN_RECV"]);
    let filter = Filter {
        state: Some("CUT"),
        client: None,
    };
    assert_eq!(states(&rows(&roster, &filter)), ["CUT"]);
}

#[test]
fn persistent_clients_are_rows() {
    let key = |client: &str, service, prefix| TemplateKey {
        client: Addr::from(client.parse::<std::net::IpAddr>().unwrap()),
        service,
        prefix,
        pad: [0; 3],
    };
    let template = |real, connections| Template {
        last_seen_ns: now_ns(),
        real,
        connections,
        timeout_s: 300,
        pad: 0,
    };
    let mut roster = roster_of(ConnectionTables {
        v4: Fake::boxed(vec![]),
        v6: Fake::boxed(vec![]),
        templates: Fake::boxed(vec![vec![
            (key("192.0.2.0", 3, 24), template(1, 3)),
            (key("198.51.100.7", 4, 32), template(2, 0)),
            (key("198.51.100.8", 9, 32), template(1, 0)),
            (key("198.51.100.9", 3, 32), template(1, u32::MAX)),
        ]]),
    });
    let found = rows(&roster, &Filter::default());
    let expected = json!([
        {"protocol": "tcp", "client": "192.0.2.0:0", "virtual": "192.0.2.10:80",
         "real": "10.0.0.3:80", "forward": "nat", "state": "NONE", "expires_s": 300,
         "in_packets": 0, "in_bytes": 0},
        {"protocol": "ip", "client": "198.51.100.7:0", "virtual": "fwmark:80",
         "real": "10.0.0.4:0", "forward": "tun", "state": "NONE", "expires_s": 300,
         "in_packets": 0, "in_bytes": 0},
    ]);
    assert_eq!(found, expected);
    roster.chosen = Some([2].into_iter().collect());
    assert_eq!(rows(&roster, &Filter::default())[0], expected[1]);
    roster.chosen = None;
    let of_client = Filter {
        client: Some(("192.0.2.77".parse().unwrap(), 32)),
        state: None,
    };
    assert_eq!(rows(&roster, &of_client), json!([expected[0]]));
}

/// A table whose every bucket is as long as the kernel's may get, and larger
/// than what is read at once.
#[test]
fn a_large_table_is_read_in_parts() {
    let bucket = |index: u16| (0..9).map(|n| v4(index * 9 + n)).collect();
    let roster = roster_of(ConnectionTables {
        v4: Fake::boxed((0..1000).map(bucket).collect()),
        v6: Fake::boxed(vec![]),
        templates: Fake::boxed(vec![]),
    });
    for limit in [100, 4096, 9000, 10_000] {
        let pages = pages(&roster, &Filter::default(), limit);
        let found = clients(&pages);
        let mut once = found.clone();
        once.dedup();
        assert_eq!((found.len(), once.len()), (9000, 9000), "limit {limit}");
    }
    let one = Filter {
        client: Some(("198.51.100.8".parse().unwrap(), 32)),
        state: None,
    };
    assert_eq!(rows(&roster, &one), json!([]));
}
