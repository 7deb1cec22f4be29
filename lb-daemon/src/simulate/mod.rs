//! Schedulers without a network: connections that are numbers.

pub mod host;

pub use self::host::Host;
