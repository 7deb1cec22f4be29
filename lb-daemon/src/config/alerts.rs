//! `[alerts]`: mail about what happens to reals and services.

/// `[alerts]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// The server, `host:25`.
    pub smtp: MailServer,
    pub from: String,
    /// At least one, unique.
    pub to: Vec<String>,
}

/// A mail server by its name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// An IPv6 address without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
}

impl std::fmt::Display for MailServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl std::str::FromStr for MailServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is not a server: expected mail.example.com:25");
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(error)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(v6) => v6
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| error())?
                .to_string(),
            None if !host.is_empty() && host.bytes().all(allowed) => host.to_owned(),
            None => return Err(error()),
        };
        Ok(Self { host, port })
    }
}

/// An address of mail, `lbd@example.com`: nothing that could end a command of
/// SMTP, and nothing that could not be mailed to when it matters.
pub(super) fn mail_address(text: &str) -> Result<String, String> {
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || "<>,;\"".contains(c);
    let has_both = text
        .split_once('@')
        .is_some_and(|(who, at)| !who.is_empty() && !at.is_empty() && !at.contains('@'));
    let is_mailed_to = || text.parse::<lettre::Address>().is_ok();
    if has_both && !text.contains(forbidden) && is_mailed_to() {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not an address of mail: expected lbd@example.com"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_a_port() {
        for text in ["mail.example.com:25", "192.0.2.1:587", "[2001:db8::1]:25"] {
            assert_eq!(text.parse::<MailServer>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "mail",
            ":25",
            "mail:0",
            "mail:smtp",
            "2001:db8::1:25",
            "[x]:25",
            "a b:25",
        ] {
            let error = text.parse::<MailServer>().unwrap_err();
            assert!(error.contains("is not a server"), "{text}: {error}");
        }
    }

    #[test]
    fn addresses_of_mail_have_two_parts() {
        for text in ["lbd+x@example.com", "root@localhost", "a.b@[192.0.2.1]"] {
            assert!(mail_address(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "root",
            "@a",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b>\r\nDATA",
            "<a@b>",
            "a@[b",
            "a@b..c",
        ] {
            assert!(mail_address(text).is_err(), "{text}");
        }
    }
}
