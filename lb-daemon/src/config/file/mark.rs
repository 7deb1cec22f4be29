//! `[[firewall_mark]]`.

use super::{ConfigError, entry::Entry, schema, table::Table};
use crate::config::{
    mark::{self, MarkRule},
    vocabulary,
};

/// All rules, in the order of the file.
pub(super) fn marks(root: &Table<'_>) -> Result<Vec<MarkRule>, ConfigError> {
    let mut marks: Vec<MarkRule> = Vec::new();
    let entries = root.get("firewall_mark").map_or_else(
        || Ok(Vec::new()),
        |entry| entry.elements("[[firewall_mark]]"),
    )?;
    for entry in entries {
        let table = entry.table(schema::FIREWALL_MARK)?;
        let rule = rule(&table)?;
        mark::check(&rule, &marks).map_err(|invalid| table.error(invalid.key, invalid.problem))?;
        marks.push(rule);
    }
    Ok(marks)
}

fn rule(table: &Table<'_>) -> Result<MarkRule, ConfigError> {
    let mark = table.require("mark")?.integer(1..=u32::MAX.into())?;
    Ok(MarkRule {
        mark,
        protocol: table.require("protocol")?.parsed(vocabulary::protocol)?,
        destination: table.require("destination")?.parsed(mark::destination)?,
        ports: ports(table)?,
    })
}

fn ports(table: &Table<'_>) -> Result<Vec<(u16, u16)>, ConfigError> {
    let Some(entry) = table.get("ports") else {
        return Ok(Vec::new());
    };
    let elements = entry.elements("an array")?;
    if elements.is_empty() {
        return Err(entry.error("at least one port is needed; leave the key out for all"));
    }
    let ranges: Result<Vec<_>, _> = elements.iter().map(range).collect();
    ranges.map(mark::in_order)
}

fn range(element: &Entry<'_>) -> Result<(u16, u16), ConfigError> {
    if element.text().is_ok() {
        return element.parsed(mark::port_range);
    }
    let port = element.integer(1..=65_535)?;
    Ok((port, port))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use crate::config::model::{MarkRule, Protocol};

    /// Six lines.
    const BEFORE: &str = "[director]\ninterfaces = ['eth0']\n[[firewall_mark]]\nmark = 80\n\
                          protocol = 'tcp'\ndestination = '192.0.2.10'\n";

    #[test]
    fn marks_add_up_in_the_order_of_the_file() {
        let text = format!(
            "{BEFORE}ports = [443, 80, '10000-20000']\n[[firewall_mark]]\nmark = 80\n\
             protocol = 'udp'\ndestination = '2001:db8::/64'\n"
        );
        let rules = parse(&text, "lbd.toml").unwrap().marks;
        assert_eq!(
            rules,
            [
                MarkRule {
                    mark: 80,
                    protocol: Protocol::Tcp,
                    destination: ([192, 0, 2, 10].into(), 32),
                    ports: vec![(80, 80), (443, 443), (10_000, 20_000)],
                },
                MarkRule {
                    mark: 80,
                    protocol: Protocol::Udp,
                    destination: ("2001:db8::".parse().unwrap(), 64),
                    ports: Vec::new(),
                },
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let again = "[[firewall_mark]]\nmark = 81\nprotocol = 'tcp'\ndestination = '192.0.2.10'\n";
        for (old, new, expected) in [
            ("mark = 80\n", "", "3: firewall_mark.mark: missing"),
            (
                "80",
                "0",
                "4: firewall_mark.mark: 0 is out of range: 1 to 4294967295",
            ),
            (
                "'tcp'",
                "'icmp'",
                "5: firewall_mark.protocol: unknown protocol \"icmp\"; did you mean tcp?",
            ),
            (
                "192.0.2.10",
                "192.0.2.10/24",
                "6: firewall_mark.destination: \"192.0.2.10/24\" has bits behind its length; write 192.0.2.0/24",
            ),
            (
                "10'\n",
                "10'\nports = []\n",
                "7: firewall_mark.ports: at least one port is needed; leave the key out for all",
            ),
            (
                "10'\n",
                "10'\nports = [0]\n",
                "7: firewall_mark.ports: 0 is out of range: 1 to 65535",
            ),
            (
                "10'\n",
                "10'\nports = ['90-80']\n",
                "7: firewall_mark.ports: \"90-80\" is not a port or a range: expected 80 or 10000-20000",
            ),
            (
                "10'\n",
                "10'\nport = 80\n",
                "7: firewall_mark.port: unknown key; did you mean ports?",
            ),
            (
                "10'\n",
                &format!("10'\n{again}"),
                "8: firewall_mark.mark: firewall mark 81: tcp 192.0.2.10/32 contradicts firewall mark 80: tcp \
                 192.0.2.10/32",
            ),
            (
                "10'\n",
                &format!("10'\n{}", again.replace("81", "80")),
                "8: firewall_mark.mark: firewall mark 80: tcp 192.0.2.10/32 is listed twice",
            ),
        ] {
            let error = parse(&BEFORE.replace(old, new), "lbd.toml").unwrap_err();
            assert_eq!(error.to_string(), format!("lbd.toml:{expected}"));
        }
    }
}
