//! Commands that a configuration has lbd run, with lbd's privileges: who may change services
//! is not therefore who may run what he likes.

use super::{
    health::{Check, Probe},
    model::{Config, Service},
};

/// The first key that names a command, with its service: `service tcp:192.0.2.10:80:
/// quorum.notify_up`.
#[must_use]
pub fn first_key(config: &Config) -> Option<String> {
    config.services.iter().find_map(|service| {
        let key = of_service(service)?;
        Some(format!("service {}: {key}", service.id))
    })
}

fn of_service(service: &Service) -> Option<String> {
    let health = &service.health;
    let quorum = notify_key(&health.quorum.notify_up, &health.quorum.notify_down);
    if let Some(key) = quorum {
        return Some(format!("quorum.{key}"));
    }
    if let Some(key) = of_checks(&health.checks) {
        return Some(key.into());
    }
    service.reals.iter().find_map(|real| {
        let health = real.health.as_deref()?;
        let own = health.checks.as_deref().and_then(of_checks);
        let key = own.or_else(|| notify_key(&health.notify_up, &health.notify_down))?;
        Some(format!("real {}: {key}", real.id))
    })
}

fn of_checks(checks: &[Check]) -> Option<&'static str> {
    let runs = |check: &Check| matches!(check.probe, Probe::Exec(_));
    checks.iter().any(runs).then_some("health.command")
}

fn notify_key(up: &[String], down: &[String]) -> Option<&'static str> {
    match (up, down) {
        ([], []) => None,
        ([], _) => Some("notify_down"),
        (_, _) => Some("notify_up"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    const WEB: &str = "[director]\ninterfaces = ['eth0']\n[[service]]\nprotocol = 'tcp'\n\
                       address = '192.0.2.10'\nport = 80\n";

    /// A key that goes by unseen lets whoever may change services run commands as root.
    #[test]
    fn every_key_is_found() {
        let exec = "type = 'exec'\ncommand = ['/bin/true']\n";
        let real = "[[service.real]]\naddress = '10.0.0.2'\n";
        let web = "service tcp:192.0.2.10:80: ";
        for (more, key) in [
            (
                "quorum = { notify_up = ['/bin/true'] }\n".into(),
                "quorum.notify_up",
            ),
            (
                "quorum = { notify_down = ['/bin/true'] }\n".into(),
                "quorum.notify_down",
            ),
            (format!("[[service.health]]\n{exec}"), "health.command"),
            (
                format!("{real}[[service.real.health]]\n{exec}"),
                "real 10.0.0.2:80: health.command",
            ),
            (
                format!("{real}notify_up = ['/bin/true']\n"),
                "real 10.0.0.2:80: notify_up",
            ),
            (
                format!("{real}notify_down = ['/bin/true']\n"),
                "real 10.0.0.2:80: notify_down",
            ),
        ] {
            let config = file::parse(&format!("{WEB}{more}"), "lbd.toml").unwrap();
            assert_eq!(first_key(&config), Some(format!("{web}{key}")));
        }
        let more = format!("[[service.health]]\ntype = 'tcp'\n{real}health = []\n");
        let config = file::parse(&format!("{WEB}{more}"), "lbd.toml").unwrap();
        assert_eq!(first_key(&config), None);
    }
}
