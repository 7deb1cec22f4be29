//! Which addresses are this host's own, so that it answers ARP for them or
//! takes what is sent to them.

use std::net::IpAddr;

use super::{NetError, hop::Reason, kernel::Kernel};

/// Those of `addresses` that the routing tables do not call local. Where the
/// kernel cannot say, an address is taken for its own.
///
/// # Errors
/// [`NetError::Socket`] if there is no netlink socket to be had.
pub async fn foreign(addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, NetError> {
    if addresses.is_empty() {
        return Ok(addresses);
    }
    let routes = Kernel::open()?.routes(addresses).await.into_iter();
    let mut foreign: Vec<IpAddr> = routes
        .filter(|(_, lookup)| !matches!(lookup, None | Some(Err(Reason::Local))))
        .map(|(address, _)| address)
        .collect();
    foreign.sort_unstable();
    Ok(foreign)
}
