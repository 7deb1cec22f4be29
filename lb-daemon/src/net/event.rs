//! What the kernel tells without being asked, reduced to what can move a
//! next hop.

use rtnetlink::{
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{AddressFamily, RouteNetlinkMessage},
};

use super::{
    link::Link,
    neighbour::{self, Entry, NeighbourKey},
    route::{self, Block},
};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// An interface is there, or has changed.
    Link(Link),
    /// The interface of this index is gone.
    LinkGone(u32),
    /// A neighbour is there, or has changed.
    Neighbour(NeighbourKey, Entry),
    /// A neighbour's entry has been removed.
    NeighbourGone(NeighbourKey),
    /// Routes towards these addresses may have changed.
    Routing(Block),
    /// The socket's buffer was full and events are lost.
    Overrun,
}

/// Reads a message from the events' socket. None if it cannot matter.
pub(super) fn read(message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<Event> {
    let message = match &message.payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(Event::Overrun),
        _ => return None,
    };
    match message {
        RouteNetlinkMessage::NewLink(link) => Link::from_message(link).map(Event::Link),
        RouteNetlinkMessage::DelLink(link) => {
            Link::from_message(link).map(|link| Event::LinkGone(link.index))
        }
        RouteNetlinkMessage::NewNeighbour(entry) => {
            neighbour::read(entry).map(|(key, entry)| Event::Neighbour(key, entry))
        }
        RouteNetlinkMessage::DelNeighbour(entry) => neighbour::key(entry).map(Event::NeighbourGone),
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            route::block(route).map(Event::Routing)
        }
        // An address may be any route's preferred source, and deleting one
        // removes routes without a word (fib_sync_down_addr, Linux 6.18).
        RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
            all_of(address.header.family)
        }
        RouteNetlinkMessage::NewRule(rule) | RouteNetlinkMessage::DelRule(rule) => {
            all_of(rule.header.family)
        }
        _ => None,
    }
}

fn all_of(family: AddressFamily) -> Option<Event> {
    match family {
        AddressFamily::Inet => Some(Event::Routing(route::all_of_v4())),
        AddressFamily::Inet6 => Some(Event::Routing(route::all_of_v6())),
        _ => None,
    }
}
