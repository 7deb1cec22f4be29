//! HAProxy on the director: two connections for each of a client's.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;

use anyhow::{Context as _, Result};
use lb_tests::process::Process;
use lb_tests::topology::{PORT, Topology};
use lb_tests::wait;

/// Starts it for the VIP's port, with as many threads as the machine has processors,
/// and waits until it listens. It ends with the process's value.
pub(crate) fn start(network: &Topology) -> Result<Process> {
    let (director, vip) = (&network.director, network.vip());
    let mut text = format!(
        "global\n    nbthread 2\n    maxconn 4000\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 30s\n    \
         timeout server 30s\n\
         listen web\n    bind {vip}:{PORT}\n    balance roundrobin\n"
    );
    for real in &network.reals {
        writeln!(text, "    server {} {}:{PORT}", real.name(), real.address())?;
    }
    let path = network.directory().join("haproxy.cfg");
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    let mut command = director.command("haproxy");
    command.arg("-db").arg("-f").arg(&path);
    let log = network.directory().join("haproxy.log");
    let mut process = Process::spawn("haproxy", &mut command, &log)?;
    wait::try_until("haproxy to listen", wait::START_LIMIT, || {
        process.check_running()?;
        director.enter(|| TcpStream::connect((vip, PORT)).is_ok())
    })?;
    Ok(process)
}
