//! lbd beside what else forwards and balances on Linux, in one network of namespaces and
//! one run, so that ratios hold: plain forwarding, nftables, HAProxy.
//!
//! ```text
//! packets ─┬─ generator, lane   frames, and the wires that they go by
//!          └─ processor         what they cost
//! web ─────┬─ wrk, routes       requests, and the way that they and their answers take
//!          ├─ accounts          what they cost
//!          └─ web_table
//! nftables, haproxy, balancer   who balances; balancer is lbd
//! figures                       medians, quartiles, ratios, JSON
//! ```
//!
//! No speed is asserted; that packets and answers arrive is.

mod accounts;
mod balancer;
mod figures;
mod generator;
mod haproxy;
mod lane;
mod nftables;
mod packets;
mod processor;
mod routes;
mod web;
mod web_table;
mod wrk;

use std::path::Path;

use anyhow::Result;
use lb_tests::daemon::Binaries;
use lb_tests::topology::{Method, Spec, Topology};

use figures::Figures;

/// Prints the tables, and writes the JSON if there is a path.
pub(crate) fn run(json: Option<&Path>) -> Result<()> {
    let binaries = Binaries::locate()?;
    let network = Topology::create(&Spec {
        method: Method::Nat,
        clients: 1,
        reals: 2,
        ..Spec::default()
    })?;
    let mut figures = Figures::default();
    packets::measure(&network, &binaries, &mut figures)?;
    packets::print(&figures);
    web::measure(&network, &binaries, &mut figures)?;
    web_table::print(&figures);
    if let Some(path) = json {
        figures.write_json(path)?;
    }
    Ok(())
}
