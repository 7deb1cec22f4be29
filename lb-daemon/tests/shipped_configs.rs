//! The files of `configs/` are what people start from: each loads, `lbd.toml`
//! explains every key with its true default, and systemd takes the units.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lb_daemon::config::{file, model::ForwardingMethod};
use schema::{Default, Key, Keys};

/// The daemon's own list of keys.
#[path = "../src/config/file/schema.rs"]
#[expect(dead_code, reason = "the daemon uses more of it")]
mod schema;

fn configs() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("the workspace").join("configs")
}

fn read(name: &str) -> String {
    let path = configs().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn toml_files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_file_loads_and_has_a_service() {
    let mut files = toml_files(&configs());
    files.extend(toml_files(&configs().join("examples")));
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let config = file::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(!config.services.is_empty(), "{}", path.display());
        for service in &config.services {
            assert!(
                !service.reals.is_empty(),
                "{}: {}",
                path.display(),
                service.id
            );
        }
    }
}

#[test]
fn each_example_shows_its_method() {
    for method in ForwardingMethod::ALL {
        let path = configs().join(format!("examples/{}.toml", method.name()));
        let config = file::load(&path).unwrap();
        let reals = config.services.iter().flat_map(|service| &service.reals);
        assert!(
            reals.into_iter().all(|real| real.forward == method),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_values_shown_are_the_defaults() {
    let shown = file::load(configs().join("lbd.toml")).unwrap();
    let minimal = file::parse("[director]\ninterfaces = ['eth0']\n", "minimal").unwrap();
    assert_eq!(shown.director, minimal.director);
    assert_eq!(shown.capacity, minimal.capacity);
    assert_eq!(shown.timeouts, minimal.timeouts);
    assert_eq!(shown.options, minimal.options);
    assert_eq!(shown.defence, minimal.defence);
    assert_eq!(shown.marks, minimal.marks);
}

#[test]
fn the_defaults_of_what_comes_later_are_right() {
    let later: BTreeSet<_> = sections()
        .iter()
        .flat_map(|(section, keys)| keys.iter().map(move |(name, key)| (*section, *name, key)))
        .filter(|(.., key)| matches!(key, Key::Later(default) if !matches!(default, Default::Absent(_))))
        .map(|(section, name, _)| (section.to_owned(), name.to_owned()))
        .collect();
    let mut uncommented = 0;
    let text: String = lines(&read("lbd.toml"))
        .map(|line| {
            let is_later = line
                .key
                .is_some_and(|key| later.contains(&(line.section.clone(), key.to_owned())));
            uncommented += usize::from(is_later);
            let text = if is_later {
                line.text.trim_start_matches('#')
            } else {
                line.text
            };
            format!("{text}\n")
        })
        .collect();
    assert_eq!(
        uncommented,
        later.len(),
        "each stands there once, commented out"
    );
    file::parse(&text, "lbd.toml, defaults written out").unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn every_key_is_explained_and_none_is_made_up() {
    let mut expected = BTreeSet::new();
    for (section, keys) in sections() {
        for (name, key) in keys {
            // Once is enough: a real's checks are a service's.
            if (section, *name) == ("service.real", "health") {
                continue;
            }
            let path = join(section, name);
            let inner: Vec<&str> = match key {
                Key::Later(Default::Absent(keys)) => keys.to_vec(),
                Key::Later(Default::Table(entries)) => {
                    entries.iter().map(|(name, _)| *name).collect()
                }
                _ => Vec::new(),
            };
            expected.extend(inner.into_iter().map(|name| join(&path, name)));
            expected.insert(path);
        }
    }
    let text = read("lbd.toml");
    let mut shown = BTreeSet::new();
    for line in lines(&text) {
        shown.insert(line.section.clone());
        let Some(key) = line.key else { continue };
        let path = join(&line.section, key);
        let table = line
            .text
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'));
        let fields = table.into_iter().flat_map(|(fields, _)| fields.split(','));
        let fields = fields.filter_map(|field| Some(field.split_once('=')?.0.trim()));
        shown.extend(fields.map(|field| join(&path, field)));
        shown.insert(path);
    }
    shown.remove("");
    let missing: Vec<_> = expected.difference(&shown).collect();
    let made_up: Vec<_> = shown.difference(&expected).collect();
    assert!(missing.is_empty(), "not in lbd.toml: {missing:?}");
    assert!(made_up.is_empty(), "lbd knows no such keys: {made_up:?}");
}

/// Systems before systemd 253 are told in the unit what to change; there it is
/// verified so changed.
#[test]
fn systemd_takes_the_units() {
    let Some(version) = systemd_version() else {
        eprintln!("skipped: there is no systemd-analyze here");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    for name in ["lbd.service", "lbd-decap.service"] {
        let mut unit = read(name).replace("/usr/local/sbin/lbd", env!("CARGO_BIN_EXE_lbd"));
        if version < 253 {
            unit = unit
                .replace("\nType=notify-reload\n", "\nType=notify\n")
                .replace("\n#ExecReload=", "\nExecReload=");
        }
        let path = directory.path().join(name);
        fs::write(&path, unit).unwrap();
        let output = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        assert!(!said.contains(name), "{name}: {said}");
    }
}

fn systemd_version() -> Option<u32> {
    let output = Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace()
        .nth(1)?
        .split(['.', '~', '-'])
        .next()?
        .parse()
        .ok()
}

fn sections() -> [(&'static str, Keys); 15] {
    [
        ("", schema::ROOT),
        ("director", schema::DIRECTOR),
        ("capacity", schema::CAPACITY),
        ("timeouts", schema::TIMEOUTS),
        ("options", schema::OPTIONS),
        ("defence", schema::DEFENCE),
        ("defence.rate_limit", schema::SOURCE_LIMIT),
        ("firewall_mark", schema::FIREWALL_MARK),
        ("metrics", schema::METRICS),
        ("alerts", schema::ALERTS),
        ("service", schema::SERVICE),
        ("service.persistence", schema::PERSISTENCE),
        ("service.rate_limit", schema::RATE_LIMIT),
        ("service.real", schema::REAL),
        ("service.real.tunnel", schema::TUNNEL),
    ]
}

/// A line of `lbd.toml` and what it sets, also where it is commented out.
struct Line<'a> {
    text: &'a str,
    /// Path of the table that it stands in.
    section: String,
    key: Option<&'a str>,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut section = String::new();
    text.lines().map(move |text| {
        let content = text.strip_prefix('#').unwrap_or(text);
        if let Some(header) = content.strip_prefix('[') {
            let end = header.find(']').expect("a header has an end");
            section = header[..end].trim_start_matches('[').to_owned();
        }
        let is_key = |word: &&str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let key = content
            .split_once('=')
            .map(|(key, _)| key.trim_end())
            .filter(is_key);
        Line {
            text,
            section: section.clone(),
            key,
        }
    })
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}
