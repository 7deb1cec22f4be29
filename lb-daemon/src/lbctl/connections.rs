//! `lbctl connections`: the table of `ipvsadm -Lnc`, printed as it is read,
//! and its end.

use std::ops::ControlFlow;

use anyhow::Result;
use clap::{Args as Flags, Subcommand};

use super::{
    args::{real, service},
    client::{Client, query},
    commands::write_some,
};
use crate::{
    api::{MAX_LIMIT, wire},
    config::mark,
    connections::state_name,
};

pub(super) const PATH: &str = "/v1/connections";

/// ipvsadm's.
pub(super) const TITLE: &str = "IPVS connection entries\n\
     pro expire state       source             virtual            destination\n";

/// `lbctl connections`; without a command it lists them all.
#[derive(Debug, Flags)]
pub struct ConnectionsArgs {
    #[command(subcommand)]
    command: Option<ConnectionsCommand>,
}

/// `lbctl connections …`.
#[derive(Debug, Subcommand)]
enum ConnectionsCommand {
    /// List connections and persistent clients
    List(ListFlags),
    /// Cut connections, and forget which reals persistent clients had
    Flush {
        /// tcp:192.0.2.10:80, or its name; none: all services
        #[arg(value_name = "SERVICE", value_parser = service)]
        service: Option<String>,
        /// 10.0.0.2:80, or an address alone for the service's port; none: all reals
        #[arg(value_name = "REAL", value_parser = real)]
        real: Option<String>,
    },
}

#[derive(Debug, Default, Flags)]
struct ListFlags {
    /// tcp:192.0.2.10:80, or its name; none: all services
    #[arg(value_name = "SERVICE", value_parser = service)]
    service: Option<String>,
    /// No more than so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Of this real: 10.0.0.2:80, or an address alone
    #[arg(long, value_name = "REAL", value_parser = real)]
    real: Option<String>,
    /// Of this client, or of this network
    #[arg(long, value_name = "CLIENT", value_parser = client)]
    client: Option<String>,
    /// In this state: ESTABLISHED, SYN_RECV, UDP …; NONE: persistent clients
    #[arg(long, value_name = "STATE", value_parser = state_name)]
    state: Option<&'static str>,
}

fn client(text: &str) -> Result<String, String> {
    mark::destination(text).map(|_| text.to_owned())
}

pub(super) async fn run(client: &Client, args: ConnectionsArgs, json: bool) -> Result<()> {
    match args.command {
        None => list(client, &ListFlags::default(), json).await,
        Some(ConnectionsCommand::List(flags)) => list(client, &flags, json).await,
        Some(ConnectionsCommand::Flush { service, real }) => {
            let query = query(&[("service", service.as_deref()), ("real", real.as_deref())]);
            client.delete(&format!("{PATH}{query}")).await?;
            Ok(())
        }
    }
}

/// Prints each page when it is there; nobody holds the table.
async fn list(client: &Client, flags: &ListFlags, json: bool) -> Result<()> {
    let mut left = flags.limit.unwrap_or(usize::MAX);
    let mut next = Some(first_page(flags, left));
    let mut printer = Printer::new(json);
    while let Some(path) = next.filter(|_| left > 0) {
        let page = client.get(&path).await?;
        let mut rows: Vec<wire::Connection> = page.parse()?;
        rows.truncate(left);
        left -= rows.len();
        if write_some(&printer.page(&rows)?)?.is_break() {
            return Ok(());
        }
        next = page.next()?;
    }
    let _: ControlFlow<()> = write_some(&printer.end())?;
    Ok(())
}

fn first_page(flags: &ListFlags, most: usize) -> String {
    let limit = most.clamp(1, MAX_LIMIT).to_string();
    let query = query(&[
        ("service", flags.service.as_deref()),
        ("real", flags.real.as_deref()),
        ("client", flags.client.as_deref()),
        ("state", flags.state),
        ("limit", Some(&limit)),
    ]);
    format!("{PATH}{query}")
}

/// Pages one after the other, as one table or one array.
struct Printer {
    json: bool,
    is_begun: bool,
    has_rows: bool,
}

impl Printer {
    const fn new(json: bool) -> Self {
        Self {
            json,
            is_begun: false,
            has_rows: false,
        }
    }

    fn page(&mut self, rows: &[wire::Connection]) -> Result<String> {
        let mut text = self.begin().to_owned();
        for row in rows {
            if !self.json {
                text.push_str(&line(row));
                continue;
            }
            if self.has_rows {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(row)?);
            self.has_rows = true;
        }
        Ok(text)
    }

