//! Wires between namespaces: veth pairs into bridges, with the offloads off
//! that would make a veth differ from a wire.

use std::fs;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// Connects `host`'s new device `device` with the new port `port` of `bridge` in `switch`.
///
/// A veth sender leaves checksums and segmentation to the receiver, which on a
/// wire would never see such packets: forwarded in native mode they have bad
/// checksums, and generic mode sees segments of 64 KB. So both are done in the
/// sender (`tx off`), and nothing is put together again on the way (`gro off`).
pub fn connect(
    host: &Namespace,
    device: &str,
    switch: &Namespace,
    bridge: &str,
    port: &str,
) -> Result<()> {
    host.ip(&format!(
        "link add {device} type veth peer name {port} netns {}\n",
        switch.name()
    ))?;
    switch.ip(&format!("link set {port} master {bridge} up\n"))?;
    host.ip(&format!("link set {device} up\n"))?;
    wire_like(host, device)?;
    wire_like(switch, port)
}

/// Connects two hosts' new devices with each other.
pub fn wire(host: &Namespace, device: &str, other: &Namespace, far_device: &str) -> Result<()> {
    host.ip(&format!(
        "link add {device} type veth peer name {far_device} netns {}\n",
        other.name()
    ))?;
    for (namespace, device) in [(host, device), (other, far_device)] {
        namespace.ip(&format!("link set {device} up\n"))?;
        wire_like(namespace, device)?;
    }
    Ok(())
}

/// A device's MAC address.
pub fn station(namespace: &Namespace, device: &str) -> Result<[u8; 6]> {
    let line = namespace.run("ip", &["-brief", "link", "show", device])?;
    let address = line.split_whitespace().nth(2);
    let address = address.with_context(|| format!("no MAC address: {line}"))?;
    let mut station = [0; 6];
    for (octet, digits) in station.iter_mut().zip(address.split(':')) {
        *octet = u8::from_str_radix(digits, 16).with_context(|| line.clone())?;
    }
    Ok(station)
}

/// How many frames a device has received. Where a veth has an XDP program, its account
/// is of all frames that the program has been run for, whatever became of them
/// (`veth_get_stats64` in drivers/net/veth.c).
pub fn received(namespace: &Namespace, device: &str) -> Result<u64> {
    let devices = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
    let prefix = format!("{device}:");
    let line = devices
        .lines()
        .find_map(|line| line.trim().strip_prefix(&prefix));
    let packets = line.and_then(|line| line.split_whitespace().nth(1));
    let packets = packets.with_context(|| format!("no account of {device}"))?;
    Ok(packets.parse()?)
}

/// Makes a bridge that forwards from the first moment on.
pub fn bridge(switch: &Namespace, name: &str) -> Result<()> {
    switch.ip(&format!(
        "link add {name} type bridge forward_delay 0 stp_state 0 mcast_snooping 0\n\
         link set {name} up\n"
    ))?;
    // Where br_netfilter is loaded, the host's firewall must not see these frames.
    switch.sysctls(&[
        ("net/bridge/bridge-nf-call-iptables", "0"),
        ("net/bridge/bridge-nf-call-ip6tables", "0"),
        ("net/bridge/bridge-nf-call-arptables", "0"),
    ])
}

fn wire_like(namespace: &Namespace, device: &str) -> Result<()> {
    namespace
        .run("ethtool", &["-K", device, "tx", "off", "gro", "off"])
        .map(drop)
}
