//! What ipvsadm 1.31 says and does with the same arguments.

use super::*;
use crate::ipvsadm::words;

fn read(line: &str) -> Result<Command, Usage> {
    parse(&words(line))
}

fn refusal(line: &str) -> (String, u8) {
    match read(line) {
        Err(Usage {
            message, status, ..
        }) => (message, status),
        Ok(command) => panic!("{line}: {command:?}"),
    }
}

fn service(line: &str) -> Service {
    match read(line) {
        Ok(Command::AddService(service) | Command::EditService(service)) => service,
        other => panic!("{line}: {other:?}"),
    }
}

fn real(line: &str) -> (String, Real) {
    match read(line) {
        Ok(Command::AddReal(id, real) | Command::EditReal(id, real)) => (id.to_string(), real),
        other => panic!("{line}: {other:?}"),
    }
}

fn list(line: &str) -> List {
    match read(line) {
        Ok(Command::List(list)) => list,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn services_have_ipvsadms_defaults() {
    let plain = service("-A -t 192.0.2.10:80");
    assert_eq!(
        plain,
        Service {
            id: "tcp:192.0.2.10:80".parse().unwrap(),
            scheduler: "wlc".into(),
            scheduler_flags: Vec::new(),
            persistence_s: None,
            netmask: Netmask::V4(Ipv4Addr::BROADCAST),
            one_packet: false,
            engine: None,
        }
    );
    assert_eq!(service("-E -t 192.0.2.10:80"), plain);
    let full = service("-A -u [2001:db8::1]:53 -s sh -b sh-port,sh-fallback -p -M 64 -o --pe sip");
    assert_eq!(
        full,
        Service {
            id: "udp:[2001:db8::1]:53".parse().unwrap(),
            scheduler: "sh".into(),
            scheduler_flags: vec!["sh-fallback", "sh-port"],
            persistence_s: Some(360),
            netmask: Netmask::V6(64),
            one_packet: true,
            engine: Some("sip".into()),
        }
    );
}

#[test]
fn services_are_named_by_address_or_mark() {
    for (line, id) in [
        ("-A --sctp-service 192.0.2.10:3868", "sctp:192.0.2.10:3868"),
        ("-A -t 192.0.2.10 -p", "tcp:192.0.2.10:0"),
        ("-A -t 2001:db8::1 -p", "tcp:[2001:db8::1]:0"),
        ("-A -f 80", "fwmark:80"),
        ("-A -f 80 -6", "fwmark6:80"),
        ("-A -f 80 -o", "fwmark:80"),
        ("-At192.0.2.10:80", "tcp:192.0.2.10:80"),
        ("-At=192.0.2.10:80", "tcp:192.0.2.10:80"),
        (
            "--add-service --udp-service=192.0.2.10:53",
            "udp:192.0.2.10:53",
        ),
        (
            "--edit-service --tcp-service 192.0.2.10:80 --",
            "tcp:192.0.2.10:80",
        ),
    ] {
        assert_eq!(service(line).id.to_string(), id, "{line}");
    }
    for line in ["-D -t 192.0.2.10", "-Z -f 5 -6", "-L -u 192.0.2.10:53 -n"] {
        read(line).unwrap();
    }
    let real_of = "-d -t 192.0.2.10:80 -r 10.0.0.1:8080";
    let id = "10.0.0.1:8080".parse::<std::net::SocketAddr>().unwrap();
    assert_eq!(
        read(real_of).unwrap(),
        Command::DeleteReal(
            "tcp:192.0.2.10:80".parse().unwrap(),
            RealId {
                address: id.ip(),
                port: id.port()
            }
        )
    );
}

#[test]
fn persistence_may_have_a_time_and_a_mask() {
    for (flags, seconds) in [
        ("-p", Some(360)),
        ("-p -s rr", Some(360)),
        ("-p 300", Some(300)),
        ("-p300", Some(300)),
        ("-p=300", Some(300)),
        ("--persistent=2678400", Some(2_678_400)),
        ("-s rr", None),
    ] {
        let line = format!("-A -t 192.0.2.10:80 {flags}");
        assert_eq!(service(&line).persistence_s, seconds, "{line}");
    }
    for (line, netmask, prefix) in [
        (
            "-A -t 192.0.2.10:80 -p -M 255.255.255.0",
            Netmask::V4([255, 255, 255, 0].into()),
            Some(24),
        ),
        (
            "-A -M 24 -t 192.0.2.10:80",
            Netmask::V4([0, 0, 0, 24].into()),
            None,
        ),
        (
            "-A -M 255.0.0.0 -t 2001:db8::1 -p",
            Netmask::V6(128),
            Some(128),
        ),
        ("-A -f 8 -6 -M 64x -p", Netmask::V6(64), Some(64)),
    ] {
        let given = service(line).netmask;
        assert_eq!((given, given.prefix()), (netmask, prefix), "{line}");
    }
}

#[test]
fn scheduler_flags_are_the_schedulers() {
    for (flags, expected) in [
        ("-s mh -b mh-port", vec!["mh-port"]),
        ("-b sh-port -s sh", vec!["sh-port"]),
        (
            "-s sh -b flag-2,flag-1,flag-2",
            vec!["sh-fallback", "sh-port"],
        ),
        ("-s sh -b ,sh-port,", vec!["sh-port"]),
        ("-s rr -b flag-1,flag-3", vec!["flag-1", "flag-3"]),
    ] {
        let line = format!("-A -t 192.0.2.10:80 {flags}");
        assert_eq!(service(&line).scheduler_flags, expected, "{line}");
    }
}

#[test]
fn reals_have_the_services_port_unless_they_are_masqueraded() {
    for (line, id) in [
        ("-a -t 192.0.2.10:80 -r 10.0.0.1", "10.0.0.1:80"),
        ("-a -t 192.0.2.10:80 -r 10.0.0.1:8080", "10.0.0.1:80"),
        ("-e -t 192.0.2.10:80 -r 10.0.0.1:8080 -i", "10.0.0.1:80"),
        ("-a -t 192.0.2.10:80 -r 10.0.0.1:8080 -m", "10.0.0.1:8080"),
        ("-a -t 192.0.2.10:80 -r 10.0.0.1 -m", "10.0.0.1:80"),
        // The service is not known yet where the real is read.
        ("-a -r 10.0.0.1 -m -t 192.0.2.10:80", "10.0.0.1:0"),
        ("-a -f 80 -r 10.0.0.1:8080", "10.0.0.1:8080"),
        ("-a -f 80 -r 10.0.0.1", "10.0.0.1:0"),
        (
            "-a -t 192.0.2.10:80 -r [2001:db8::1]:80 -i",
            "[2001:db8::1]:80",
        ),
    ] {
        assert_eq!(real(line).1.id.to_string(), id, "{line}");
    }
}

#[test]
fn reals_have_weights_thresholds_and_tunnels() {
    let (of, plain) = real("-a -t 192.0.2.10:80 -r 10.0.0.1");
    assert_eq!(of, "tcp:192.0.2.10:80");
    assert_eq!(
        (plain.forward, plain.weight, plain.tunnel),
        (ForwardingMethod::Dr, 1, None)
    );
    let (_, given) = real("-a -t 192.0.2.10:80 -r 10.0.0.1 -m -w 0 -x 2147483647 -y 50");
    assert_eq!(
        (
            given.forward,
            given.weight,
            given.upper_threshold,
            given.lower_threshold
        ),
        (ForwardingMethod::Nat, 0, 2_147_483_647, 50)
    );
    for (flags, kind, port, checksum) in [
        ("-i", TunnelKind::Ipip, None, Checksum::Off),
        (
            "-i --tun-type gue --tun-port 6080",
            TunnelKind::Gue,
            Some(6080),
            Checksum::Off,
        ),
        (
            "--tun-type gue --tun-port=7000 -i --tun-remcsum",
            TunnelKind::Gue,
            Some(7000),
            Checksum::Remote,
        ),
        (
            "-i --tun-type gre --tun-csum",
            TunnelKind::Gre,
            None,
            Checksum::On,
        ),
        (
            "-i --tun-type gre --tun-nocsum",
            TunnelKind::Gre,
            None,
            Checksum::Off,
        ),
    ] {
        let line = format!("-a -t 192.0.2.10:80 -r 10.0.0.1 {flags}");
        let tunnel = Tunnel {
            kind,
            port,
            checksum,
        };
        assert_eq!(real(&line).1.tunnel, Some(tunnel), "{line}");
    }
}

#[test]
fn lists_have_a_subject_and_a_form() {
    assert_eq!(read("").unwrap(), Command::List(List::default()));
    assert_eq!(list("-l --sort --sort"), List::default());
    let numeric = List {
        numeric: true,
        ..List::default()
    };
    assert_eq!(list("-Ln"), numeric);
    assert_eq!(list("--list --syncid 5 --numeric"), numeric);
    for (line, subject) in [
        ("-Lnc", Subject::Connections),
        ("-L -n --timeout", Subject::Timeouts),
        ("-L -n --daemon", Subject::Daemons),
        (
            "-L -n -f 80 -6",
            Subject::Service("fwmark6:80".parse().unwrap()),
        ),
    ] {
        assert_eq!(list(line), List { subject, ..numeric }, "{line}");
    }
    assert_eq!(
        list("-LX --stats --rate --thresholds --persistent-conn --nosort --tun-info"),
        List {
            exact: true,
            nosort: true,
            stats: true,
            rate: true,
            thresholds: true,
            persistent_conn: true,
            tun_info: true,
            ..List::default()
        }
    );
}

#[test]
fn the_other_commands_are_understood() {
    for (line, command) in [
        ("-C", Command::Flush),
        ("-Z", Command::Zero(None)),
        ("-R", Command::Restore),
        ("-S", Command::Save { numeric: false }),
        ("-Sn", Command::Save { numeric: true }),
        ("-h foo", Command::Help),
        ("--version", Command::Version),
        (
            "--start-daemon master --mcast-group 224.0.0.81 --syncid 1",
            Command::StartDaemon,
        ),
        ("--stop-daemon=backup", Command::StopDaemon),
        (
            "--set 1 -- 2 0",
            Command::SetTimeouts {
                tcp: 1,
                tcp_fin: 2,
                udp: 0,
            },
        ),
    ] {
        assert_eq!(read(line).unwrap(), command, "{line}");
    }
}

#[test]
fn a_wrong_value_is_refused() {
    let address = "illegal virtual server address[:port] specified";
    for (line, message) in [
        ("-A -t 300.1.1.1:80", address),
        ("-A -t 80", address),
        ("-A -t [2001:db8::1]", address),
        ("-A -t 192.0.2.10:70000", address),
        ("-A --tcp-service= -s rr", address),
        ("-A -t -s", address),
        ("-A -f 0", "invalid fwmark value `0' specified"),
        ("-A -f -1", "invalid fwmark value `-1' specified"),
        (
            "-A -f 4294967296",
            "invalid fwmark value `4294967296' specified",
        ),
        ("-A -6 -f 80", "-6 used before -f\n"),
        ("-L -6", "-6 used before -f\n"),
        (
            "-A -t 192.0.2.10:80 -p 0",
            "invalid timeout value `0' specified",
        ),
        (
            "-A -t 192.0.2.10:80 --persistent=",
            "invalid timeout value `' specified",
        ),
        (
            "-A -t 192.0.2.10:80 -p 2678401",
            "invalid timeout value `2678401' specified",
        ),
        (
            "-A -t 192.0.2.10:80 -M 4294967296",
            "illegal virtual server persistent mask specified",
        ),
        (
            "-A -t 2001:db8::1 -p -M 129",
            "illegal ipv6 netmask specified",
        ),
        (
            "-A -t 192.0.2.10:80 -b sh-port",
            "incompatible scheduler flag `sh-port'",
        ),
        ("-A -b foo", "invalid scheduler flag `foo'"),
        (
            "-a -t 192.0.2.10:80 -r 10",
            "illegal real server address[:port] specified",
        ),
        (
            "-a -r 10.0.0.1:http -m",
            "illegal real server address[:port] specified",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -w 99999999999",
            "illegal weight specified",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -w -1",
            "illegal weight specified",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -x 2147483648",
            "illegal u_threshold specified",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -y x",
            "illegal l_threshold specified",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-type foo",
            "illegal tunnel type specified",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-port 0",
            "illegal tunnel port specified",
        ),
        ("--set x 2 3", "invalid timeout value `x' specified"),
        (
            "--start-daemon foo",
            "illegal start-daemon parameter specified",
        ),
        ("--stop-daemon foo", "illegal start_daemon specified"),
        (
            "--start-daemon master --syncid 256",
            "illegal syncid specified",
        ),
        (
            "--start-daemon master --mcast-ttl 0",
            "illegal mcast-ttl specified",
        ),
        (
            "--start-daemon master --mcast-port 0",
            "illegal mcast-port specified",
        ),
        (
            "--start-daemon master --sync-maxlen 65508",
            "illegal sync-maxlen specified",
        ),
        (
            "--start-daemon backup --mcast-group 1.2.3.4",
            "invalid IPv4 mcast-group `1.2.3.4'",
        ),
        (
            "--start-daemon backup --mcast-group 2001:db8::1",
            "invalid IPv6 mcast-group `2001:db8::1'",
        ),
    ] {
        assert_eq!(refusal(line), (message.to_owned(), 2), "{line}");
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (line, message) in [
        (
            "-A",
            "You need to supply the 'service-address' option for the 'add-service' command",
        ),
        (
            "-a -t 192.0.2.10:80",
            "You need to supply the 'real-server' option for the 'add-server' command",
        ),
        (
            "-d -r 10.0.0.1",
            "You need to supply the 'service-address' option for the 'delete-server' command",
        ),
        (
            "-e -t 192.0.2.10:80",
            "You need to supply the 'real-server' option for the 'edit-server' command",
        ),
        (
            "-A -t 192.0.2.10:80 -n",
            "Illegal 'numeric' option with the 'add-service' command",
        ),
        (
            "-C -t 192.0.2.10:80",
            "Illegal 'service-address' option with the 'flush' command",
        ),
        ("-Rn", "Illegal 'numeric' option with the 'restore' command"),
        (
            "-L -p",
            "Illegal 'persistent' option with the 'list' command",
        ),
        (
            "-L -c -t 192.0.2.10:80",
            "The option 'service-address' conflicts with the 'connection' option in the 'list' command",
        ),
        (
            "-L --timeout --daemon",
            "The option 'daemon' conflicts with the 'timeout' option in the 'list' command",
        ),
        ("-L -c --rate", "options conflicts in the list command"),
        (
            "-L --timeout --persistent-conn",
            "options conflicts in the list command",
        ),
        (
            "-A -f 80 -t 192.0.2.10:80",
            "multiple 'service-address' options specified",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -g -m",
            "multiple 'forwarding-method' options specified",
        ),
        (
            "-A -t 192.0.2.10",
            "Zero port specified for non-persistent service",
        ),
        (
            "-A -t 192.0.2.10:80 -o",
            "One-Packet Scheduling is only for UDP virtual services",
        ),
        (
            "-a -t 192.0.2.10:80 -r [2001:db8::1]:80 --tun-csum",
            "Different address family is allowed only for tunneling servers",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -m --tun-csum",
            "Tunnel options conflict with forward method",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-type gue",
            "You need to supply the 'tun-port' option for the 'gue' tunnel type",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-csum",
            "Illegal 'tun-csum' option with the 'ipip' tunnel type",
        ),
        (
            "-a -t 192.0.2.10:80 -r 10.0.0.1 -i --tun-type gre --tun-csum --tun-nocsum",
            "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type",
        ),
        ("--set 1 2", "--set option requires 3 timeout values"),
        ("--set 1 2 3 4", "unexpected argument 4"),
        ("foo -L", "unexpected argument foo"),
        ("-L -- -n", "unexpected argument -n"),
        ("-A -D", "invalid option `-D'"),
        ("-A -h", "invalid option `-h'"),
    ] {
        assert_eq!(refusal(line), (message.to_owned(), 2), "{line}");
    }
}

#[test]
fn what_is_no_option_exits_with_255() {
    let help = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.";
    for (line, message, goes_on) in [
        ("-n -L", help, false),
        ("--bogus", help, false),
        ("foo", help, false),
        ("-- -L", help, false),
        ("--start-daemon", help, false),
        ("-Aq", "-Aq: unknown option", true),
        ("-L --bogus=5", "--bogus=5: unknown option", true),
        ("-A -t", "-t: missing argument", true),
        (
            "-L --stats=3",
            "--stats=3: option does not take an argument",
            true,
        ),
        ("-Ln=x", "-Ln=x: option does not take an argument", true),
        ("-A -t 192.0.2.10:80 -p -5", "-5: unknown option", true),
    ] {
        assert_eq!(
            read(line).unwrap_err(),
            Usage {
                message: message.to_owned(),
                status: 255,
                restore_goes_on: goes_on
            },
            "{line}"
        );
    }
}
