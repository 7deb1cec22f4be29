//! `lbctl ipvsadm` in ipvsadm's place: a session, command for command, as
//! ipvsadm 1.31 would have it (tests/vectors/ipvsadm.txt).

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Output, Stdio};

use etherparse::PacketBuilder;
use lb_tests::daemon::{self, Daemon};
use lb_tests::namespace::Namespace;
use lb_tests::topology::{Method, PORT};
use lb_tests::wait;

use crate::site::{Site, json};

const SESSION: &str = include_str!("../vectors/ipvsadm.txt");

/// The session's reals, beyond the network's own: nobody has them, and the
/// director knows where to send what is for them.
const REALS: [u8; 8] = [2, 3, 4, 5, 6, 7, 8, 9];

/// A command, what it prints to either output, and how it exits.
struct Step {
    line: &'static str,
    printed: String,
    status: i32,
}

fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in SESSION.lines() {
        if let Some(line) = line.strip_prefix("$ ipvsadm ") {
            steps.push(Step {
                line,
                printed: String::new(),
                status: -1,
            });
            continue;
        }
        let step = steps.last_mut().unwrap();
        match line
            .strip_prefix("[exit ")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(status) => step.status = status.parse().unwrap(),
            None => step.printed.extend([line, "\n"]),
        }
    }
    steps
}

/// A director who does not know the session's reals drops the segments.
fn add_reals(director: &Namespace) {
    let mut batch = "address add 10.0.0.1/24 dev eth1\n\
                     address add 2001:db8::1/64 dev eth1 nodad\n\
                     neighbour add 2001:db8::20 lladdr 02:00:00:00:00:20 dev eth1\n"
        .to_owned();
    for host in REALS {
        batch += &format!("neighbour add 10.0.0.{host} lladdr 02:00:00:00:00:0{host} dev eth1\n");
    }
    director.ip(&batch).unwrap();
}

/// Three SYNs from ports of a client who has no address here.
fn send_syns(client: &Namespace, vip: Ipv4Addr) {
    let socket = client.enter(|| {
        // SAFETY: socket(2) takes no pointers.
        let fd = unsafe {
            libc::socket(
                libc::AF_INET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::IPPROTO_RAW,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor, which nobody else owns.
        Ok(UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    });
    let socket = socket.unwrap().unwrap();
    for port in 40_000..=40_002 {
        let builder = PacketBuilder::ipv4([192, 0, 2, 1], vip.octets(), 64)
            .tcp(port, PORT, 1, 65_535)
            .syn();
        let mut packet = Vec::new();
        builder.write(&mut packet, &[]).unwrap();
        socket.send_to(&packet, (vip, 0)).unwrap();
    }
}

fn ipvsadm(daemon: &Daemon<'_>, line: &str, input: &str) -> Output {
    let mut command = daemon.lbctl_command();
    command.arg("ipvsadm").args(line.split(' '));
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that reads nothing may have ended by now.
    let _ = io::Write::write_all(&mut stdin, input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// What stands still: rates are of the moment, and timers run.
fn lasting(line: &str, printed: &str) -> String {
    let lasting = printed.lines().map(|row| match line {
        "-L -n --rate" if row.len() == 78 => row[..33].to_owned(),
        "-Lnc" if row.as_bytes().get(6) == Some(&b':') => {
            format!("{}--:--{}", &row[..4], &row[9..])
        }
        _ => row.to_owned(),
    });
    lasting.map(|row| row + "\n").collect()
}

/// A byte that ipvsadm would not have printed, or another exit status, shows
/// here; so does a setting that an edit leaves as it was, and a table that is not
/// the same when it has been saved and restored.
#[test]
fn session() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    add_reals(&site.network.director);
    let config = daemon::configuration(&site.network, "").unwrap();
    let config = config.replace("connections = 16384", "connections = 4096");
    let daemon = site.start_with(&config);

    let mut saved = String::new();
    let mut has_syns = false;
    for step in steps() {
        if step.line == "-Ln" && !has_syns {
            has_syns = true;
            let first = || json(&daemon, &["list"])[0]["reals"][0].clone();
            wait::until("the real's next hop", wait::START_LIMIT, || {
                first()["next_hop"] == "resolved"
            })
            .unwrap();
            send_syns(&site.network.clients[0], site.network.vip());
            wait::until("three connections", wait::START_LIMIT, || {
                first()["inactive"] == 3 || first()["active"] == 3
            })
            .unwrap();
        }
        let (line, input) = match step.line.split_once(" < ") {
            Some((line, _)) => (line, saved.as_str()),
            None => (step.line, ""),
        };
        let output = ipvsadm(&daemon, line, input);
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        let expected = lasting(step.line, &step.printed);
        assert_eq!(lasting(step.line, &printed), expected, "{}", step.line);
        assert_eq!(output.status.code(), Some(step.status), "{}", step.line);
        if step.line == "-Sn" && saved.is_empty() {
            saved = printed;
        }
    }
}
