//! `-L`: ipvsadm's tables of what the API tells.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};

use super::{
    super::{
        client::{Client, service_path},
        connections, list,
        list::Table,
        names::Names,
        timeouts,
    },
    order, save,
};
use crate::{
    api::{MAX_LIMIT, wire},
    config::model::{FirewallMark, IpFamily, Protocol, ServiceId},
    ipvsadm::command::{List, Subject},
};

/// What `-L` prints.
pub(super) async fn listing(client: &Client, list: List) -> Result<String> {
    let mut names = names(list.numeric);
    match list.subject {
        Subject::All => {
            let services = services(client, !list.nosort).await?;
            let status: wire::Status = client.get("/v1/status").await?.parse()?;
            let size = list::capacity(&status);
            let version = format!("IP Virtual Server version 1.2.1 (size={size})\n");
            Ok(version + &table(list).rows(&services, list.exact, &mut names)?)
        }
        Subject::Service(id) => {
            let service = client.get(&service_path(&id.to_string())).await?.parse()?;
            let services = sorted(vec![service], !list.nosort)?;
            table(list).rows(&services, list.exact, &mut names)
        }
        Subject::Connections => connection_table(client, list, &mut names).await,
        Subject::Timeouts => {
            let shown = client.get(timeouts::PATH).await?.parse()?;
            Ok(timeouts::page(&shown))
        }
        Subject::Daemons => {
            // None synchronises connections; without lbd that is not known.
            client.get(timeouts::PATH).await?;
            Ok(String::new())
        }
    }
}

/// What `-S` prints.
pub(super) async fn saved(client: &Client, numeric: bool) -> Result<String> {
    save::lines(&services(client, true).await?, &mut names(numeric))
}

fn names(numeric: bool) -> Names {
    if numeric {
        Names::Numeric
    } else {
        Names::Resolved(std::collections::HashMap::new())
    }
}

async fn services(client: &Client, sort: bool) -> Result<Vec<wire::Service>> {
    sorted(client.get("/v1/services").await?.parse()?, sort)
}

fn sorted(services: Vec<wire::Service>, sort: bool) -> Result<Vec<wire::Service>> {
    if sort {
        order::sort(services)
    } else {
        Ok(services)
    }
}

/// The first that is asked for, in this order.
const fn table(list: List) -> Table {
    if list.stats {
        Table::Stats
    } else if list.rate {
        Table::Rates
    } else if list.thresholds {
        Table::Thresholds
    } else if list.persistent_conn {
        Table::PersistentConnections
    } else if list.tun_info {
        Table::Tunnels
    } else {
        Table::Plain
    }
}

async fn connection_table(client: &Client, list: List, names: &mut Names) -> Result<String> {
    let mut rows: Vec<wire::Connection> = Vec::new();
    let mut next = Some(format!("{}?limit={MAX_LIMIT}", connections::PATH));
    while let Some(path) = next {
        let page = client.get(&path).await?;
        rows.append(&mut page.parse()?);
        next = page.next()?;
    }
    order::sort_connections(&mut rows);
    let mut text = if list.persistent_conn {
        // No row has them: there are no persistence engines.
        let [source, destination] = ["source", "destination"];
        format!(
            "IPVS connection entries\npro expire state       {source:<18} {:<18} \
             {destination:<18} {:<16} pe_data\n",
            "virtual", "pe name"
        )
    } else {
        connections::TITLE.to_owned()
    };
    for row in &rows {
        // A mark's persistent clients are of none, and of port 0, which has no name.
        let protocol = Protocol::from_name(&row.protocol).unwrap_or(Protocol::Tcp);
        let mut name = |socket: SocketAddr| names.of(socket, protocol);
        let ends = [
            name(socket(&row.client)?),
            name(virtual_end(&row.virtual_end)?),
            name(socket(&row.real)?),
        ];
        text.push_str(&connections::line_between(
            row,
            [&ends[0], &ends[1], &ends[2]],
        ));
    }
    Ok(text)
}

/// The kernel has a mark where the address would begin.
fn virtual_end(text: &str) -> Result<SocketAddr> {
    match text.parse() {
        Ok(ServiceId::Mark(FirewallMark { mark, family })) => Ok(match family {
            IpFamily::V4 => (Ipv4Addr::from_bits(mark), 0).into(),
            IpFamily::V6 => (Ipv6Addr::from_bits(u128::from(mark) << 96), 0).into(),
        }),
        _ => socket(text),
    }
}

fn socket(text: &str) -> Result<SocketAddr> {
    text.parse()
        .with_context(|| format!("lbd's connection of {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip_vs_in_persist` in net/netfilter/ipvs/ip_vs_core.c (v6.1) makes the
    /// entry of a mark's client so.
    #[test]
    fn a_mark_stands_where_an_address_would_begin() {
        for (text, shown) in [
            ("192.0.2.10:80", "192.0.2.10:80"),
            ("fwmark:80", "0.0.0.80:0"),
            ("fwmark6:80", "[0:50::]:0"),
        ] {
            assert_eq!(virtual_end(text).unwrap().to_string(), shown);
        }
        assert!(virtual_end("www:80").is_err());
    }

    #[test]
    fn the_first_table_that_is_asked_for_is_shown() {
        let all = List {
            stats: true,
            rate: true,
            thresholds: true,
            persistent_conn: true,
            tun_info: true,
            ..List::default()
        };
        assert_eq!(table(all), Table::Stats);
        assert_eq!(
            table(List {
                stats: false,
                ..all
            }),
            Table::Rates
        );
        assert_eq!(table(List::default()), Table::Plain);
    }
}
