//! Wires between namespaces: veth pairs into bridges, with the offloads off
//! that would make a veth differ from a wire.

use anyhow::Result;

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
