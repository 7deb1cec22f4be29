//! Commands that a configuration has lbd run, with lbd's privileges: who may change services
//! is not therefore who may run what he likes.

use super::{
    health::{Check, Probe},
    model::{Config, Health, Real, Service},
};

/// What can name commands.
pub trait Commands {
    /// The first key that names one, with the objects that it is of: `service
    /// tcp:192.0.2.10:80: quorum.notify_up`.
    fn first_key(&self) -> Option<String>;
}

impl Commands for Config {
    fn first_key(&self) -> Option<String> {
        self.services.iter().find_map(Service::first_key)
    }
}

impl Commands for Service {
    fn first_key(&self) -> Option<String> {
        let Health { checks, quorum, .. } = &*self.health;
        let key_of_real = |real: &Real| {
            let health = real.health.as_deref()?;
            let checks = health.checks.as_deref().unwrap_or_default();
            let key = of_real(checks, &health.notify_up, &health.notify_down)?;
            Some(format!("real {}: {key}", real.id))
        };
        let own = of_service(checks, &quorum.notify_up, &quorum.notify_down);
        let key = own.or_else(|| self.reals.iter().find_map(key_of_real))?;
        Some(format!("service {}: {key}", self.id))
    }
}

/// That of what a service has itself.
pub fn of_service(
    checks: &[Check],
    notify_up: &[String],
    notify_down: &[String],
) -> Option<String> {
    let quorum = notify_key(notify_up, notify_down).map(|key| format!("quorum.{key}"));
    quorum.or_else(|| of_checks(checks).map(str::to_owned))
}

/// That of a real.
pub fn of_real(checks: &[Check], notify_up: &[String], notify_down: &[String]) -> Option<String> {
    let key = of_checks(checks).or_else(|| notify_key(notify_up, notify_down));
    key.map(str::to_owned)
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
            assert_eq!(config.first_key(), Some(format!("{web}{key}")));
        }
        let more = format!("[[service.health]]\ntype = 'tcp'\n{real}health = []\n");
        let config = file::parse(&format!("{WEB}{more}"), "lbd.toml").unwrap();
        assert_eq!(config.first_key(), None);
    }
}
