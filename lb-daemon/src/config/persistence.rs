//! Persistence: clients stay with their real (ipvsadm -p), by their address
//! under a netmask.

use std::net::Ipv4Addr;

use super::identity::IpFamily;

/// Longest time, as everywhere in ipvsadm: 31 days.
pub const MAX_TIMEOUT_S: u32 = 31 * 86_400;

/// How long clients stay with their real, and which count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// From the end of the last connection on; 1 to [`MAX_TIMEOUT_S`].
    pub timeout_s: u32,
    /// Length of the prefix that IPv4 clients share, 1 to 32.
    pub netmask: u8,
    /// The same of IPv6, 1 to 128.
    pub netmask_v6: u8,
}

impl Default for Persistence {
    fn default() -> Self {
        Self {
            timeout_s: 360,
            netmask: 32,
            netmask_v6: 128,
        }
    }
}

impl Persistence {
    /// Length of the prefix that clients of `family` share.
    #[must_use]
    pub const fn prefix(self, family: IpFamily) -> u8 {
        match family {
            IpFamily::V4 => self.netmask,
            IpFamily::V6 => self.netmask_v6,
        }
    }
}

/// A netmask as ipvsadm -M takes it, dotted or a prefix's length. A dotted one
/// is of IPv4; a length may be of either family.
pub fn netmask(text: &str) -> Result<(u8, Option<IpFamily>), String> {
    let error =
        || format!("{text:?} is not a netmask: expected 255.255.255.0, or a length from 1 to 128");
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        let bits = mask.to_bits();
        let length = bits.leading_ones();
        if length == 0 || bits.count_ones() != length {
            return Err(error());
        }
        return Ok((length as u8, Some(IpFamily::V4)));
    }
    let length: u8 = text.parse().map_err(|_| error())?;
    match length {
        1..=32 => Ok((length, None)),
        33..=128 => Ok((length, Some(IpFamily::V6))),
        _ => Err(error()),
    }
}

/// A prefix's length as a dotted mask, as ipvsadm prints it.
#[must_use]
pub fn dotted(length: u8) -> Ipv4Addr {
    let hosts = u32::MAX.checked_shr(length.into()).unwrap_or(0);
    Ipv4Addr::from_bits(!hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks_are_dotted_or_lengths() {
        assert_eq!(netmask("255.255.255.0"), Ok((24, Some(IpFamily::V4))));
        assert_eq!(netmask("255.255.255.255"), Ok((32, Some(IpFamily::V4))));
        assert_eq!(netmask("24"), Ok((24, None)));
        assert_eq!(netmask("64"), Ok((64, Some(IpFamily::V6))));
        for text in ["", "0", "129", "255.0.255.0", "0.0.0.0", "/24", "ffff::"] {
            assert!(
                netmask(text).unwrap_err().contains("is not a netmask"),
                "{text}"
            );
        }
        assert_eq!(dotted(24).to_string(), "255.255.255.0");
        assert_eq!(dotted(32).to_string(), "255.255.255.255");
    }
}
