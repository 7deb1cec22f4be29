//! What network to make: the questions a test answers.

/// A forwarding method, which decides what the reals have to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The VIP is on the reals' loopback device, and they keep quiet about it.
    Dr,
    /// The reals' default route is the director.
    Nat,
    /// As dr, and the reals take packets out of their tunnel.
    Tun,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Dr, Self::Nat, Self::Tun];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dr => "dr",
            Self::Nat => "nat",
            Self::Tun => "tun",
        }
    }
}

/// Where the director stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// Between the clients' network and the reals', with an interface in each.
    TwoArmed,
    /// On the one wire that all are on: packets leave where they came in. By nat
    /// only with `masquerade`, since answers would pass the director by.
    OneArmed,
    /// As two-armed, but the reals are behind a router, in a network whose MTU
    /// is only [`FAR_MTU`]. For tun.
    Routed,
}

/// The MTU of the network behind the router.
pub const FAR_MTU: usize = 1400;

/// What network to make.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The forwarding method of the reals.
    pub method: Method,
    /// Where the director stands.
    pub wiring: Wiring,
    /// How many clients.
    pub clients: u8,
    /// How many reals.
    pub reals: u8,
    /// Whether lbd will run in native mode.
    pub native: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            method: Method::Dr,
            wiring: Wiring::TwoArmed,
            clients: 1,
            reals: 3,
            native: false,
        }
    }
}
