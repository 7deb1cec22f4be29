//! Configuration: the TOML file as it is written ([`file`]) and what it means
//! ([`model`]), in which a bad state cannot be expressed, with the [`rules`]
//! for what types alone cannot refuse.

pub mod file;
pub mod model;
pub mod rules;
pub mod vocabulary;
