//! A fixture for each format, with everything in it; `tests/*.toml` and
//! `tests/*.warnings` are what becomes of them, byte for byte.

use proptest::prelude::*;

use super::{
    Format, Imported, import,
    source::{Files, ImportError, Included, NoFiles},
};
use crate::config::file;

/// `conf.d` beside the fixture.
struct Fixture;

impl Files for Fixture {
    fn included(&self, from: &str, pattern: &str) -> Result<Vec<Included>, String> {
        assert_eq!(from, "keepalived.conf");
        let is_there = pattern == "conf.d/*.conf";
        let file = Included {
            path: "conf.d/one.conf".into(),
            text: include_str!("tests/included.conf").into(),
        };
        Ok(Vec::from_iter(is_there.then_some(file)))
    }
}

fn imported(format: Format, text: &str, file: &str) -> Result<Imported, ImportError> {
    import(format, text, file, &Fixture, &[])
}

/// With `LBD_BLESS` in the environment the expected files are written.
#[track_caller]
fn assert_same(actual: &str, expected: &str, file: &str) {
    if std::env::var_os("LBD_BLESS").is_some() {
        let path = format!("{}/src/import/tests/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, actual).unwrap();
    } else {
        assert!(actual == expected, "{file} would be:\n{actual}");
    }
}

#[track_caller]
fn assert_loads(toml: &str) {
    if let Err(error) = file::parse(toml, "lbd.toml") {
        panic!("{error}\n{toml}");
    }
}

macro_rules! fixture {
    ($name:ident, $format:expr, $file:literal) => {
        #[test]
        fn $name() {
            let text = include_str!(concat!("tests/", $file));
            let imported = imported($format, text, $file).unwrap();
            let warnings: String = imported
                .warnings
                .iter()
                .map(|warning| format!("{warning}\n"))
                .collect();
            assert_same(
                &imported.toml,
                include_str!(concat!("tests/", $file, ".toml")),
                concat!($file, ".toml"),
            );
            assert_same(
                &warnings,
                include_str!(concat!("tests/", $file, ".warnings")),
                concat!($file, ".warnings"),
            );
            assert_loads(&imported.toml);
            let all = imported.toml + &warnings;
            assert!(!all.contains("not-to-be-printed"), "{all}");
        }
    };
}

fixture!(
    keepalived_with_everything,
    Format::Keepalived,
    "keepalived.conf"
);
fixture!(a_saved_table, Format::Ipvsadm, "ipvsadm.save");
fixture!(a_script, Format::Ipvsadm, "ipvsadm.sh");
fixture!(lvs_cf_with_everything, Format::LvsCf, "lvs.cf");

#[test]
fn interfaces_that_are_given_take_the_place_of_the_files() {
    let text = "vrrp_instance V { interface eth9 }\n";
    let of = |interfaces: &[&str]| {
        let interfaces: Vec<_> = interfaces.iter().map(|name| (*name).to_owned()).collect();
        import(Format::Keepalived, text, "k", &NoFiles, &interfaces).unwrap()
    };
    assert!(of(&[]).toml.contains("interfaces = [\"eth9\"]\n"));
    let given = of(&["eth0", "eth1", "eth0"]);
    assert!(given.toml.contains("interfaces = [\"eth0\", \"eth1\"]\n"));
    let tagged = of(&["eth0.7"]).warnings;
    let tagged: Vec<_> = tagged.iter().map(ToString::to_string).collect();
    let warning =
        "k:1: eth0.7 seems to be a VLAN interface: name the port that it is on by --interface";
    assert!(tagged.iter().any(|text| text == warning), "{tagged:?}");
    let none = imported(Format::Ipvsadm, "ipvsadm -A -t 192.0.2.1:80", "s").unwrap();
    assert!(none.toml.contains("interfaces = [\"CHANGE-ME\"]\n"));
    assert_eq!(
        none.warnings[0].to_string(),
        "s:1: no interface is known: CHANGE-ME stands in director.interfaces; put yours there, or \
         name it by --interface"
    );
}

#[test]
fn more_than_the_tables_hold_asks_for_larger_ones() {
    let services: String = (0..5000)
        .map(|n| {
            let (c, d) = (n / 250, n % 250 + 1);
            format!("ipvsadm -A -t 192.0.{c}.{d}:80\n")
        })
        .collect();
    let toml = imported(Format::Ipvsadm, &services, "s").unwrap().toml;
    let capacity = "[capacity]\nservices = 8192\n\n";
    assert!(toml.contains(capacity), "{}", &toml[..200]);
    assert_loads(&toml);
}

#[test]
fn what_cannot_be_understood_is_an_error_with_its_line() {
    use Format::{Ipvsadm, Keepalived, LvsCf};
    for (format, text, expected) in [
        (
            Keepalived,
            "\nserial_no = 14\n",
            "f:2: serial_no: is no keyword of keepalived's",
        ),
        (
            Keepalived,
            "virtual_server a 80 {\n}",
            "f:1: virtual_server: \"a\" is not an IP address",
        ),
        (
            Keepalived,
            "virtual_server 1.2.3.4 http {\n}",
            "f:1: virtual_server: \"http\" is not a port",
        ),
        (
            Keepalived,
            "virtual_server group g {\n}",
            "f:1: virtual_server: there is no virtual_server_group g",
        ),
        (
            Keepalived,
            "virtual_server fwmark 0 {\n}",
            "f:1: virtual_server: expected a mark from 1 to 4294967295",
        ),
        (
            Keepalived,
            "virtual_server 1.2.3.4 80 {\n",
            "f:1: virtual_server: its { has no }",
        ),
        (
            Keepalived,
            "virtual_server 1.2.3.4 80 {\nreal_server 1.2.3.5 80 {\nweight x\n}\n}",
            "f:3: weight: \"x\" is not a number in its range",
        ),
        (
            Keepalived,
            "virtual_server 1.2.3.4 80 {\ndelay_loop -1\n}",
            "f:2: delay_loop: \"-1\" is not a number of seconds",
        ),
        (
            Keepalived,
            "virtual_server 1.2.3.4 80 {\nprotocol ICMP\n}",
            "f:2: protocol: \"icmp\" is none of TCP, UDP, SCTP",
        ),
        (
            Keepalived,
            "virtual_server 1.2.3.4 80 {\nlb_algo\n}",
            "f:2: lb_algo: has no value",
        ),
        (
            Keepalived,
            "virtual_server 1.2.3.4 80 {\nreal_server 1.2.3.5 80 {\nHTTP_GET {\nurl {\ndigest 1\n}\n}\n}\n}",
            "f:5: digest: \"1\" is not an MD5 sum",
        ),
        (
            Keepalived,
            "virtual_server 1.2.3.4 80 {\nreal_server 1.2.3.5 80 {\nUDP_CHECK {\npayload xy\n}\n}\n}",
            "f:4: payload: \"xy\" is not hexadecimal",
        ),
        (
            Keepalived,
            "virtual_server_group g {\n1.2.3.0/8 80\n}\nvirtual_server group g {\n}",
            "f:2: 1.2.3.0/8: \"1.2.3.0/8\" has more than 4096 addresses",
        ),
        (
            Ipvsadm,
            "#!/bin/sh\necho\n",
            "f:2: there is no line of ipvsadm's",
        ),
        (
            Ipvsadm,
            "ipvsadm -A -t 300.1.1.1:80",
            "f:1: ipvsadm: illegal virtual server address[:port] specified",
        ),
        (
            Ipvsadm,
            "\n-A -t 1.2.3.4:80 -s nosuch",
            "f:2: ipvsadm: Scheduler or persistence engine not found",
        ),
        (
            LvsCf,
            "virtual a {\nport = 80\n}",
            "f:1: virtual a: has no address",
        ),
        (
            LvsCf,
            "virtual a {\naddress = web1 eth0\n}",
            "f:2: address: \"web1 eth0\" does not begin with an IP address",
        ),
        (
            LvsCf,
            "virtual a {\naddress = 1.2.3.4\nport = 99999\n}",
            "f:3: port: \"99999\" is not a number from 0 to 65535",
        ),
        (
            LvsCf,
            "virtual a {\naddress = 1.2.3.4\nscheduler = x\n}",
            "f:3: scheduler: \"x\" is no scheduler",
        ),
        (
            LvsCf,
            "virtual a {\nactive = yes\n}",
            "f:2: active: \"yes\" is neither 0 nor 1",
        ),
        (
            LvsCf,
            "network = both",
            "f:1: network: \"both\" is none of nat, direct, tunnel",
        ),
        (
            LvsCf,
            "virtual a {\nserver b {\n",
            "f:2: server b: its { has no }",
        ),
        (LvsCf, "a = 1\n}", "f:2: } without a {"),
        (
            LvsCf,
            "global_defs {\n}",
            "f:1: global_defs: is no section of lvs.cf",
        ),
        (LvsCf, "hello", "f:1: neither key = value nor a section"),
        (
            LvsCf,
            "a = \"b",
            "f:1: a quote that does not end on its line",
        ),
    ] {
        let error = imported(format, text, "f").unwrap_err().to_string();
        assert_eq!(error, expected, "{text}");
    }
}

/// Words that mean something in one of the formats, and pieces that do not.
const WORDS: [&str; 56] = [
    "{",
    "}",
    "\n",
    "\n",
    "\n",
    "\"",
    "'",
    "\\",
    "$",
    "${",
    "$A=",
    "$A",
    "=",
    "#",
    "!",
    "-",
    "~SEQ",
    "@a",
    "include",
    "x",
    "virtual_server",
    "virtual_server_group",
    "group",
    "g",
    "fwmark",
    "80",
    "0",
    "-1",
    "65536",
    "99999999999999999999",
    "192.0.2.1",
    "192.0.2.1-9",
    "10.0.0.0/30",
    "::1",
    "2001:db8::1",
    "real_server",
    "weight",
    "TCP_CHECK",
    "HTTP_GET",
    "url",
    "path",
    "/",
    "persistence_timeout",
    "lb_kind",
    "DR",
    "ops",
    "protocol",
    "UDP",
    "virtual",
    "server",
    "address = 10.0.0.1",
    "port = 53",
    "fwmark = 1",
    "-A -u 192.0.2.1:53 -o",
    "ipvsadm",
    "-a -u 192.0.2.1:53 -r 10.0.0.1:53 -m",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// It ends, and what it makes can be loaded.
    #[test]
    fn nothing_makes_an_importer_panic(
        words in prop::collection::vec((prop::sample::select(&WORDS[..]), any::<bool>()), 0..60),
        noise: String,
    ) {
        let glued = words.iter().map(|(word, is_apart)| {
            format!("{word}{}", if *is_apart { " " } else { "" })
        });
        for text in [glued.collect::<String>(), noise] {
            for format in [Format::Keepalived, Format::Ipvsadm, Format::LvsCf] {
                if let Ok(imported) = import(format, &text, "f", &NoFiles, &[]) {
                    assert_loads(&imported.toml);
                }
            }
        }
    }
}
