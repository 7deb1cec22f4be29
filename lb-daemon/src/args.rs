//! The daemon's command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::decap;

const DEFAULT_CONFIG: &str = "/etc/lbd/lbd.toml";

/// A layer-4 load balancer in XDP.
#[derive(Debug, Parser)]
#[command(name = "lbd", version, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Validate the configuration and exit.
    #[arg(long)]
    pub check: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Detach and unpin everything that a stopped daemon left forwarding, and remove the
    /// virtual addresses that it added.
    Unload {
        /// The configuration that the daemon ran with.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// On a real server: take the outer header off tunnelled packets.
    Decap(decap::Args),
}
