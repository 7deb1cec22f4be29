//! Address prefixes as the file and the command line write them: an address, a
//! slash, a length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::addr::Addr;

/// Parses `"100.64.0.0/16"` and `"2001:db8:f::/64"`: a network of unicast
/// addresses, with nothing behind its length.
pub(super) fn unicast(text: &str) -> Result<(IpAddr, u8), String> {
    let error = || format!("{text:?} is not a prefix: expected 100.64.0.0/16 or 2001:db8:f::/64");
    let (address, length) = text.split_once('/').ok_or_else(error)?;
    let address: IpAddr = address.parse().map_err(|_| error())?;
    let length: u8 = length.parse().map_err(|_| error())?;
    if length == 0 || length > bits(address) {
        return Err(error());
    }
    let (network, last) = ends(address, length);
    if network != address {
        return Err(bits_behind(text, network, length));
    }
    let is_unicast = |address: IpAddr| Addr::from(address).is_unicast();
    if is_mapped(address) || !is_unicast(network) || !is_unicast(last) {
        return Err(format!("{text:?} is not a prefix of unicast addresses"));
    }
    Ok((network, length))
}

/// Parses any network, as [`unicast`] does without its bounds, and an address
/// alone, which is a network of its own.
pub(super) fn address_or_prefix(text: &str) -> Result<(IpAddr, u8), String> {
    let error =
        || format!("{text:?} is not an address or prefix: expected 192.0.2.10 or 192.0.2.0/24");
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| error())?;
    let length = length.map_or(Ok(bits(address)), str::parse);
    let length = length.map_err(|_| error())?;
    if length > bits(address) || is_mapped(address) {
        return Err(error());
    }
    let (network, _) = ends(address, length);
    if network != address {
        return Err(bits_behind(text, network, length));
    }
    Ok((network, length))
}

const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn bits_behind(text: &str, network: IpAddr, length: u8) -> String {
    format!("{text:?} has bits behind its length; write {network}/{length}")
}

/// The first and the last address of a network.
fn ends(address: IpAddr, length: u8) -> (IpAddr, IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            let network = v4.to_bits() & !hosts;
            (
                IpAddr::from(Ipv4Addr::from_bits(network)),
                IpAddr::from(Ipv4Addr::from_bits(network | hosts)),
            )
        }
        IpAddr::V6(v6) => {
            let hosts = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            let network = v6.to_bits() & !hosts;
            (
                IpAddr::from(Ipv6Addr::from_bits(network)),
                IpAddr::from(Ipv6Addr::from_bits(network | hosts)),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_lengths() {
        for (text, address, length) in [
            ("100.64.0.0/16", "100.64.0.0", 16),
            ("10.0.0.1/32", "10.0.0.1", 32),
            ("2001:db8:f::/64", "2001:db8:f::", 64),
            ("2001:db8::1/128", "2001:db8::1", 128),
        ] {
            assert_eq!(unicast(text), Ok((address.parse().unwrap(), length)));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.1/8",
            "127.0.0.0/8",
            "126.0.0.0/7",
            "224.0.0.0/4",
            "ff00::/8",
            "::ffff:10.0.0.0/104",
            "2001:db8::/129",
            "host/24",
        ] {
            assert!(unicast(text).is_err(), "{text}");
        }
    }

    #[test]
    fn any_network_and_address() {
        for (text, address, length) in [
            ("192.0.2.10", "192.0.2.10", 32),
            ("0.0.0.0/0", "0.0.0.0", 0),
            ("2001:db8::1", "2001:db8::1", 128),
            ("::/0", "::", 0),
            ("224.0.0.0/4", "224.0.0.0", 4),
        ] {
            assert_eq!(
                address_or_prefix(text),
                Ok((address.parse().unwrap(), length))
            );
        }
        for text in ["", "/8", "10.0.0.1/8", "10.0.0.0/33", "::ffff:1.2.3.4", "a"] {
            assert!(address_or_prefix(text).is_err(), "{text}");
        }
    }
}
