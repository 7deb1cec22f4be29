//! `[alerts]`.

use super::{ConfigError, schema, sections::section, table::Table};
use crate::config::alerts::{Alerts, mail_address};

/// All three keys or none; `to = []` is as good as none.
pub(super) fn alerts(root: &Table<'_>) -> Result<Option<Alerts>, ConfigError> {
    let Some(table) = section(root, "alerts", schema::ALERTS)? else {
        return Ok(None);
    };
    let to = table.optional("to", Vec::new(), |entry| {
        let mut to = Vec::new();
        for element in entry.elements("an array")? {
            let address = element.parsed(mail_address)?;
            if to.contains(&address) {
                return Err(element.error(format!("{address} is listed twice")));
            }
            to.push(address);
        }
        Ok(to)
    })?;
    let is_said = |key| table.get(key).is_some();
    if to.is_empty() && !is_said("smtp") && !is_said("from") {
        return Ok(None);
    }
    let smtp = table.require("smtp")?.parsed(str::parse)?;
    let from = table.require("from")?.parsed(mail_address)?;
    if to.is_empty() {
        return Err(table.error("to", "at least one address is needed"));
    }
    Ok(Some(Alerts { smtp, from, to }))
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn alerts(text: &str) -> Result<Option<super::Alerts>, String> {
        let text = format!("[director]\ninterfaces = ['eth0']\n[alerts]\n{text}");
        let config = parse(&text, "lbd.toml").map_err(|error| error.to_string())?;
        Ok(config.alerts)
    }

    #[test]
    fn mail_needs_a_server_a_sender_and_somebody() {
        let all = "smtp = 'mail:25'\nfrom = 'lbd@example.com'\nto = ['ops@example.com']\n";
        let alerts_of = alerts(all).unwrap().unwrap();
        assert_eq!(alerts_of.smtp.to_string(), "mail:25");
        assert_eq!(alerts_of.to, ["ops@example.com"]);
        for nothing in ["", "to = []\n"] {
            assert_eq!(alerts(nothing), Ok(None));
        }
        for (text, expected) in [
            (
                "smtp = 'mail'\n",
                "lbd.toml:4: alerts.smtp: \"mail\" is not a server: expected mail.example.com:25",
            ),
            ("smtp = 'mail:25'\n", "lbd.toml:3: alerts.from: missing"),
            ("to = ['a@b']\n", "lbd.toml:3: alerts.smtp: missing"),
            (
                "to = [\n'a@b', 'a@b']\n",
                "lbd.toml:5: alerts.to: a@b is listed twice",
            ),
            (
                "smtp = 'mail:25'\nfrom = 'a@b'\n",
                "lbd.toml:3: alerts.to: at least one address is needed",
            ),
        ] {
            assert_eq!(alerts(text).unwrap_err(), expected);
        }
    }
}
