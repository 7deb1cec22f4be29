//! `lbd.toml`: read, checked against the whole contract, turned into a
//! [`Config`].
//!
//! The first mistake ends the reading; it is told in one line that names file,
//! line, key and, for an unknown key, the nearest valid one. The keys are in
//! [`schema`]; the file is read by hand along it and not by derived structs,
//! because only so does every error know its line and the key's full path.

mod alerts;
mod defence;
mod director;
mod duration;
mod entry;
mod health;
mod mark;
mod persistence;
mod schema;
mod sections;
mod service;
mod source;
mod table;
mod timeouts;

use std::{fs::File, io::Read, path::Path, sync::Arc};

use toml::de::DeTable;

pub(crate) use self::duration::{parse as duration, text as duration_text};
use self::{schema::Section, source::Source, table::Table};
use super::{
    health::Check,
    model::{Config, ForwardingMethod, Health, RealHealth, ServiceId},
};

/// A longer file is refused: larger than any set of services the tables hold.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why a configuration was refused, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read at all.
    #[error("cannot read {file}: {problem}")]
    Unreadable {
        /// The file, as the caller named it.
        file: String,
        /// What the system said.
        problem: String,
    },
    /// What the file says is wrong, or more than this version can do.
    #[error("{file}:{line}: {}{problem}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
    Refused {
        /// The file, as the caller named it.
        file: String,
        /// Counted from 1.
        line: usize,
        /// Full path, `service.real.weight`; empty where no key is at fault.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads and checks the file at `path`.
pub fn load(path: impl AsRef<Path>) -> Result<Config, ConfigError> {
    let path = path.as_ref();
    let unreadable = |problem: String| ConfigError::Unreadable {
        file: path.display().to_string(),
        problem,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(format!(
            "longer than {} MiB",
            MAX_FILE_BYTES >> 20
        )));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text, path),
        Err(error) => Err(ConfigError::Refused {
            file: path.display().to_string(),
            line: source::line(&bytes[..error.valid_up_to()]),
            key: String::new(),
            problem: "not UTF-8".into(),
        }),
    }
}

/// Checks `text`; `path` is only for the messages.
pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Config, ConfigError> {
    let source = Source::new(path.as_ref().display().to_string(), text);
    let document = DeTable::parse(text).map_err(|error| source.syntax_error(&error))?;
    let root = Table::root(&source, &document, schema::ROOT)?;
    let config = Config {
        director: director::director(&root)?,
        capacity: sections::capacity(&root)?,
        timeouts: timeouts::timeouts(&root)?,
        options: sections::options(&root)?,
        defence: defence::defence(&root)?,
        metrics: sections::metrics(&root)?,
        alerts: alerts::alerts(&root)?,
        marks: mark::marks(&root)?,
        services: service::services(&root)?,
    };
    sections::check_capacity(&root, &config)?;
    Ok(config)
}

/// What a file means that says no more than it must.
pub(crate) fn defaults() -> Config {
    parse("[director]\ninterfaces = [\"eth0\"]\n", "defaults").expect("all else has a default")
}

/// What [`super::write::health`] wrote about the service `id`, whose reals are
/// forwarded to by `forward` by default.
pub(crate) fn service_health(
    text: &str,
    id: ServiceId,
    forward: ForwardingMethod,
) -> Result<Arc<Health>, String> {
    if text.is_empty() {
        return Ok(Arc::default());
    }
    let read = |table: &Table<'_>| health::health(table, id, forward);
    part(text, schema::SERVICE_HEALTH, read).map_err(|error| error.to_string())
}

/// What [`super::write::real_health`] wrote.
pub(crate) fn real_health(text: &str) -> Result<Option<Arc<RealHealth>>, String> {
    part(text, schema::HEALTH_OF_REAL, health::real_health).map_err(|error| error.to_string())
}

/// The checks that stand in `text`, which has no other key than `health`.
pub(crate) fn checks(text: &str) -> Result<Vec<Check>, ConfigError> {
    part(text, schema::SERVICE_HEALTH, |table| {
        health::checks(&table.require("health")?, schema::HEALTH)
    })
}

/// The keys of checks of all types.
pub(crate) const CHECK_KEYS: &[&str] = schema::HEALTH_KEYS;