    fn begin(&mut self) -> &'static str {
        match (std::mem::replace(&mut self.is_begun, true), self.json) {
            (true, _) => "",
            (false, true) => "[",
            (false, false) => TITLE,
        }
    }

    fn end(&mut self) -> String {
        let begin = self.begin();
        format!("{begin}{}", if self.json { "]\n" } else { "" })
    }
}

/// A row of ipvsadm's `print_conn`, as the API has the names of its ends.
fn line(row: &wire::Connection) -> String {
    line_between(row, [&row.client, &row.virtual_end, &row.real])
}

/// The same, with the names of client, VIP and real.
pub(super) fn line_between(row: &wire::Connection, ends: [&str; 3]) -> String {
    let [client, virtual_end, real] = ends;
    format!(
        "{:<3} {:02}:{:02}  {:<11} {client:<18} {virtual_end:<18} {real}\n",
        row.protocol.to_uppercase(),
        row.expires_s / 60,
        row.expires_s % 60,
        row.state,
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::args::{Args, Command},
        *,
    };

    fn parsed(line: &str) -> Result<Option<ConnectionsCommand>, clap::Error> {
        match Args::try_parse_from(line.split(' '))?.command {
            Command::Connections(args) => Ok(args.command),
            other => panic!("{other:?}"),
        }
    }

    fn row(client: &str, state: &str, expires_s: u64) -> wire::Connection {
        wire::Connection {
            protocol: "tcp".into(),
            client: client.into(),
            virtual_end: "192.0.2.10:80".into(),
            real: "10.0.0.9:80".into(),
            forward: "tun".into(),
            state: state.into(),
            expires_s,
            in_packets: 1,
            in_bytes: 60,
            out_packets: None,
            out_bytes: None,
        }
    }

    /// `ipvsadm -Lnc` of ipvsadm 1.31.
    #[test]
    fn the_table_is_ipvsadms() {
        let mut printer = Printer::new(false);
        let mut text = printer.page(&[row("192.0.2.0:0", "NONE", 299)]).unwrap();
        text += &printer
            .page(&[row("192.0.2.1:40000", "SYN_RECV", 59)])
            .unwrap();
        text += &printer.end();
        let expected = [
            "IPVS connection entries",
            "pro expire state       source             virtual            destination",
            "TCP 04:59  NONE        192.0.2.0:0        192.0.2.10:80      10.0.0.9:80",
            "TCP 00:59  SYN_RECV    192.0.2.1:40000    192.0.2.10:80      10.0.0.9:80",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
        assert_eq!(Printer::new(false).end(), TITLE);
    }

    #[test]
    fn pages_are_one_array() {
        let mut printer = Printer::new(true);
        let mut text = printer.page(&[row("a", "NONE", 1)]).unwrap();
        text += &printer.page(&[]).unwrap();
        text += &printer
            .page(&[row("b", "UDP", 1), row("c", "UDP", 1)])
            .unwrap();
        text += &printer.end();
        let rows: Vec<wire::Connection> = serde_json::from_str(&text).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(Printer::new(true).end(), "[]\n");
    }

    #[test]
    fn only_what_is_named_is_asked_for() {
        for (line, path) in [
            ("list", "?limit=10000"),
            ("list web --limit 2", "?service=web&limit=2"),
            (
                "list --client 198.51.100.0/24 --state established --real 10.0.0.2",
                "?real=10.0.0.2&client=198.51.100.0%2F24&state=ESTABLISHED&limit=10000",
            ),
        ] {
            let Some(ConnectionsCommand::List(flags)) =
                parsed(&format!("lbctl connections {line}")).unwrap()
            else {
                panic!("{line}");
            };
            let most = flags.limit.unwrap_or(usize::MAX);
            assert_eq!(first_page(&flags, most), format!("/v1/connections{path}"));
        }
        assert!(parsed("lbctl connections").unwrap().is_none());
        for line in ["flush", "flush web", "flush tcp:192.0.2.10:80 10.0.0.2:80"] {
            let parsed = parsed(&format!("lbctl connections {line}")).unwrap();
            assert!(matches!(parsed, Some(ConnectionsCommand::Flush { .. })));
        }
        let error = parsed("lbctl connections list --state ESTABLISHDE").unwrap_err();
        assert!(error.to_string().contains("did you mean"), "{error}");
    }
}
