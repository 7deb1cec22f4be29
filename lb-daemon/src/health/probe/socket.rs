//! The sockets of all probes: they never block, are not inherited by programs
//! that the daemon starts, and carry the target's mark.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::{Target, reason};
use crate::dataplane::probe_path::MOST_SEGMENT_BYTES;

/// A connection to the target.
pub(super) async fn connect(target: &Target) -> Result<TcpStream, String> {
    let socket = tcp(target).map_err(|error| reason::of(&error))?;
    if target.mark.is_some() {
        // A port of its own would be held for a minute by each probe.
        let set = socket.set_zero_linger();
        set.map_err(|error| reason::of(&error))?;
    }
    let stream = socket.connect(target.address).await;
    stream.map_err(|error| reason::of(&error))
}

/// One that is to be connected to the target.
pub(super) fn tcp(target: &Target) -> io::Result<TcpSocket> {
    let socket = match target.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    mark(&SockRef::from(&socket), target)?;
    if target.mark.is_some() {
        SockRef::from(&socket).set_tcp_mss(MOST_SEGMENT_BYTES.into())?;
    }
    Ok(socket)
}

/// One that hears the target alone, and of its ICMP errors.
pub(super) fn udp(target: &Target) -> io::Result<UdpSocket> {
    datagram(target, Type::DGRAM, Protocol::UDP)
}

/// The same for another protocol: tokio's type for UDP does no more than
/// send(2) and recv(2), which are the same for all.
pub(super) fn datagram(target: &Target, of: Type, protocol: Protocol) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(target.address);
    let socket = Socket::new(domain, of.nonblocking(), Some(protocol))?;
    mark(&SockRef::from(&socket), target)?;
    // To a peer of a datagram socket this is a note of the address, and
    // never waits.
    socket.connect(&target.address.into())?;
    UdpSocket::from_std(socket.into())
}

/// A socket with a mark has a port before it is connected, which no other such socket
/// has: answers by way of the service differ in nothing else.
fn mark(socket: &SockRef<'_>, target: &Target) -> io::Result<()> {
    let Some(mark) = target.mark else {
        return Ok(());
    };
    socket.set_mark(mark)?;
    let any = match target.address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    socket.bind(&any.into())
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, os::fd::AsFd};

    use nix::fcntl::{FcntlArg, fcntl};

    use super::super::testing::target;
    use super::*;

    fn is_cloexec(socket: &SockRef<'_>) -> bool {
        fcntl(socket.as_fd(), FcntlArg::F_GETFD) == Ok(libc::FD_CLOEXEC)
    }

    #[tokio::test]
    async fn sockets_are_marked() {
        for address in ["127.0.0.1:9", "[::1]:9"] {
            let mut asked = target(address.parse().unwrap());
            asked.mark = Some(0xfeed);
            let tcp = match tcp(&asked) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    eprintln!("skipped: marks need CAP_NET_ADMIN");
                    return;
                }
                Err(error) => {
                    eprintln!("skipped, this host has no such address: {error}");
                    continue;
                }
                Ok(tcp) => tcp,
            };
            let tcp = SockRef::from(&tcp);
            assert_eq!(
                (tcp.mark().unwrap(), tcp.nonblocking().unwrap()),
                (0xfeed, true)
            );
            assert!(is_cloexec(&tcp));
            let Ok(udp) = udp(&asked) else {
                continue;
            };
            let udp = SockRef::from(&udp);
            assert_eq!(
                (udp.mark().unwrap(), udp.nonblocking().unwrap()),
                (0xfeed, true)
            );
            assert!(is_cloexec(&udp));
            asked.mark = None;
            let plain = super::tcp(&asked).unwrap();
            assert_eq!(SockRef::from(&plain).mark().unwrap(), 0);
        }
    }
}
