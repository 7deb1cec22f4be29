//! A configuration as `lbd.toml` has it: the canonical text, with the keys
//! whose values are not the default, which [`super::file::parse`] reads back.
//!
//! A real's administrative state is not part of a configuration.

mod health;
mod service;
mod text;

pub use self::health::{of_real as real_health, of_service as health};
pub(crate) use self::text::quoted;
use self::text::{Keys, array, seconds};
use super::{
    defence::default_burst,
    file,
    model::{Alerts, Config, Defence, Director, MarkRule, Metrics, Options, Timeouts, XdpMode},
    timeouts::KEYS,
};

/// The text of `config`.
#[must_use]
pub fn toml(config: &Config) -> String {
    let default = file::defaults();
    let mut text = String::new();
    let mut section = |name: &str, keys: Keys| {
        if !keys.is_empty() {
            text.push_str(&format!("[{name}]\n{keys}\n"));
        }
    };
    section("director", director(&config.director, &default.director));
    let (capacity, usual) = (config.capacity, default.capacity);
    let mut keys = Keys::default();
    for (key, entries, default) in [
        ("services", capacity.services, usual.services),
        ("reals", capacity.reals, usual.reals),
        ("connections", capacity.connections, usual.connections),
        ("persistence", capacity.persistence, usual.persistence),
    ] {
        keys.unless(default, key, entries);
    }
    section("capacity", keys);
    section("timeouts", timeouts(&config.timeouts));
    section("options", options(&config.options, &default.options));
    section("defence", defence(&config.defence));
    section("metrics", metrics(config.metrics));
    if let Some(of) = &config.alerts {
        section("alerts", alerts(of));
    }
    for rule in &config.marks {
        text.push_str(&format!("[[firewall_mark]]\n{}\n", mark(rule)));
    }
    service::services(&config.services, &mut text);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn director(of: &Director, default: &Director) -> Keys {
    let path = |path: &std::path::Path| quoted(&path.to_string_lossy());
    let mut keys = Keys::default();
    keys.set(
        "interfaces",
        array(of.interfaces.iter().map(|name| quoted(name))),
    );
    match of.xdp_mode {
        XdpMode::Auto => {}
        XdpMode::Native => keys.set("xdp_mode", quoted("native")),
        XdpMode::Generic => keys.set("xdp_mode", quoted("generic")),
    }
    keys.unless(path(&default.pin_dir), "pin_dir", path(&of.pin_dir));
    keys.unless(path(&default.state_dir), "state_dir", path(&of.state_dir));
    keys.unless(path(&default.socket), "socket", path(&of.socket));
    if let Some(group) = &of.socket_group {
        keys.set("socket_group", quoted(group));
    }
    keys.unless(false, "manage_addresses", of.manage_addresses);
    let usual = quoted(&default.vip_interface);
    keys.unless(usual, "vip_interface", quoted(&of.vip_interface));
    keys.unless(false, "detach_on_exit", of.detach_on_exit);
    keys
}

fn timeouts(of: &Timeouts) -> Keys {
    let default = Timeouts::default();
    let mut keys = Keys::default();
    for key in KEYS {
        let name = key.alias.map_or(key.name, |(alias, _)| alias);
        keys.unless(
            seconds(default.of(key.state)),
            name,
            seconds(of.of(key.state)),
        );
    }
    keys
}

fn options(of: &Options, default: &Options) -> Keys {
    let mut keys = Keys::default();
    keys.unless(false, "sloppy_tcp", of.sloppy_tcp);
    keys.unless(false, "expire_nodest", of.expire_nodest);
    keys.unless(false, "expire_quiescent", of.expire_quiescent);
    keys.unless(false, "reuse_fin_wait", of.reuse_fin_wait);
    keys.unless(
        seconds(default.lblc_expiry_s),
        "lblc_expiry",
        seconds(of.lblc_expiry_s),
    );
    keys.unless(default.icmp_rate, "icmp_rate", of.icmp_rate);
    let v4 = of
        .tunnel_sources
        .v4
        .map(|(network, length)| format!("{network}/{length}"));
    let v6 = of
        .tunnel_sources
        .v6
        .map(|(network, length)| format!("{network}/{length}"));
    let prefixes = v4.into_iter().chain(v6).map(|prefix| quoted(&prefix));
    keys.unless(array([]), "tunnel_sources", array(prefixes));
    keys
}

fn defence(of: &Defence) -> Keys {
    let default = Defence::default();
    let mut keys = Keys::default();
    for (key, strategy, default) in [
        ("drop_entry", of.drop_entry, default.drop_entry),
        ("drop_packet", of.drop_packet, default.drop_packet),
        ("secure_tcp", of.secure_tcp, default.secure_tcp),
        ("stateless", of.stateless, default.stateless),
    ] {
        keys.unless(quoted(default.name()), key, quoted(strategy.name()));
    }
    if let Some(limit) = of.rate_limit {
        let mut table = Keys::default();
        table.set("per_source", limit.per_source);
        table.unless(24, "netmask", limit.netmask);
        table.unless(64, "netmask_v6", limit.netmask_v6);
        table.unless(default_burst(limit.per_source), "burst", limit.burst);
        keys.set("rate_limit", table.inline());
    }
    for (key, networks) in [("deny", &of.deny), ("allow", &of.allow)] {
        let networks = networks
            .iter()
            .map(|(network, length)| quoted(&format!("{network}/{length}")));
        keys.unless(array([]), key, array(networks));
    }
    keys
}

fn metrics(of: Metrics) -> Keys {
    let mut keys = Keys::default();
    if let Some(listen) = of.listen {
        keys.set("listen", quoted(&listen.to_string()));
    }
    keys
}

fn alerts(of: &Alerts) -> Keys {
    let mut keys = Keys::default();
    keys.set("smtp", quoted(&of.smtp.to_string()));
    keys.set("from", quoted(&of.from));
    keys.set("to", array(of.to.iter().map(|address| quoted(address))));
    keys
}

fn mark(of: &MarkRule) -> Keys {
    let (network, length) = of.destination;
    let bits = if network.is_ipv4() { 32 } else { 128 };
    let destination = match length {
        length if length == bits => network.to_string(),
        length => format!("{network}/{length}"),
    };
    let port = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => quoted(&format!("{first}-{last}")),
    };
    let mut keys = Keys::default();
    keys.set("mark", of.mark);
    keys.set("protocol", quoted(of.protocol.name()));
    keys.set("destination", quoted(&destination));
    keys.unless(array([]), "ports", array(of.ports.iter().map(port)));
    keys
}

#[cfg(test)]
mod tests;
