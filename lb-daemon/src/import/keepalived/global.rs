//! `global_defs`: the mails become `[alerts]`, the IPVS timeouts `[timeouts]`.

use std::net::IpAddr;

use super::{Context, tree::Node};
use crate::{
    config::timeouts::MAX_TIMEOUT_S,
    import::{document::Alerts, source::ImportError},
};

/// SMTP's port, where none is said.
const SMTP_PORT: &str = "25";

/// Who writes, where nothing is said.
const FROM: &str = "lbd@localhost";

pub(super) fn read(node: &Node, context: &mut Context<'_>) -> Result<(), ImportError> {
    let mut to: Option<(&Node, Vec<String>)> = None;
    let mut from = None;
    let mut smtp = None;
    for line in node.block() {
        match line.keyword() {
            "notification_email" => {
                let block = line.block().iter().flat_map(|line| line.words.clone());
                let all = line.values().iter().cloned().chain(block);
                to.get_or_insert((line, Vec::new())).1.extend(all);
            }
            "notification_email_from" => from = Some((line, line.value()?.to_owned())),
            "smtp_server" => smtp = Some((line, server(line)?)),
            "lvs_timeouts" => timeouts(line, context)?,
            "default_interface" => context.document.add_interface(line.value()?),
            _ => context.no_equal(line),
        }
    }
    match (to, smtp) {
        (Some((line, to)), Some((_, smtp))) if !to.is_empty() => {
            let from = match from {
                Some((_, from)) => from,
                None => {
                    let text = format!("there is no notification_email_from; {FROM} is taken");
                    context.warn(line, &text);
                    FROM.into()
                }
            };
            let mut unique: Vec<String> = Vec::new();
            for address in to.iter().map(|address| bare_address(address)) {
                if !unique.contains(&address) {
                    unique.push(address);
                }
            }
            context.document.alerts = Some(Alerts {
                place: line.place.clone(),
                smtp,
                from: bare_address(&from),
                to: unique,
            });
        }
        (Some((line, _)), None) => {
            context.warn(
                line,
                "without smtp_server nobody can be written to; left out",
            );
        }
        (None | Some(_), smtp) => {
            // Who would send, and by which server, but to nobody.
            for line in from
                .iter()
                .map(|(line, _)| line)
                .chain(smtp.iter().map(|(line, _)| line))
            {
                context.warn(line, "there is no notification_email; left out");
            }
        }
    }
    Ok(())
}

/// Without the name that is displayed: `Admin <admin@example.com>`.
fn bare_address(text: &str) -> String {
    let bracketed = text
        .rsplit_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    bracketed
        .map_or(text, |(address, _)| address)
        .trim()
        .to_owned()
}

fn server(line: &Node) -> Result<String, ImportError> {
    let host = line.value()?;
    let port = line.values().get(1).map_or(SMTP_PORT, String::as_str);
    if port.parse::<u16>().is_err() {
        return Err(line.error(&format!("{port:?} is not a port")));
    }
    Ok(match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        _ => format!("{host}:{port}"),
    })
}

/// `lvs_timeouts [tcp SECS] [tcpfin SECS] [udp SECS]`.
fn timeouts(line: &Node, context: &mut Context<'_>) -> Result<(), ImportError> {
    for pair in line.values().chunks(2) {
        let [name, seconds] = pair else {
            return Err(line.error(&format!("{} has no value", pair[0])));
        };
        let seconds: u32 = seconds
            .parse()
            .map_err(|_| line.error(&format!("{seconds:?} is not a number of seconds")))?;
        // 0 leaves it as it is.
        let seconds = (seconds > 0).then_some(seconds.min(MAX_TIMEOUT_S));
        let timeouts = &mut context.document.timeouts;
        match &**name {
            "tcp" => timeouts.tcp_s = seconds,
            "tcpfin" => timeouts.tcp_fin_s = seconds,
            "udp" => timeouts.udp_s = seconds,
            _ => return Err(line.error(&format!("{name:?} is none of tcp, tcpfin, udp"))),
        }
    }
    Ok(())
}
