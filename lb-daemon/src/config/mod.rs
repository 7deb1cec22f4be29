//! Configuration: the TOML file as it is written ([`file`]) and what it means
//! ([`model`]), in which a bad state cannot be expressed.

pub mod file;
pub mod model;
pub mod vocabulary;
