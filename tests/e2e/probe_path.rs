//! Probes by the service's address: what bears a mark and is sent to a real's own
//! address gets there as the clients' packets do, to the VIP, and its answers come
//! back to who sent it. The director has the VIP, too.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use lb_daemon::config::model::{Tunnel, TunnelKind};
use lb_daemon::dataplane::probe_path::{Counts, MOST_SEGMENT_BYTES, ProbePath, Redirect, mark};
use lb_tests::capture::Capture;
use lb_tests::echo::Echo;
use lb_tests::namespace::Namespace;
use lb_tests::socket_options;
use lb_tests::topology::{Family, Method, PORT, Spec, Wiring};
use lb_tests::wait;
use socket2::{Domain, Socket, Type};

use crate::site::Site;

/// Of UDP, answered and not.
const ECHO: u16 = 7;
const CLOSED: u16 = 9;

/// For an answer that must come, and for one that must not.
const PATIENCE: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_millis(1500);

/// Programs on the director, with redirects to the first real.
struct Way<'a> {
    site: &'a Site,
    /// None after the end.
    path: Option<ProbePath>,
}

impl<'a> Way<'a> {
    fn start(site: &'a Site) -> Self {
        let interfaces = site.network.interfaces();
        let interfaces: Vec<String> = interfaces.iter().map(ToString::to_string).collect();
        let path = site.director(|| ProbePath::start(&interfaces).unwrap());
        Self {
            site,
            path: Some(path),
        }
    }

    fn lead(&mut self, tunnel: Option<Tunnel>) {
        let site = self.site;
        let redirects = Family::BOTH.map(|family| {
            let redirect = Redirect {
                vip: site.network.vip_in(family),
                real: site.real(family),
                tunnel,
                timeout: PATIENCE,
            };
            (mark_of(family), redirect)
        });
        for (mark, redirect) in redirects {
            self.path.as_mut().unwrap().insert(mark, redirect).unwrap();
        }
    }

    fn counts(&self) -> Counts {
        self.path.as_ref().unwrap().counts().unwrap()
    }
}

impl Drop for Way<'_> {
    /// Filters of traffic control are detached where they are.
    fn drop(&mut self) {
        let path = self.path.take();
        self.site.director(|| drop(path));
    }
}

impl Site {
    fn director<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        self.network.director.enter(function).unwrap()
    }

    /// The first real's own address.
    fn real(&self, family: Family) -> IpAddr {
        self.network.reals[0].address_in(family)
    }

    /// Asks the first real's web server, to its own address.
    fn get(&self, family: Family, mark: Option<u32>, limit: Duration) -> Result<String> {
        let to = SocketAddr::from((self.real(family), PORT));
        get(&self.network.director, to, mark, limit)
    }

    fn with_vip(&self, family: Family, has: bool) {
        let (vip, bits) = (self.network.vip_in(family), family.bits());
        let verb = if has { "add" } else { "delete" };
        let command = format!("address {verb} {vip}/{bits} dev lo\n");
        self.network.reals[0].ip(&command).unwrap();
    }
}

fn mark_of(family: Family) -> u32 {
    mark(match family {
        Family::V4 => 4,
        Family::V6 => 65_535,
    })
}

fn socket(kind: Type, to: SocketAddr, mark: Option<u32>) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, None)?;
    if let Some(mark) = mark {
        socket_options::mark(&socket, mark)?;
    }
    Ok(socket)
}

