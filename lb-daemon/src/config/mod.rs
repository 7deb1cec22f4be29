//! Configuration: the TOML file as it is written ([`file`]) and what it means
//! ([`model`]), in which a bad state cannot be expressed, with the [`rules`]
//! for what types alone cannot refuse; and the way back, from the meaning to
//! the file ([`write`]).

pub mod alerts;
pub mod commands;
pub mod defence;
pub mod file;
pub mod health;
pub mod identity;
pub mod mark;
pub mod model;
pub mod persistence;
mod prefix;
pub mod probe;
pub mod rules;
pub mod scheduling;
pub mod timeouts;
pub mod via;
pub mod vocabulary;
pub mod write;
