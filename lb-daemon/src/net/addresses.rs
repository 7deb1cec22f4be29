//! The addresses of one interface: read, added, removed, as `ip address` does.

use std::{collections::BTreeSet, net::IpAddr};

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};

use super::{
    NetError,
    kernel::{Kernel, answer, errno},
};

/// An interface, by its index.
#[derive(Debug)]
pub struct Interface {
    kernel: Kernel,
    index: u32,
}

impl Interface {
    /// Finds it in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NetError::NoInterface`] if there is none of that name.
    pub async fn find(name: &str) -> Result<Self, NetError> {
        let kernel = Kernel::open()?;
        let index = kernel.link(name).await?.index;
        Ok(Self { kernel, index })
    }

    /// All of its addresses, whatever their prefix lengths.
    ///
    /// # Errors
    /// [`NetError`] if the kernel does not say.
    pub async fn addresses(&self) -> Result<BTreeSet<IpAddr>, NetError> {
        let request = self.kernel.handle().address().get();
        let request = request.set_link_index_filter(self.index).execute();
        let messages: Vec<_> = answer("list addresses", request.try_collect()).await?;
        Ok(messages.iter().filter_map(own_address).collect())
    }

    /// Adds an address of a single host, for good. One that is there already is as
    /// good as added.
    ///
    /// # Errors
    /// [`NetError`] if the kernel refuses.
    pub async fn add(&self, address: IpAddr) -> Result<(), NetError> {
        let addresses = self.kernel.handle().address();
        let mut request = addresses.add(self.index, address, whole(address));
        if address.is_ipv6() {
            let attributes = &mut request.message_mut().attributes;
            // Another director may have had it until this moment: no waiting, and
            // no giving up (RFC 4862 section 5.4).
            attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            // Deprecated: never this host's own choice of a source (RFC 6724 rule 3).
            let mut lifetimes = CacheInfo::default();
            (lifetimes.ifa_preferred, lifetimes.ifa_valid) = (0, u32::MAX);
            attributes.push(AddressAttribute::CacheInfo(lifetimes));
        }
        ignoring(
            libc::EEXIST,
            answer("add an address", request.execute()).await,
        )
    }

    /// Removes an address that [`Self::add`] has added. One that is not there is as
    /// good as removed.
    ///
    /// # Errors
    /// [`NetError`] if the kernel refuses.
    pub async fn remove(&self, address: IpAddr) -> Result<(), NetError> {
        let addresses = self.kernel.handle().address();
        let mut like = addresses.add(self.index, address, whole(address));
        let request = addresses.del(like.message_mut().clone()).execute();
        ignoring(
            libc::EADDRNOTAVAIL,
            answer("remove an address", request).await,
        )
    }
}

/// The prefix length of a single host.
const fn whole(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Of a link between two the near end: `IFA_ADDRESS` is then the far one
/// (include/uapi/linux/if_addr.h).
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => return Some(*local),
            AddressAttribute::Address(other) => address = Some(*other),
            _ => {}
        }
    }
    address
}

fn ignoring(number: i32, outcome: Result<(), NetError>) -> Result<(), NetError> {
    match outcome {
        Err(NetError::Request { source, .. }) if errno(&source) == number => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_near_end_of_a_link_is_the_address() {
        let (near, far) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut message = AddressMessage::default();
        assert_eq!(own_address(&message), None);
        message.attributes.push(AddressAttribute::Address(far));
        assert_eq!(own_address(&message), Some(far));
        message.attributes.push(AddressAttribute::Local(near));
        assert_eq!(own_address(&message), Some(near));
    }
}
