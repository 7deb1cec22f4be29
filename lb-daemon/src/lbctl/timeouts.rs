//! `lbctl timeouts`: the three that `ipvsadm --set` knows.

use anyhow::{Result, bail};
use clap::{Args as Flags, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Usage,
    client::Client,
    commands::{given, print, print_made},
};
use crate::config::timeouts::MAX_TIMEOUT_S;

pub(super) const PATH: &str = "/v1/timeouts";

/// `lbctl timeouts`; without a command it prints them.
#[derive(Debug, Flags)]
pub struct TimeoutsArgs {
    #[command(subcommand)]
    command: Option<TimeoutsCommand>,
}

/// `lbctl timeouts …`.
#[derive(Debug, Subcommand)]
enum TimeoutsCommand {
    /// Change them until the next reload; what is not named stays, and so does what is given 0
    Set(TimeoutFlags),
}

#[derive(Debug, Flags)]
struct TimeoutFlags {
    /// Established TCP connections
    #[arg(long, value_name = "SECONDS", value_parser = seconds())]
    tcp: Option<u32>,
    /// TCP connections that one side has closed
    #[arg(long, value_name = "SECONDS", value_parser = seconds())]
    tcp_fin: Option<u32>,
    /// UDP
    #[arg(long, value_name = "SECONDS", value_parser = seconds())]
    udp: Option<u32>,
}

fn seconds() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(..=i64::from(MAX_TIMEOUT_S))
}

/// What a page needs of the answer.
#[derive(Deserialize)]
pub(super) struct Shown {
    tcp_s: u32,
    tcp_fin_s: u32,
    udp_s: u32,
}

pub(super) async fn run(client: &Client, args: TimeoutsArgs, json: bool) -> Result<()> {
    let Some(TimeoutsCommand::Set(flags)) = args.command else {
        return print(&client.get(PATH).await?, json, |shown| Ok(page(shown)));
    };
    let body = body(&flags);
    if body.is_empty() {
        bail!(Usage("timeouts set: nothing to change; name a flag"));
    }
    print_made(&client.patch(PATH, &body.into()).await?, json)
}

/// As `ipvsadm -L --timeout` prints it.
pub(super) fn page(shown: &Shown) -> String {
    let Shown {
        tcp_s,
        tcp_fin_s,
        udp_s,
    } = shown;
    format!("Timeout (tcp tcpfin udp): {tcp_s} {tcp_fin_s} {udp_s}\n")
}

fn body(flags: &TimeoutFlags) -> Map<String, Value> {
    given([
        ("tcp_s", flags.tcp.map(Value::from)),
        ("tcp_fin_s", flags.tcp_fin.map(Value::from)),
        ("udp_s", flags.udp.map(Value::from)),
    ])
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::{
        super::args::{Args, Command},
        *,
    };

    fn parsed(line: &str) -> Result<Option<TimeoutsCommand>, clap::Error> {
        match Args::try_parse_from(line.split(' '))?.command {
            Command::Timeouts(args) => Ok(args.command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_named_is_sent() {
        for (line, sent) in [
            (
                "lbctl timeouts set --tcp 900 --tcp-fin 120 --udp 300",
                json!({"tcp_s": 900, "tcp_fin_s": 120, "udp_s": 300}),
            ),
            ("lbctl timeouts set --udp 0 -j", json!({"udp_s": 0})),
            ("lbctl timeouts set", json!({})),
        ] {
            let Some(TimeoutsCommand::Set(flags)) = parsed(line).unwrap() else {
                panic!("{line}");
            };
            assert_eq!(Value::from(body(&flags)), sent);
        }
        assert!(parsed("lbctl timeouts").unwrap().is_none());
        let error = parsed("lbctl timeouts set --udp 2678401").unwrap_err();
        assert!(error.to_string().contains("2678401 is not in"), "{error}");
    }

    #[test]
    fn the_page_is_ipvsadms() {
        let shown = serde_json::from_value(json!({"tcp_s": 900, "tcp_fin_s": 120, "udp_s": 300}));
        assert_eq!(
            page(&shown.unwrap()),
            "Timeout (tcp tcpfin udp): 900 120 300\n"
        );
    }
}
