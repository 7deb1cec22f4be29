//! `lbctl mark`: which packets are marked for the services by firewall mark.

use super::{
    args::MarkCommand,
    client::{Client, percent_encoded},
    columns::{
        Align::{Left, Right},
        aligned,
    },
    commands::{print, print_made},
};
use crate::{api::wire, config::mark};
use anyhow::{Result, anyhow};
use serde_json::{Value, json};

pub(super) async fn run(client: &Client, command: MarkCommand, json: bool) -> Result<()> {
    match command {
        MarkCommand::Add { rule } => {
            let ranges = mark::ports(&rule.ports).map_err(|problem| anyhow!(problem))?;
            let mut body = json!({
                "mark": rule.mark, "protocol": rule.protocol, "destination": rule.destination,
            });
            if !ranges.is_empty() {
                body["ports"] = Value::from(mark::port_words(&ranges));
            }
            print_made(&client.post("/v1/marks", &body).await?, json)
        }
        MarkCommand::Delete { rule } => {
            let destination = percent_encoded(&rule.destination);
            let mut path = format!(
                "/v1/marks?mark={}&protocol={}&destination={destination}",
                rule.mark, rule.protocol
            );
            if rule.ports != ALL_PORTS {
                path.push_str(&format!("&ports={}", percent_encoded(&rule.ports)));
            }
            client.delete(&path).await?;
            Ok(())
        }
        MarkCommand::List => {
            let answer = client.get("/v1/marks").await?;
            print(&answer, json, |marks: &Vec<wire::Mark>| Ok(page(marks)))
        }
    }
}

/// In place of ports: all of them.
pub(super) const ALL_PORTS: &str = "all";

fn page(marks: &[wire::Mark]) -> String {
    let header = ["MARK", "PROTO", "DESTINATION", "PORTS", "OWNER"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(marks.iter().map(|mark| {
        vec![
            mark.mark.to_string(),
            mark.protocol.clone(),
            mark.destination.clone(),
            ports(mark),
            mark.owner.name().into(),
        ]
    }));
    aligned(0, &[Right, Left, Left, Left, Left], &rows)
}

fn ports(mark: &wire::Mark) -> String {
    if mark.ports.is_empty() {
        return ALL_PORTS.into();
    }
    let words = mark.ports.iter().map(|ports| match ports {
        wire::Ports::One(port) => port.to_string(),
        wire::Ports::Range(range) => range.clone(),
    });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_a_table_in_the_command_lines_words() {
        let mark = |mark, destination: &str, ports| wire::Mark {
            mark,
            protocol: "tcp".into(),
            destination: destination.into(),
            ports,
            owner: wire::Owner::File,
        };
        let ports = vec![
            wire::Ports::One(80),
            wire::Ports::Range("10000-20000".into()),
        ];
        let page = page(&[
            mark(80, "192.0.2.10/32", ports),
            mark(4000, "2001:db8::/32", Vec::new()),
        ]);
        let expected = [
            "MARK  PROTO  DESTINATION    PORTS           OWNER",
            "  80  tcp    192.0.2.10/32  80,10000-20000  file",
            "4000  tcp    2001:db8::/32  all             file",
            "",
        ];
        assert_eq!(page, expected.join("\n"));
    }
}
