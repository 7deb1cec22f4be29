//! The netlink sockets: one for requests, one for events, so that an overrun
//! of events never costs an answer.

use std::{future::Future, net::IpAddr, time::Duration};

use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use rtnetlink::{
    Error, Handle, MulticastGroup,
    packet_core::NetlinkMessage,
    packet_route::{
        RouteNetlinkMessage,
        neighbour::{NeighbourFlags, NeighbourState},
    },
    sys::{AsyncSocket, SocketAddr},
};
use tokio::task::JoinSet;

use super::{
    NetError,
    event::{self, Event},
    hop::Reason,
    link::Link,
    neighbour::{self, Entry, NeighbourKey},
    route::{self, Lookup},
};

/// The kernel answers within its `sendmsg`; an answer that takes this long
/// could not be decoded and will never come.
const PATIENCE: Duration = Duration::from_secs(2);

/// Requests under way at once.
const CONCURRENCY: usize = 64;

/// Size of the events' socket buffer, bytes; the kernel caps it at
/// `net.core.rmem_max`.
const EVENT_BUFFER_BYTES: usize = 1 << 20;

/// `IFNAMSIZ`, less the closing zero.
const NAME_MAX: usize = 15;

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Rule,
];

/// The socket for requests. Its task ends with it.
#[derive(Debug)]
pub(super) struct Kernel {
    handle: Handle,
    connection: JoinSet<()>,
}

impl Kernel {
    /// Opens the socket in the calling thread's network namespace.
    pub(super) fn open() -> Result<Self, NetError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetError::Socket)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        Ok(Self {
            handle,
            connection: tasks,
        })
    }

    /// Whether the socket has failed, so that no request will be answered.
    pub(super) fn has_failed(&mut self) -> bool {
        while self.connection.try_join_next().is_some() {}
        self.connection.is_empty()
    }

    /// For requests of other parts of this module.
    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The interface of this name.
    pub(super) async fn link(&self, name: &str) -> Result<Link, NetError> {
        let none = || NetError::NoInterface { name: name.into() };
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(none());
        }
        let request = self.handle.link().get().match_name(name).execute();
        let answer = answer("look an interface up", request.try_collect::<Vec<_>>()).await;
        match answer {
            Ok(links) => links.iter().find_map(Link::from_message).ok_or_else(none),
            Err(NetError::Request { source, .. }) if errno(&source) == libc::ENODEV => Err(none()),
            Err(error) => Err(error),
        }
    }

    /// Every interface.
    pub(super) async fn links(&self) -> Result<Vec<Link>, NetError> {
        let request = self.handle.link().get().execute();
        let links: Vec<_> = answer("list the interfaces", request.try_collect()).await?;
        Ok(links.iter().filter_map(Link::from_message).collect())
    }

    /// Every neighbour of every interface, IPv4 and IPv6.
    pub(super) async fn neighbours(&self) -> Result<Vec<(NeighbourKey, Entry)>, NetError> {
        let request = self.handle.neighbours().get().execute();
        let entries: Vec<_> = answer("read the neighbour table", request.try_collect()).await?;
        Ok(entries.iter().filter_map(neighbour::read).collect())
    }

    /// Looks up the routes towards `addresses`: none where the kernel could
    /// not say this time.
    pub(super) async fn routes(&self, addresses: Vec<IpAddr>) -> Vec<(IpAddr, Option<Lookup>)> {
        stream::iter(addresses)
            .map(|address| async move { (address, self.route(address).await) })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await
    }

    /// Has the kernel confirm a neighbour, as the first packet to it would
    /// (`ip neigh replace ADDRESS dev INTERFACE use`). Never to be done to an
    /// [`Entry::Fixed`]: the kernel would make it an ordinary entry
    /// (`__neigh_update` with `NEIGH_UPDATE_F_USE`, net/core/neighbour.c,
    /// Linux 6.18).
    pub(super) async fn probe(&self, key: NeighbourKey) -> Result<(), NetError> {
        let request = self
            .handle
            .neighbours()
            .add(key.ifindex, key.address)
            .replace()
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .execute();
        answer("probe a neighbour", request).await
    }

    async fn route(&self, address: IpAddr) -> Option<Lookup> {
        let request = self.handle.route().get(route::request(address)).execute();
        match answer("look a route up", request.try_collect::<Vec<_>>()).await {
            Ok(routes) => routes.first().map(route::read),
            Err(NetError::Request { source, .. }) => match errno(&source) {
                // What route types and a missing IPv6 answer with.
                libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EACCES
                | libc::EINVAL
                | libc::EAGAIN
                | libc::ENODEV
                | libc::EAFNOSUPPORT
                | libc::EOPNOTSUPP => Some(Err(Reason::NoRoute)),
                _ => None,
            },
            Err(_) => None,
        }
    }
}

/// The socket for events. Its task ends with it.
pub(super) struct Events {
    messages: Messages,
    _connection: JoinSet<()>,
}

type Messages = BoxStream<'static, (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

impl Events {
    /// Subscribes in the calling thread's network namespace.
    pub(super) fn open() -> Result<Self, NetError> {
        let (mut connection, _, messages) =
            rtnetlink::new_multicast_connection(&GROUPS).map_err(NetError::Socket)?;
        connection
            .socket_mut()
            .socket_mut()
            .set_rx_buf_sz(EVENT_BUFFER_BYTES)
            .map_err(NetError::Socket)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        Ok(Self {
            messages: messages.boxed(),
            _connection: tasks,
        })
    }

    /// The next event that can matter; none when the socket has failed.
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            let (message, _) = self.messages.next().await?;
            if let Some(event) = event::read(&message) {
                return Some(event);
            }
        }
    }
}

/// Waits for the kernel's answer, but not for ever.
pub(super) async fn answer<T>(
    doing: &'static str,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, NetError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|source| NetError::Request { doing, source }),
        Err(_) => Err(NetError::NoAnswer { doing }),
    }
}

/// The error number in the kernel's answer; 0 if it is no answer of it.
pub(super) fn errno(error: &Error) -> i32 {
    match error {
        Error::NetlinkError(message) => message.raw_code().abs(),
        _ => 0,
    }
}