/// Reads the keys of one table.
fn part<T>(
    text: &str,
    section: Section,
    read: impl FnOnce(&Table<'_>) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let source = Source::new("health".into(), text);
    let document = DeTable::parse(text).map_err(|error| source.syntax_error(&error))?;
    read(&Table::root(&source, &document, section)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Defence, ForwardingMethod, Scheduler, XdpMode};

    const DIRECTOR: &str = "[director]\ninterfaces = [\"eth0\"]\n";

    /// The error for `text` after a valid `[director]`, whose two lines come
    /// first.
    fn refused(text: &str) -> String {
        parse(&format!("{DIRECTOR}{text}"), "lbd.toml")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn absent_keys_have_the_contracts_defaults() {
        let config = parse(DIRECTOR, "lbd.toml").unwrap();
        assert_eq!(config.director.interfaces, ["eth0"]);
        assert_eq!(config.director.xdp_mode, XdpMode::Auto);
        assert_eq!(config.director.pin_dir.to_str(), Some("/sys/fs/bpf/lbd"));
        assert_eq!(config.director.state_dir.to_str(), Some("/var/lib/lbd"));
        assert_eq!(config.director.socket.to_str(), Some("/run/lbd/lbd.sock"));
        assert_eq!(config.director.socket_group, None);
        assert!(!config.director.detach_on_exit);
        assert_eq!(config.capacity.services, 4096);
        assert_eq!(config.capacity.reals, 65_536);
        assert_eq!(config.capacity.connections, 1_048_576);
        assert_eq!(config.capacity.persistence, 262_144);
        assert_eq!(
            config.timeouts.0,
            [
                2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120, 300, 60, 0, 0,
                0, // TCP, UDP, cut
                2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61, 0, 0, // SCTP
            ]
        );
        assert_eq!(config.options.icmp_rate, 1000);
        assert_eq!(config.options.lblc_expiry_s, 86_400);
        assert!(!config.options.sloppy_tcp && !config.options.reuse_fin_wait);
        assert!(!config.options.expire_nodest && !config.options.expire_quiescent);
        assert_eq!(config.defence, Defence::default());
        assert_eq!(config.marks, []);
        assert!(config.services.is_empty());
    }

    #[test]
    fn services_and_reals_keep_the_order_of_the_file() {
        let config = parse(
            &format!(
                "{DIRECTOR}
                [[service]]
                name = 'web'
                protocol = 'tcp'
                address = '192.0.2.10'
                port = 80
                scheduler = 'wrr'
                forward = 'nat'
                [[service.real]]
                address = '10.0.0.3'
                port = 8080
                weight = 0
                [[service.real]]
                address = '10.0.0.2'
                forward = 'tun'
                [[service]]
                protocol = 'udp'
                address = '192.0.2.10'
                port = 53
                scheduler = 'rr'"
            ),
            "lbd.toml",
        )
        .unwrap();
        let [web, dns] = &config.services[..] else {
            panic!("{config:?}")
        };
        assert_eq!(web.id.to_string(), "tcp:192.0.2.10:80");
        assert_eq!(web.name.as_deref(), Some("web"));
        assert_eq!(web.scheduler, Scheduler::Wrr);
        let reals: Vec<_> = web
            .reals
            .iter()
            .map(|r| (r.id.to_string(), r.weight.get(), r.forward))
            .collect();
        assert_eq!(
            reals,
            [
                ("10.0.0.3:8080".to_owned(), 0, ForwardingMethod::Nat),
                ("10.0.0.2:80".to_owned(), 1, ForwardingMethod::Tun)
            ]
        );
        assert_eq!(dns.id.to_string(), "udp:192.0.2.10:53");
        assert_eq!(dns.forward, ForwardingMethod::Dr);
    }

    #[test]
    fn explicit_defaults_are_fine() {
        parse(
            "[director]
            interfaces = ['eth0']
            manage_addresses = false
            vip_interface = 'lo'
            [capacity]
            persistence = 262144
            [options]
            expire_nodest = false
            expire_quiescent = false
            lblc_expiry = '1440m'
            [defence]
            drop_entry = 'auto'
            drop_packet = 'auto'
            secure_tcp = 'off'
            stateless = 'auto'
            [metrics]
            [alerts]
            to = []
            [[service]]
            protocol = 'tcp'
            address = '192.0.2.10'
            port = 80
            scheduler = 'rr'
            scheduler_flags = []
            mh_table_size = 4093
            one_packet = false
            on_down = 'keep'
            require = 'all'
            quorum = { up = 1, hysteresis = 0, notify_up = [], notify_down = [] }
            [[service.real]]
            address = '10.0.0.2'
            forward = 'tun'
            tunnel = { type = 'ipip', port = 6080, checksum = false }
            upper_threshold = 0
            lower_threshold = 0
            notify_up = []
            notify_down = []",
            "lbd.toml",
        )
        .unwrap();
    }

    #[test]
    fn syntax_errors_are_one_line_with_the_right_number() {
        for (text, expected) in [
            ("[options]\nsloppy_tcp = maybe\n", "lbd.toml:4: "),
            ("[options\n", "lbd.toml:3: "),
            ("x = 'open\n", "lbd.toml:3: "),
        ] {
            let error = refused(text);
            assert!(
                error.starts_with(expected) && !error.contains('\n'),
                "{error}"
            );
        }
    }

    #[test]
    fn duplicates_name_the_key_with_its_table() {
        assert_eq!(
            refused("[options]\nicmp_rate = 1\nicmp_rate = 2\n"),
            "lbd.toml:5: options.icmp_rate: duplicate key"
        );
        assert_eq!(
            refused("[options]\n[options]\n"),
            "lbd.toml:4: options: duplicate key"
        );
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        for (text, expected) in [
            (
                "[optoins]\n",
                "lbd.toml:3: optoins: unknown key; did you mean options?",
            ),
            (
                "[options]\nsloppytcp = true\n",
                "lbd.toml:4: options.sloppytcp: unknown key; did you mean sloppy_tcp?",
            ),
            (
                "[[service]]\nreals = 1\n",
                "lbd.toml:4: service.reals: unknown key; did you mean real?",
            ),
            (
                "[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.10'\nport = 80\nscheduler = 'rr'\n\
                 [[service.real]]\naddress = '10.0.0.2'\nweigth = 1\n",
                "lbd.toml:10: service.real.weigth: unknown key; did you mean weight?",
            ),
            (
                "[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.10'\nport = 80\n[service.health]\ntipe = 'tcp'\n",
                "lbd.toml:8: service.health.tipe: unknown key; did you mean type?",
            ),
            (
                "[timeouts]\nquux = '3s'\n",
                "lbd.toml:4: timeouts.quux: unknown key; the nearest valid key is udp",
            ),
        ] {
            assert_eq!(refused(text), expected);
        }
    }

    #[test]
    fn metrics_have_an_address() {
        let listen = |text: &str| {
            let text = format!("{DIRECTOR}[metrics]\nlisten = '{text}'\n");
            parse(&text, "lbd.toml").map(|config| config.metrics.listen)
        };
        let address = "[::1]:9106".parse().unwrap();
        assert_eq!(listen("[::1]:9106"), Ok(Some(address)));
        assert_eq!(
            listen("9106").unwrap_err().to_string(),
            "lbd.toml:4: metrics.listen: \"9106\" is not an address and a port: expected 127.0.0.1:9106"
        );
    }

    /// Whatever is done to a file, it is read or refused, and a refusal is one
    /// line of the file; `fuzz/` looks further.
    #[test]
    fn no_text_brings_the_reading_down() {
        const SHIPPED: &str = include_str!("../../../configs/lbd.toml");
        const WORDS: [&str; 16] = [
            "",
            "#",
            "\n",
            "[",
            "]]",
            "=",
            "'",
            "\"",
            "{",
            "}",
            ",",
            "-1",
            "99999999999999999999",
            "\\x",
            "é",
            "[[service]]\n",
        ];
        let everything: String = SHIPPED
            .lines()
            .map(|line| {
                line.strip_prefix('#')
                    .filter(|key| key.contains('='))
                    .unwrap_or(line)
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut outcomes = [0, 0];
        for round in 0..2000 {
            let source = if round % 2 == 0 { SHIPPED } else { &everything };
            // Most of the file is comments, and a change there is none.
            let lines: Vec<_> = source
                .lines()
                .filter(|line| !line.starts_with("# "))
                .collect();
            let mut text = String::new();
            for line in &lines {
                match rng.u8(..) {
                    0 => text.push_str(rng.choice(&lines).copied().unwrap_or_default()),
                    1 => {
                        let cut = line.char_indices().map(|(at, _)| at);
                        let at = rng.choice(cut.collect::<Vec<_>>()).unwrap_or(0);
                        text.push_str(&line[..at]);
                        text.push_str(rng.choice(WORDS).unwrap_or_default());
                        text.push_str(&line[at..]);
                    }
                    2 => {}
                    _ => text.push_str(line),
                }
                text.push('\n');
            }
            match parse(&text, "lbd.toml") {
                Ok(_) => outcomes[0] += 1,
                Err(ConfigError::Refused { line, problem, .. }) => {
                    assert!((1..=text.lines().count() + 1).contains(&line), "{line}");
                    assert!(
                        !problem.is_empty() && !problem.contains('\n'),
                        "{problem:?}"
                    );
                    outcomes[1] += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none.toml");
        let error = load(&missing).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read ") && error.contains("none.toml: No such file"),
            "{error}"
        );

        let latin1 = dir.path().join("latin1.toml");
        std::fs::write(&latin1, b"# one\n# f\xfcr\n").unwrap();
        let error = load(&latin1).unwrap_err().to_string();
        assert!(error.ends_with("latin1.toml:2: not UTF-8"), "{error}");
    }
}
