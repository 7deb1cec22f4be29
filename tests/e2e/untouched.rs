//! What is not for a service is the kernel's business, as if lbd were not there.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use lb_tests::topology::{Host, Method, Spec, Wiring};

use crate::site::Site;

/// A port that no service has.
const SSH: u16 = 22;
const CLOSED: u16 = 23;
const LIMIT: Duration = Duration::from_secs(5);

/// An ssh-like session: from before lbd's first start to its end, each side
/// speaks in turn, first the server.
struct Session {
    stream: TcpStream,
    line: u8,
}

impl Session {
    fn open(client: &Host, address: Ipv4Addr) -> Self {
        let address = SocketAddr::from((address, SSH));
        let stream = client.enter(|| TcpStream::connect_timeout(&address, LIMIT));
        let stream = stream.unwrap().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self { stream, line: 0 }
    }

    /// Hears the server and answers, some times.
    fn go_on(&mut self) {
        for _ in 0..10 {
            let mut heard = [0; 600];
            self.stream.read_exact(&mut heard).unwrap();
            assert_eq!(heard, [self.line; 600]);
            self.line = self.line.wrapping_add(1);
            self.stream.write_all(&[self.line; 10]).unwrap();
        }
    }
}

/// Serves sessions on every address of the director until the test ends.
fn serve(director: &Host) {
    let listener = director.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, SSH)));
    let listener = listener.unwrap().unwrap();
    // The thread ends with the test program; it waits without cost.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || talk(stream));
        }
    });
}

fn talk(mut stream: TcpStream) -> std::io::Result<()> {
    let mut line = 0_u8;
    loop {
        stream.write_all(&[line; 600])?;
        let mut answer = [0; 10];
        stream.read_exact(&mut answer)?;
        line = answer[0];
    }
}

/// A program that claims a packet that is none of its business shows as silence
/// or as an answer that the kernel would not give.
fn all_as_before(method: Method, wiring: Wiring, native: bool) {
    let Some(site) = Site::create(&Spec {
        method,
        wiring,
        native,
        reals: 1,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    let (client, director) = (&network.clients[0], &network.director);
    let addresses = [director.address(), network.vip()];
    for (host, number) in [(director, 1), (client, 11)] {
        host.ip(&format!(
            "address add 2001:db8::{number}/64 dev eth0 nodad\n"
        ))
        .unwrap();
    }
    serve(director);
    let mut sessions = addresses.map(|address| Session::open(client, address));
    sessions.iter_mut().for_each(Session::go_on);

    let mut daemon = site.start("rr", &[1]);
    site.expect(&[3]);
    sessions.iter_mut().for_each(Session::go_on);
    for address in addresses {
        // ARP anew, and then echo.
        client.ip("neighbour flush dev eth0\n").unwrap();
        ping(client, &address.to_string());
        Session::open(client, address).go_on();
        assert_eq!(connect(client, address), ErrorKind::ConnectionRefused);
        assert_eq!(send(client, address), ErrorKind::ConnectionRefused);
    }
    // Neighbour discovery anew in both directions.
    for (from, to, other) in [
        (client, "2001:db8::1", director),
        (director, "2001:db8::11", client),
    ] {
        for host in [from, other] {
            host.run("ip", &["-6", "neighbour", "flush", "dev", "eth0"])
                .unwrap();
        }
        ping(from, to);
    }
    // The director as a client: what it asks of others comes back.
    ping(director, &client.address().to_string());
    let page = lb_tests::http::get(director, &format!("http://{}/", network.reals[0].address()));
    assert_eq!(page.unwrap(), "real1");

    daemon.restart().unwrap();
    sessions.iter_mut().for_each(Session::go_on);
    daemon.kill();
    sessions.iter_mut().for_each(Session::go_on);
    site.expect(&[3]);
}

fn ping(from: &Host, to: &str) {
    let arguments = ["-n", "-c", "3", "-i", "0.05", "-W", "2", to];
    from.run("ping", &arguments).unwrap();
}

/// What comes of a TCP connection to a port where nobody listens: RST.
fn connect(client: &Host, address: Ipv4Addr) -> ErrorKind {
    let address = SocketAddr::from((address, CLOSED));
    let outcome = client.enter(|| TcpStream::connect_timeout(&address, LIMIT));
    outcome.unwrap().unwrap_err().kind()
}

/// What comes of a datagram to a port where nobody listens: ICMP port unreachable.
fn send(client: &Host, address: Ipv4Addr) -> ErrorKind {
    let outcome = client.enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((address, CLOSED))?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.send(b"anybody?")?;
        socket.recv(&mut [0; 16])
    });
    outcome.unwrap().unwrap_err().kind()
}

#[test]
fn dr_native() {
    all_as_before(Method::Dr, Wiring::TwoArmed, true);
}

#[test]
fn dr_one_armed_generic() {
    all_as_before(Method::Dr, Wiring::OneArmed, false);
}

#[test]
fn nat_native() {
    all_as_before(Method::Nat, Wiring::TwoArmed, true);
}

#[test]
fn tun_generic() {
    all_as_before(Method::Tun, Wiring::TwoArmed, false);
}
