//! Addresses and integers in network byte order, as types, so that a host
//! integer is never compared with one from the wire.

/// A 16-bit integer in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Be16(u16);

impl Be16 {
    #[inline(always)]
    #[must_use]
    pub const fn new(host: u16) -> Self {
        Self(host.to_be())
    }

    /// The value in host order.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The bits as they stand in memory.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u16 {
        self.0
    }

    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u16) -> Self {
        Self(raw)
    }
}

/// A 32-bit integer, or an IPv4 address, in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Be32(u32);

impl Be32 {
    #[inline(always)]
    #[must_use]
    pub const fn new(host: u32) -> Self {
        Self(host.to_be())
    }

    /// The value in host order.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u32 {
        u32::from_be(self.0)
    }

    /// The bits as they stand in memory.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}

/// An IPv6 address, or an IPv4 address mapped into one (`::ffff:a.b.c.d`, RFC
/// 4291 section 2.5.5.2), as four words in network byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr(pub [Be32; 4]);

const V4_MAPPED_PREFIX: Be32 = Be32::new(0xffff);

impl Addr {
    pub const UNSPECIFIED: Self = Self([Be32::new(0); 4]);

    #[inline(always)]
    #[must_use]
    pub const fn from_v4(address: Be32) -> Self {
        Self([Be32::new(0), Be32::new(0), V4_MAPPED_PREFIX, address])
    }

    /// The IPv4 address; meaningless unless [`Addr::is_v4`].
    #[inline(always)]
    #[must_use]
    pub const fn v4(self) -> Be32 {
        self.0[3]
    }

    #[inline(always)]
    #[must_use]
    pub fn is_v4(self) -> bool {
        self.0[0] == Be32::new(0) && self.0[1] == Be32::new(0) && self.0[2] == V4_MAPPED_PREFIX
    }
}

impl Addr {
    /// Whether a packet may come from it: not unspecified, loopback, multicast
    /// or (IPv4) "this network", reserved or broadcast (RFC 1812 section
    /// 5.3.7, RFC 4291 section 2).
    #[inline(always)]
    #[must_use]
    pub fn is_unicast(self) -> bool {
        let [a, b, c, d] = self.0;
        if self.is_v4() {
            let first = d.get() >> 24;
            return first != 0 && first != 127 && first < 224;
        }
        let is_low = a.get() == 0 && b.get() == 0 && c.get() == 0 && d.get() <= 1;
        !is_low && a.get() >> 24 != 0xff
    }
}

impl From<core::net::IpAddr> for Addr {
    fn from(address: core::net::IpAddr) -> Self {
        let v6 = match address {
            core::net::IpAddr::V4(v4) => return Self::from_v4(Be32::new(v4.to_bits())),
            core::net::IpAddr::V6(v6) => v6.to_bits(),
        };
        Self([96, 64, 32, 0].map(|shift| Be32::new((v6 >> shift) as u32)))
    }
}

impl From<Addr> for core::net::IpAddr {
    fn from(address: Addr) -> Self {
        if address.is_v4() {
            return Self::V4(core::net::Ipv4Addr::from_bits(address.v4().get()));
        }
        let bits = address
            .0
            .iter()
            .fold(0u128, |bits, word| bits << 32 | u128::from(word.get()));
        Self::V6(core::net::Ipv6Addr::from_bits(bits))
    }
}

const _: () = assert!(size_of::<Addr>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in [
            "192.0.2.1",
            "0.0.0.0",
            "2001:db8::1",
            "::",
            "ff02::1:ff00:1",
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Addr::from(address)), address);
        }
    }

    #[test]
    fn bytes_are_in_network_order() {
        let addr = Addr::from("192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(addr.v4().raw().to_ne_bytes(), [192, 0, 2, 1]);
        assert_eq!(Be16::new(80).raw().to_ne_bytes(), [0, 80]);
    }
}
