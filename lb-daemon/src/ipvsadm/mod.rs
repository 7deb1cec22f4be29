//! ipvsadm 1.31's command line: what its arguments mean, or what it says
//! about those that mean nothing. `lbctl ipvsadm` acts on it, and the importer
//! reads scripts and saved tables with it.

pub mod command;
mod legal;
pub mod lines;
mod options;
mod settings;
mod values;

pub use self::{
    command::{Command, Usage, parse},
    lines::words,
};
