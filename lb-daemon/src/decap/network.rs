//! The networks that `--from` names.

use std::net::IpAddr;

use aya::maps::lpm_trie::Key;

/// An address with a prefix length, both within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `10.0.0.0/24`, or an address alone.
    pub fn parse(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is not a network such as 10.0.0.0/24 or 2001:db8::/32");
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix
            .map_or(Ok(longest), str::parse)
            .map_err(|_| error())?;
        if prefix > longest {
            return Err(error());
        }
        Ok(Self { address, prefix })
    }

    /// The key of the allow list, in which IPv4 networks are mapped ones.
    pub(super) fn key(self) -> Key<[u8; 16]> {
        match self.address {
            IpAddr::V4(v4) => Key::new(96 + u32::from(self.prefix), v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => Key::new(u32::from(self.prefix), v6.octets()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for text in [
            "10.0.0.0/24",
            "10.0.0.1",
            "::/0",
            "2001:db8::/32",
            "0.0.0.0/0",
        ] {
            Network::parse(text).unwrap();
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "2001:db8::/129",
            "10.0.0.1/x",
        ] {
            assert!(
                Network::parse(text)
                    .unwrap_err()
                    .contains("is not a network"),
                "{text}"
            );
        }
    }
}
