//! In which order ipvsadm lists things. It sorts by differences of unsigned
//! numbers that it takes for signed ones (`ipvs_cmp_services`): addresses more
//! than half of the space apart come the wrong way round, 192.0.2.1 before
//! 10.0.0.1. Such an order is not total, so that it matters how one sorts: by
//! merging, as glibc's qsort does.

use std::{
    cmp::Ordering,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result};

use crate::{
    api::wire,
    config::model::{Protocol, ServiceId},
};

/// Sorts services, and the reals of each.
pub(super) fn sort(services: Vec<wire::Service>) -> Result<Vec<wire::Service>> {
    let mut keyed = Vec::new();
    for mut service in services {
        let id: ServiceId = service.service.parse().map_err(anyhow::Error::msg)?;
        service.reals = sort_reals(service.reals)?;
        keyed.push((service_key(id), service));
    }
    Ok(merged(keyed))
}

fn sort_reals(reals: Vec<wire::Real>) -> Result<Vec<wire::Real>> {
    let mut keyed = Vec::new();
    for real in reals {
        let socket: SocketAddr = real
            .real
            .parse()
            .with_context(|| format!("real {}", real.real))?;
        let mut key = vec![u32::from(socket.is_ipv6())];
        key.extend(words(socket.ip()));
        key.push(socket.port().into());
        keyed.push((key, real));
    }
    Ok(merged(keyed))
}

/// Marks behind addresses, IPv6 behind IPv4, protocols by number.
fn service_key(id: ServiceId) -> Vec<u32> {
    let family = id.family() as u32;
    match id {
        ServiceId::Mark(mark) => vec![mark.mark, family],
        ServiceId::Address(of) => {
            let mut key = vec![0, family, Protocol::number(of.protocol).into()];
            key.extend(words(of.address));
            key.push(of.port.into());
            key
        }
    }
}

/// 32 bits at a time.
fn words(address: IpAddr) -> Vec<u32> {
    match address {
        IpAddr::V4(address) => vec![address.to_bits()],
        IpAddr::V6(address) => {
            let word = |place: u32| (address.to_bits() >> place) as u32;
            [96, 64, 32, 0].map(word).to_vec()
        }
    }
}

/// By the first difference, taken for a signed number.
fn compare(one: &[u32], other: &[u32]) -> Ordering {
    let differences = one
        .iter()
        .zip(other)
        .map(|(a, b)| a.wrapping_sub(*b) as i32);
    let first = differences.into_iter().find(|difference| *difference != 0);
    first.unwrap_or(0).cmp(&0)
}

fn merged<T>(mut items: Vec<(Vec<u32>, T)>) -> Vec<T> {
    merge_sort(&mut items);
    items.into_iter().map(|(_, item)| item).collect()
}

fn merge_sort<T>(items: &mut Vec<(Vec<u32>, T)>) {
    if items.len() < 2 {
        return;
    }
    let mut second = items.split_off(items.len() / 2);
    merge_sort(items);
    merge_sort(&mut second);
    let (mut first, mut second) = (
        std::mem::take(items).into_iter().peekable(),
        second.into_iter().peekable(),
    );
    loop {
        let is_first = match (first.peek(), second.peek()) {
            (Some((one, _)), Some((other, _))) => compare(one, other).is_le(),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return,
        };
        items.extend(if is_first {
            first.next()
        } else {
            second.next()
        });
    }
}

/// Connections by their clients, so that what keeps a client's network with
/// its real stands before the network's own; the kernel has them in no order.
pub(super) fn sort_connections(rows: &mut [wire::Connection]) {
    rows.sort_by_cached_key(|row| row.client.parse::<SocketAddr>().ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_order(names: &[&str]) -> Vec<String> {
        let keyed = names.iter().map(|name| {
            let id = name.parse::<ServiceId>().unwrap();
            (service_key(id), (*name).to_owned())
        });
        merged(keyed.collect())
    }

    /// The recorded session's, and what ipvsadm 1.31's own comparison says.
    #[test]
    fn services_have_ipvsadms_order() {
        let sorted = [
            "tcp:192.0.2.10:80",
            "tcp:192.0.2.10:81",
            "tcp:192.0.2.11:8",
            "udp:192.0.2.10:53",
            "sctp:192.0.2.10:3868",
            "tcp:[2001:db8::10]:443",
            "tcp:[2001:db8::11]:80",
            "fwmark:80",
            "fwmark6:80",
            "fwmark:81",
        ];
        let mut other = sorted;
        other.reverse();
        assert_eq!(in_order(&other), sorted);
        assert_eq!(in_order(&sorted), sorted);
    }

    /// 0xc0000201 - 0x0a000001 has the sign bit set.
    #[test]
    fn far_addresses_come_the_wrong_way_round() {
        let wrong = ["tcp:192.0.2.1:80", "tcp:10.0.0.1:80"];
        assert_eq!(in_order(&[wrong[1], wrong[0]]), wrong);
        assert_eq!(in_order(&wrong), wrong);
        let near = ["tcp:10.0.0.1:80", "tcp:100.64.0.1:80"];
        assert_eq!(in_order(&[near[1], near[0]]), near);
    }
}
