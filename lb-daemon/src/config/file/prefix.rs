//! Address prefixes as the file writes them: an address, a slash, a length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::addr::Addr;

/// Parses `"100.64.0.0/16"` and `"2001:db8:f::/64"`: a network of unicast
/// addresses, with nothing behind its length.
pub(super) fn parse(text: &str) -> Result<(IpAddr, u8), String> {
    let error = || format!("{text:?} is not a prefix: expected 100.64.0.0/16 or 2001:db8:f::/64");
    let (address, length) = text.split_once('/').ok_or_else(error)?;
    let address: IpAddr = address.parse().map_err(|_| error())?;
    let length: u8 = length.parse().map_err(|_| error())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    if length == 0 || length > bits {
        return Err(error());
    }
    let (network, last) = match address {
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
    };
    if network != address {
        return Err(format!(
            "{text:?} has bits behind its length; write {network}/{length}"
        ));
    }
    let is_unicast = |address: IpAddr| Addr::from(address).is_unicast();
    let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if is_mapped || !is_unicast(network) || !is_unicast(last) {
        return Err(format!("{text:?} is not a prefix of unicast addresses"));
    }
    Ok((network, length))
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
            assert_eq!(parse(text), Ok((address.parse().unwrap(), length)));
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
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
