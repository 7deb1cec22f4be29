//! Several services of one table.

use super::{parse, refused};

/// Without a name, address and port.
const GROUP: &str = "[director]\ninterfaces = ['eth0']\n[[service]]\nprotocol = 'tcp'\n";

#[test]
fn listen_makes_a_service_for_each_address() {
    let text = format!(
        "{GROUP}name = 'web'\nforward = 'nat'\nlisten = ['192.0.2.10:80', '192.0.2.11:8080']\n\
         [[service.real]]\naddress = '10.0.0.2'\n[[service.real]]\naddress = '10.0.0.3'\nport = 81\n\
         [[service]]\nname = 'mixed'\nprotocol = 'udp'\nforward = 'tun'\nlisten = ['192.0.2.10:53', \
         '[2001:db8::1]:53']\n[[service.real]]\naddress = '10.0.0.2'\n"
    );
    let services = parse(&text, "lbd.toml").unwrap().services;
    let shown: Vec<_> = services
        .iter()
        .map(|of| {
            let reals: Vec<_> = of.reals.iter().map(|real| real.id.to_string()).collect();
            (of.id.to_string(), of.name.clone().unwrap(), reals.join(" "))
        })
        .collect();
    let row =
        |id: &str, name: &str, reals: &str| (id.to_owned(), name.to_owned(), reals.to_owned());
    assert_eq!(
        shown,
        [
            row("tcp:192.0.2.10:80", "web", "10.0.0.2:80 10.0.0.3:81"),
            row("tcp:192.0.2.11:8080", "web", "10.0.0.2:8080 10.0.0.3:81"),
            row("udp:192.0.2.10:53", "mixed", "10.0.0.2:53"),
            row("udp:[2001:db8::1]:53", "mixed", "10.0.0.2:53"),
        ]
    );
}

#[test]
fn listen_is_checked_address_by_address() {
    for (text, expected) in [
        (
            "listen = []\n",
            "5: service.listen: at least one address is needed",
        ),
        (
            "listen = [\n'192.0.2.10:80',\n'192.0.2.11']\n",
            "7: service.listen: \"192.0.2.11\" is not an address and a port: expected 192.0.2.10:80 or \
             [2001:db8::1]:80",
        ),
        (
            "listen = [\n'192.0.2.10:80',\n'192.0.2.10:80']\n",
            "7: service.listen: tcp:192.0.2.10:80 is listed twice, first on line 6",
        ),
        (
            "listen = ['192.0.2.10:80']\nport = 80\n",
            "6: service.port: contradicts listen, which stands in its place",
        ),
        (
            "address = '192.0.2.10'\nlisten = ['192.0.2.10:80']\n",
            "5: service.address: contradicts listen, which stands in its place",
        ),
        (
            "listen = [\n'192.0.2.10:80',\n'224.0.0.1:80']\n",
            "7: service.listen: service tcp:224.0.0.1:80: not a unicast address",
        ),
        (
            "listen = [\n'192.0.2.10:0']\n",
            "6: service.listen: service tcp:192.0.2.10:0: port 0, every port, needs persistence",
        ),
        (
            "listen = ['192.0.2.10:80', '[2001:db8::1]:80']\n[[service.real]]\naddress = '10.0.0.2'\n",
            "7: service.real.address: service tcp:[2001:db8::1]:80: real 10.0.0.2:80: a real of IPv4 in a service \
             of IPv6: dr keeps the packet as it is, only tun gets it across",
        ),
        (
            "name = 'web'\nlisten = ['192.0.2.10:80', '192.0.2.11:80']\n[[service]]\nname = 'web'\nfwmark = 1\n",
            "8: service.name: given twice, first on line 5",
        ),
        (
            "listen = ['192.0.2.10:80']\n[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.10'\nport = 80\n",
            "8: service.address: tcp:192.0.2.10:80 is listed twice, first on line 5",
        ),
    ] {
        assert_eq!(
            refused(&format!("{GROUP}{text}")),
            format!("lbd.toml:{expected}")
        );
    }
    let marked = format!("{GROUP}listen = ['192.0.2.10:80']\nfwmark = 1\n")
        .replace("protocol = 'tcp'\n", "");
    assert_eq!(
        refused(&marked),
        "lbd.toml:4: service.listen: contradicts fwmark, which stands in its place"
    );
}
