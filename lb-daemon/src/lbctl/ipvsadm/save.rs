//! `-S`: the services and reals as the lines that `-R` reads. What ipvsadm
//! leaves out (thresholds) is left out, and what it has no word for.

use std::fmt::Write;

use anyhow::Result;

use super::super::{list, names::Names};
use crate::{
    api::wire,
    config::model::{FirewallMark, IpFamily, Protocol, ServiceId, VirtualAddress},
};

pub(super) fn lines(services: &[wire::Service], names: &mut Names) -> Result<String> {
    let mut text = String::new();
    for service in services {
        let id: ServiceId = service.service.parse().map_err(anyhow::Error::msg)?;
        let of = option_of(id, names);
        writeln!(
            text,
            "-A {of} -s {}{}",
            service.scheduler,
            settings(service, id.family())
        )?;
        for real in &service.reals {
            let name = list::real_name(id, real, names)?;
            writeln!(
                text,
                "-a {of} -r {name} {} -w {}{}",
                method(&real.forward),
                real.weight,
                tunnel(real)
            )?;
        }
    }
    Ok(text)
}

fn option_of(id: ServiceId, names: &mut Names) -> String {
    match id {
        ServiceId::Address(VirtualAddress {
            protocol,
            address,
            port,
        }) => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            format!("{option} {}", names.of((address, port).into(), protocol))
        }
        ServiceId::Mark(FirewallMark { mark, family }) => match family {
            IpFamily::V4 => format!("-f {mark}"),
            IpFamily::V6 => format!("-f {mark} -6"),
        },
    }
}

fn settings(service: &wire::Service, family: IpFamily) -> String {
    let mut text = String::new();
    if let Some(persistence) = service.persistence {
        text.push_str(&format!(" -p {}", persistence.timeout_s));
        if let Some(mask) = list::mask(persistence, family) {
            text.push_str(&format!(" -M {mask}"));
        }
    }
    if service.one_packet {
        text.push_str(" -o");
    }
    if !service.scheduler_flags.is_empty() {
        text.push_str(&format!(" -b {}", service.scheduler_flags.join(",")));
    }
    text
}

/// A real of the director's own is not told from one by direct routing.
fn method(forward: &str) -> &'static str {
    match forward {
        "nat" => "-m",
        "tun" => "-i",
        _ => "-g",
    }
}

fn tunnel(real: &wire::Real) -> String {
    let Some(tunnel) = &real.tunnel else {
        return String::new();
    };
    let checksum = if tunnel.checksum {
        "--tun-csum"
    } else {
        "--tun-nocsum"
    };
    match tunnel.kind.as_str() {
        "gue" => format!(" --tun-type gue --tun-port {} {checksum}", tunnel.port),
        "gre" => format!(" --tun-type gre {checksum}"),
        kind => format!(" --tun-type {kind}"),
    }
}