/// The answer to a request for `/`.
fn get(host: &Namespace, to: SocketAddr, mark: Option<u32>, limit: Duration) -> Result<String> {
    host.enter(|| {
        let socket = socket(Type::STREAM, to, mark)?;
        socket_options::limit_segments(&socket, MOST_SEGMENT_BYTES)?;
        socket.connect_timeout(&to.into(), limit)?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        let padding = "x".repeat(2000);
        write!(
            stream,
            "GET / HTTP/1.0\r\nHost: real\r\nX-Padding: {padding}\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })?
}

/// What comes back for a datagram.
fn say(host: &Namespace, to: SocketAddr, mark: u32) -> Result<io::Result<Vec<u8>>> {
    host.enter(|| {
        let socket = socket(Type::DGRAM, to, Some(mark))?;
        socket.connect(&to.into())?;
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"probe")?;
        let mut answer = vec![0; 100];
        Ok(socket.recv(&mut answer).map(|length| {
            answer.truncate(length);
            answer
        }))
    })?
}

fn ping(host: &Namespace, to: IpAddr, mark: u32) -> Result<String> {
    let (to, mark) = (to.to_string(), mark.to_string());
    host.run(
        "ping",
        &["-n", "-c", "2", "-i", "0.2", "-W", "5", "-m", &mark, &to],
    )
}

/// All that a probe may ask.
fn ask_all(site: &Site, family: Family) {
    let (director, mark) = (&site.network.director, mark_of(family));
    let answer = site.get(family, Some(mark), PATIENCE).unwrap();
    assert!(
        answer.contains("200 OK") && answer.contains("real1"),
        "{answer}"
    );
    let real = site.real(family);
    let answer = say(director, (real, ECHO).into(), mark).unwrap().unwrap();
    assert_eq!(answer, b"probe");
    let refused = say(director, (real, CLOSED).into(), mark)
        .unwrap()
        .unwrap_err();
    assert_eq!(
        refused.kind(),
        io::ErrorKind::ConnectionRefused,
        "{refused}"
    );
    let pinged = ping(director, real, mark).unwrap();
    assert!(pinged.contains(" 0% packet loss"), "{pinged}");
}

/// A probe to the VIP that goes to the real's own address finds a real well that has
/// lost its VIP; one that gets no answer finds all of them ill.
fn by_the_services_address(method: Method, tunnels: &[(Option<Tunnel>, &str)]) {
    let Some(site) = Site::small(method) else {
        return;
    };
    let network = &site.network;
    let mut way = Way::start(&site);
    let echoes = Family::BOTH.map(|family| {
        let at = SocketAddr::from((network.vip_in(family), ECHO));
        Echo::udp(&network.reals[0], at).unwrap()
    });
    let mut capture = Capture::start(&network.switch, "real1", "", network.directory()).unwrap();
    for (tunnel, _) in tunnels {
        way.lead(*tunnel);
        for family in Family::BOTH {
            let before = way.counts();
            site.get(family, None, PATIENCE).unwrap();
            assert_eq!(way.counts(), before, "without a mark");
            ask_all(&site, family);
            let after = way.counts();
            // The request is longer than a segment. With a checksum in the tunnel all
            // go once more, one by one.
            let has_checksum = tunnel.is_some_and(|tunnel| tunnel.checksum);
            let dropped = after.dropped - before.dropped;
            assert!(dropped <= if has_checksum { 5 } else { 0 }, "{after:?}");
            // Two connections' worth of packets, a datagram each, two echoes.
            assert!(after.redirected >= before.redirected + 9, "{after:?}");
            assert!(after.answered >= before.answered + 8, "{after:?}");
        }
    }
    assert!(echoes.iter().all(|echo| echo.heard() == tunnels.len()));
    for (_, seen) in tunnels {
        for filter in seen.split('\n') {
            capture.wait_for(filter, 5).unwrap();
        }
    }
    capture.stop().unwrap();
    assert_eq!(capture.wrong().unwrap(), [""; 0]);

    // lbd's own program, in native mode, leaves the answers alone.
    let daemon = site.start("rr", &[1, 1]);
    for family in Family::BOTH {
        ask_all(&site, family);
        site.with_vip(family, false);
        let refused = site.get(family, Some(mark_of(family)), SILENCE);
        assert!(refused.is_err(), "{refused:?}");
        site.get(family, None, PATIENCE).unwrap();
        site.with_vip(family, true);
        wait::until("the VIP", wait::START_LIMIT, || {
            site.get(family, Some(mark_of(family)), SILENCE).is_ok()
        })
        .unwrap();
    }
    site.expect(&[2, 2]);
    drop(daemon);

    // A mark that is nobody's any more.
    let before = way.counts();
    let gone = mark_of(Family::V4);
    way.path.as_mut().unwrap().remove(gone).unwrap();
    let refused = site.get(Family::V4, Some(mark_of(Family::V4)), SILENCE);
    assert!(refused.is_err(), "{refused:?}");
    assert!(way.counts().dropped > before.dropped);
    // Without the programs it is a mark like any other. A command that another test
    // starts has copies of the links for a moment.
    drop(way);
    wait::until("the end of the programs", wait::START_LIMIT, || {
        site.get(Family::V4, Some(mark_of(Family::V4)), SILENCE)
            .is_ok()
    })
    .unwrap();
}

#[test]
fn dr() {
    let seen = "ip.dst == 192.0.2.10 && tcp.dstport == 80\n\
                ipv6.dst == 2001:db8:99::10 && tcp.dstport == 80\n\
                ip.src == 192.0.2.10 && tcp.srcport == 80\n\
                ipv6.src == 2001:db8:99::10 && tcp.srcport == 80";
    by_the_services_address(Method::Dr, &[(None, seen)]);
}

#[test]
fn tun() {
    let tunnel = |kind, port, checksum| {
        Some(Tunnel {
            kind,
            port,
            checksum,
        })
    };
    by_the_services_address(
        Method::Tun,
        &[
            (
                tunnel(TunnelKind::Ipip, 6080, false),
                "ip.proto == 4 && tcp\nipv6.nxt == 41 && tcp",
            ),
            (
                tunnel(TunnelKind::Gue, 6080, false),
                "ip.dst == 10.0.2.11 && udp.dstport == 6080 && udp.checksum == 0\n\
                 ipv6.dst == 2001:db8:2::11 && udp.dstport == 6080 && udp.checksum == 0",
            ),
            (
                tunnel(TunnelKind::Gue, 6081, true),
                "ip.dst == 10.0.2.11 && udp.dstport == 6081 && udp.checksum.status == 1\n\
                 ipv6.dst == 2001:db8:2::11 && udp.dstport == 6081 && udp.checksum.status == 1",
            ),
            (
                tunnel(TunnelKind::Gre, 6080, false),
                "gre.proto == 0x0800 && gre.flags_and_version == 0\n\
                 gre.proto == 0x86dd && gre.flags_and_version == 0",
            ),
            (
                tunnel(TunnelKind::Gre, 6080, true),
                "gre.proto == 0x0800 && gre.checksum.status == 1\n\
                 gre.proto == 0x86dd && gre.checksum.status == 1",
            ),
        ],
    );
}

/// On one wire all are each other's neighbours.
#[test]
fn dr_on_one_wire() {
    let Some(site) = Site::create(&Spec {
        wiring: Wiring::OneArmed,
        reals: 1,
        native: true,
        ..Spec::default()
    }) else {
        return;
    };
    let _daemon = site.start("rr", &[1]);
    // Else it would be the source that the kernel prefers, and the real's own.
    let vip = site.network.vip_in(Family::V6);
    let command = format!("address change {vip}/128 dev eth0 preferred_lft 0\n");
    site.network.director.ip(&command).unwrap();
    let mut way = Way::start(&site);
    way.lead(None);
    for family in Family::BOTH {
        let answer = site.get(family, Some(mark_of(family)), PATIENCE).unwrap();
        assert!(answer.contains("real1"), "{answer}");
    }
}
