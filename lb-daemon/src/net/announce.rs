//! Tells the neighbours that an address is here now: gratuitous ARP in the form of
//! RFC 5227's announcement, and unsolicited neighbour advertisements (RFC 4861
//! section 7.2.6). They keep frames that went to another director from going there
//! until an entry expires.
//!
//! ```text
//! Announcer ── orders ── the task: Rounds (pure), a packet socket
//! ```

use std::{io, mem::size_of, net::IpAddr, sync::Arc};

use lb_common::{
    addr::Addr,
    checksum::{fold, of_address},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Duration, Instant, sleep, sleep_until},
};
use tracing::warn;

use self::rounds::Rounds;

mod rounds;

const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IPV6: u16 = 0x86dd;
const BROADCAST: [u8; 6] = [0xff; 6];
/// Of ff02::1, all nodes on the link (RFC 2464 section 7).
const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// How often, a millisecond apart, a frame is tried that the interface's queue has
/// no room for.
const TRIES: u32 = 100;

/// An interface to announce addresses on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Interface index.
    pub index: u32,
    /// What the addresses are to lead to.
    pub mac: [u8; 6],
    /// Whether it forwards IPv6 packets (the advertisements' R flag).
    pub is_router: bool,
    /// How often it has come up: each time is another port.
    pub carrier_ups: u32,
}

enum Order {
    Announce(Vec<IpAddr>, Arc<[Port]>),
    Withdraw(Vec<IpAddr>),
}

/// Sends announcements, on a task that ends with it.
#[derive(Debug)]
pub struct Announcer {
    orders: mpsc::UnboundedSender<Order>,
    failure: watch::Receiver<Option<String>>,
    _task: JoinSet<()>,
}

impl Announcer {
    /// Starts the task, in the calling thread's network namespace. Must be called
    /// within a tokio runtime.
    #[must_use]
    pub fn start() -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let (failing, failure) = watch::channel(None);
        let mut task = JoinSet::new();
        task.spawn(work(received, failing));
        Self {
            orders,
            failure,
            _task: task,
        }
    }

    /// Announces addresses on some interfaces, several times.
    pub fn announce(&self, addresses: Vec<IpAddr>, ports: &[Port]) {
        if !addresses.is_empty() && !ports.is_empty() {
            let _ = self.orders.send(Order::Announce(addresses, ports.into()));
        }
    }

    /// Announces them no more.
    pub fn withdraw(&self, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            let _ = self.orders.send(Order::Withdraw(addresses));
        }
    }

    /// Why the last announcement failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }
}

async fn work(mut orders: mpsc::UnboundedReceiver<Order>, failing: watch::Sender<Option<String>>) {
    let mut rounds = Rounds::default();
    loop {
        let due = rounds.deadline();
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Announce(addresses, ports)) => {
                    rounds.begin(addresses, &ports, Instant::now());
                }
                Some(Order::Withdraw(addresses)) => rounds.withdraw(&addresses),
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let outcome = send_all(rounds.take_due(Instant::now())).await;
                let failure = outcome.err().map(|error| error.to_string());
                if let Some(error) = failure.as_ref().filter(|_| failing.borrow().is_none()) {
                    warn!(error, "virtual addresses cannot be announced");
                }
                failing.send_replace(failure);
            }
        }
    }
}

/// Sends what can be sent; the first error.
async fn send_all(due: Vec<(IpAddr, Arc<[Port]>)>) -> io::Result<()> {
    let socket = Socket::open()?;
    let mut outcome = Ok(());
    for (address, ports) in due {
        for port in &*ports {
            let sent = socket.send(address, port).await;
            outcome = outcome.and(sent);
        }
        tokio::task::yield_now().await;
    }
    outcome
}

/// A packet socket that receives nothing.
struct Socket(std::os::fd::OwnedFd);

