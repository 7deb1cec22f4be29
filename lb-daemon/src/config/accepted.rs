//! What a configuration asks for that this version reads and does not act on
//! (the keys that are [`Accepted`](super::file)), in warnings for the log and
//! for `status`: nobody shall rely on what is not there.

use super::{
    health::RealHealth,
    model::{Alerts, Config, Health, Service, ServiceId},
};

/// As many services are told by name; the rest are counted.
const NAMED: usize = 10;

/// All warnings about a configuration as it is in the file.
#[must_use]
pub fn of_config(config: &Config) -> Vec<String> {
    let services = config.services.iter().filter(|of| of.asks_for_checks());
    let mut warnings = of_sections(config.alerts.as_ref());
    warnings.extend(of_services(services.map(|service| service.id)));
    warnings
}

/// The warnings about the sections that stand for themselves.
#[must_use]
pub fn of_sections(alerts: Option<&Alerts>) -> Vec<String> {
    let mut warnings = Vec::new();
    if alerts.is_some() {
        warnings.push("alerts are configured and not sent by this version".into());
    }
    warnings
}

/// Whether a service or one of its reals asks for something that only a
/// checker would do.
pub fn asks_for_checks<'a>(
    service: &Health,
    reals: impl IntoIterator<Item = Option<&'a RealHealth>>,
) -> bool {
    *service != Health::default() || reals.into_iter().any(|real| real.is_some())
}

impl Service {
    /// Whether it or one of its reals asks for something that only a checker
    /// would do.
    #[must_use]
    pub fn asks_for_checks(&self) -> bool {
        let reals = self.reals.iter().map(|real| real.health.as_deref());
        asks_for_checks(&self.health, reals)
    }
}

/// The warnings about the services that ask for what only a checker would do.
pub fn of_services(services: impl IntoIterator<Item = ServiceId>) -> Vec<String> {
    const WHAT: &str = "health checks are configured and not run by this version";
    let mut services = services.into_iter();
    let named = services.by_ref().take(NAMED);
    let mut warnings: Vec<_> = named.map(|id| format!("service {id}: {WHAT}")).collect();
    match services.count() {
        0 => {}
        more => warnings.push(format!("{more} more services: {WHAT}")),
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        file,
        model::{FirewallMark, IpFamily},
    };

    #[test]
    fn what_is_not_acted_on_is_told() {
        const SERVICE: &str = "[director]\ninterfaces = ['eth0']\n[[service]]\nprotocol = 'tcp'\n\
                               address = '192.0.2.10'\nport = 80\n";
        const WARNING: &str =
            "service tcp:192.0.2.10:80: health checks are configured and not run by this version";
        for (text, warning) in [
            ("", None),
            ("require = 'all'\nhealth = []\nquorum = { up = 1 }\n", None),
            (
                "[[service.real]]\naddress = '10.0.0.2'\nnotify_up = []\n",
                None,
            ),
            ("[alerts]\nto = []\n[metrics]\n", None),
            ("require = 'any'\n", Some(WARNING)),
            ("quorum = { up = 2 }\n", Some(WARNING)),
            ("sorry_server = { address = '10.0.0.9' }\n", Some(WARNING)),
            ("[service.health]\ntype = 'tcp'\n", Some(WARNING)),
            (
                "[[service.real]]\naddress = '10.0.0.2'\nhealth = []\n",
                Some(WARNING),
            ),
            (
                "[[service.real]]\naddress = '10.0.0.2'\nnotify_down = ['/bin/true']\n",
                Some(WARNING),
            ),
            ("[metrics]\nlisten = '127.0.0.1:9106'\n", None),
            (
                "[alerts]\nsmtp = 'mail:25'\nfrom = 'a@b'\nto = ['c@d']\n",
                Some("alerts are configured and not sent by this version"),
            ),
        ] {
            let config = file::parse(&format!("{SERVICE}{text}"), "lbd.toml").unwrap();
            assert_eq!(of_config(&config), Vec::from_iter(warning), "{text}");
        }
    }

    #[test]
    fn many_services_are_counted() {
        let services = (1..=12).map(|mark| {
            let family = IpFamily::V4;
            ServiceId::Mark(FirewallMark { mark, family })
        });
        let warnings = of_services(services);
        assert_eq!(warnings.len(), 11);
        assert!(warnings[9].starts_with("service fwmark:10: health checks"));
        assert!(warnings[10].starts_with("2 more services: health checks"));
    }
}
