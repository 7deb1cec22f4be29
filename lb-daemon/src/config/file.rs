//! `lbd.toml`: read, checked against the whole contract, turned into a
//! [`Config`].
//!
//! The first mistake ends the reading; it is told in one line that names file,
//! line, key and, for an unknown key, the nearest valid one. The keys are in
//! [`schema`]; the file is read by hand along it and not by derived structs,
//! because only so does every error know its line and the key's full path.

mod defence;
mod director;
mod duration;
mod entry;
mod mark;
mod persistence;
mod schema;
mod sections;
mod service;
mod source;
mod table;
mod timeouts;

use std::{fs::File, io::Read, path::Path};

use toml::de::DeTable;

pub(crate) use self::duration::parse as duration;
use self::{source::Source, table::Table};
use super::model::Config;

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
        marks: mark::marks(&root)?,
        services: service::services(&root)?,
    };
    sections::check_later_sections(&root)?;
    sections::check_capacity(&root, &config)?;
    Ok(config)
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
                "[[service]]\n[service.health]\ntipe = 'tcp'\n",
                "lbd.toml:5: service.health.tipe: unknown key; did you mean type?",
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
    fn what_this_version_does_not_do_is_refused() {
        let service =
            "[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.10'\nport = 80\nscheduler = 'rr'\n";
        for (text, line, key) in [
            (
                "[metrics]\nlisten = '127.0.0.1:9106'\n".to_owned(),
                4,
                "metrics.listen",
            ),
            ("[alerts]\nsmtp = 'mail:25'\n".to_owned(), 4, "alerts.smtp"),
            (format!("{service}listen = []\n"), 8, "service.listen"),
            (
                format!("{service}quorum = {{ up = 2 }}\n"),
                8,
                "service.quorum.up",
            ),
            (
                format!("{service}[service.sorry_server]\naddress = '10.0.0.9'\n"),
                8,
                "service.sorry_server",
            ),
            (
                format!("{service}[[service.health]]\ntype = 'tcp'\n"),
                8,
                "service.health",
            ),
            (
                format!(
                    "{service}[[service.real]]\naddress = '10.0.0.2'\nnotify_up = ['/bin/true']\n"
                ),
                10,
                "service.real.notify_up",
            ),
        ] {
            let expected = format!("lbd.toml:{line}: {key}: not supported yet by this version");
            assert_eq!(refused(&text), expected, "{text}");
        }
        let managed = "[director]\ninterfaces = ['eth0']\nmanage_addresses = true\n";
        assert_eq!(
            parse(managed, "lbd.toml").unwrap_err().to_string(),
            "lbd.toml:3: director.manage_addresses: not supported yet by this version"
        );
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