impl Socket {
    fn open() -> io::Result<Self> {
        use std::os::fd::FromRawFd as _;
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers. Protocol 0: nothing is received (packet(7)).
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call made the descriptor, and nobody else has it.
        Ok(Self(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }))
    }

    async fn send(&self, address: IpAddr, port: &Port) -> io::Result<()> {
        for _ in 1..TRIES {
            match self.try_send(address, port) {
                // An interface that is down or gone is told when it is up again.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV)
                    ) =>
                {
                    return Ok(());
                }
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN)) =>
                {
                    sleep(Duration::from_millis(1)).await;
                }
                outcome => return outcome,
            }
        }
        self.try_send(address, port)
    }

    fn try_send(&self, address: IpAddr, port: &Port) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        let (protocol, destination, packet) = match address {
            IpAddr::V4(address) => (ETH_P_ARP, BROADCAST, arp(address.octets(), port.mac)),
            IpAddr::V6(address) => (ETH_P_IPV6, ALL_NODES, advertisement(address, port)),
        };
        let mut sll_addr = [0; 8];
        sll_addr[..6].copy_from_slice(&destination);
        let to = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol.to_be(),
            sll_ifindex: port.index.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr,
        };
        // SAFETY: both are valid for their lengths, and only read.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// An ARP announcement (RFC 5227 sections 1.1 and 2.3): a request from the address for
/// itself.
fn arp(address: [u8; 4], mac: [u8; 6]) -> Vec<u8> {
    // Ethernet, IPv4, the lengths of their addresses, request (RFC 826).
    let fixed = [0, 1, 8, 0, 6, 4, 0, 1];
    [&fixed[..], &mac, &address, &[0; 6], &address].concat()
}

/// An unsolicited neighbour advertisement for all nodes, in its IPv6 packet.
fn advertisement(address: std::net::Ipv6Addr, port: &Port) -> Vec<u8> {
    const ICMPV6: u8 = 58;
    /// RFC 4861 section 4.4; others are not believed.
    const HOP_LIMIT: u8 = 255;
    const ROUTER: u8 = 0x80;
    const OVERRIDE: u8 = 0x20;
    let all_nodes = std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let flags = OVERRIDE | if port.is_router { ROUTER } else { 0 };
    let target = address.octets();
    // Type 136, code 0, checksum, flags; the target; its link-layer address.
    let fixed = [136, 0, 0, 0, flags, 0, 0, 0];
    let mut message = [&fixed[..], &target, &[2, 1], &port.mac].concat();
    let length = (message.len() as u16).to_be_bytes();

    let words = message.chunks_exact(2);
    let sum: u64 = words
        .map(|word| u64::from(u16::from_ne_bytes([word[0], word[1]])))
        .sum();
    let pseudo = of_address(Addr::from(IpAddr::V6(address)))
        + of_address(Addr::from(IpAddr::V6(all_nodes)))
        + u64::from(u16::from_ne_bytes(length))
        + u64::from(u16::from_ne_bytes([0, ICMPV6]));
    message[2..4].copy_from_slice(&(!fold(sum + pseudo)).to_ne_bytes());

    let header = [0x60, 0, 0, 0, length[0], length[1], ICMPV6, HOP_LIMIT];
    [&header[..], &target, &all_nodes.octets(), &message].concat()
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv6Header, Icmpv6Slice, Ipv6Header, icmpv6};

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    #[test]
    fn an_announcement_asks_for_its_own_address() {
        let expected = [
            0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 192, 0, 2,
            10,
        ];
        assert_eq!(arp([192, 0, 2, 10], MAC), expected);
    }

    #[test]
    fn an_advertisement_is_whole() {
        let address: std::net::Ipv6Addr = "2001:db8:ff01::10".parse().unwrap();
        for is_router in [false, true] {
            let port = Port {
                index: 2,
                mac: MAC,
                is_router,
                carrier_ups: 1,
            };
            let packet = advertisement(address, &port);
            let (header, rest) = Ipv6Header::from_slice(&packet).unwrap();
            assert_eq!(header.source, address.octets());
            assert_eq!(header.destination[..2], [0xff, 2]);
            assert_eq!((header.hop_limit, header.payload_length), (255, 32));
            assert_eq!(rest.len(), 32);
            let (icmp, _) = Icmpv6Header::from_slice(rest).unwrap();
            let icmpv6_slice = Icmpv6Slice::from_slice(rest).unwrap();
            assert!(icmpv6_slice.is_checksum_valid(header.source, header.destination));
            assert_eq!(
                icmp.icmp_type.type_u8(),
                icmpv6::TYPE_NEIGHBOR_ADVERTISEMENT
            );
            assert_eq!(rest[4], if is_router { 0xa0 } else { 0x20 });
            assert_eq!(rest[8..24], address.octets());
            assert_eq!(rest[24..], [2, 1, 2, 0, 0, 0, 0, 7]);
        }
    }
}
