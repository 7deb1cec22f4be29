//! Configuration: the TOML file as it is written ([`file`]) and what it means
//! ([`model`]), in which a bad state cannot be expressed, with the [`rules`]
//! for what types alone cannot refuse.

pub mod defence;
pub mod file;
pub mod identity;
pub mod mark;
pub mod model;
pub mod persistence;
mod prefix;
pub mod rules;
pub mod scheduling;
pub mod timeouts;
pub mod vocabulary;
