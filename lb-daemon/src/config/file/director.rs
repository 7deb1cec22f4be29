//! `[director]`.

use std::path::PathBuf;

use super::{ConfigError, entry::Entry, schema, sections::flag, table::Table};
use crate::config::{
    model::{Director, XdpMode},
    vocabulary::unknown,
};

/// Longest interface name: the kernel's IFNAMSIZ less the final NUL.
const MAX_INTERFACE_NAME_BYTES: usize = 15;

/// Longest socket path: unix(7) has 108 bytes, less the final NUL and the
/// `.new` that the path has until the socket is ready.
const MAX_SOCKET_PATH_BYTES: usize = 103;

pub(super) fn director(root: &Table<'_>) -> Result<Director, ConfigError> {
    let table = root.require("director")?.table(schema::DIRECTOR)?;
    let path = |key: &'static str, default: &str| {
        table
            .get(key)
            .map_or_else(|| Ok(PathBuf::from(default)), |entry| entry.absolute_path())
    };
    Ok(Director {
        interfaces: interfaces(&table.require("interfaces")?)?,
        xdp_mode: table
            .get("xdp_mode")
            .map_or(Ok(XdpMode::Auto), |entry| entry.parsed(xdp_mode))?,
        pin_dir: path("pin_dir", "/sys/fs/bpf/lbd")?,
        state_dir: path("state_dir", "/var/lib/lbd")?,
        socket: socket(&table, path("socket", "/run/lbd/lbd.sock")?)?,
        socket_group: table
            .get("socket_group")
            .map(|entry| entry.parsed(group_name))
            .transpose()?,
        manage_addresses: flag(&table, "manage_addresses")?,
        vip_interface: table
            .get("vip_interface")
            .map_or_else(|| Ok("lo".into()), |entry| entry.parsed(interface_name))?,
        detach_on_exit: flag(&table, "detach_on_exit")?,
    })
}

fn socket(table: &Table<'_>, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        return Err(table.error(
            "socket",
            format!("longer than {MAX_SOCKET_PATH_BYTES} bytes"),
        ));
    }
    Ok(path)
}

fn interfaces(entry: &Entry<'_>) -> Result<Vec<String>, ConfigError> {
    let mut names = Vec::new();
    for element in entry.elements("an array")? {
        let name = element.parsed(interface_name)?;
        if names.contains(&name) {
            return Err(element.error(format!("{name} is listed twice")));
        }
        names.push(name);
    }
    if names.is_empty() {
        return Err(entry.error("at least one interface is needed"));
    }
    Ok(names)
}

/// What the kernel takes for a name (`dev_valid_name`).
fn interface_name(name: &str) -> Result<String, String> {
    let is_valid = !name.is_empty()
        && name.len() <= MAX_INTERFACE_NAME_BYTES
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
    if is_valid {
        Ok(name.to_owned())
    } else {
        Err(format!("{name:?} is not an interface's name"))
    }
}

fn xdp_mode(word: &str) -> Result<XdpMode, String> {
    match word {
        "auto" => Ok(XdpMode::Auto),
        "native" => Ok(XdpMode::Native),
        "generic" => Ok(XdpMode::Generic),
        _ => Err(unknown("mode", word, &["auto", "native", "generic"])),
    }
}

fn group_name(name: &str) -> Result<String, String> {
    if name.is_empty() {
        Err("empty; leave the key out for root only".into())
    } else {
        Ok(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use crate::config::model::XdpMode;

    const DIRECTOR: &str = "[director]\ninterfaces = ['eth0']\n";

    fn refused(text: &str) -> String {
        parse(text, "lbd.toml").unwrap_err().to_string()
    }

    #[test]
    fn the_director_needs_interfaces() {
        for (text, expected) in [
            ("", "lbd.toml:1: director: missing"),
            ("\n[director]\n", "lbd.toml:2: director.interfaces: missing"),
            (
                "[director]\ninterfaces = []\n",
                "lbd.toml:2: director.interfaces: at least one interface is needed",
            ),
            (
                "[director]\ninterfaces = [\n'eth0',\n'eth0']\n",
                "lbd.toml:4: director.interfaces: eth0 is listed twice",
            ),
            (
                "[director]\ninterfaces = 'eth0'\n",
                "lbd.toml:2: director.interfaces: expected an array, found string",
            ),
            (
                "[director]\ninterfaces = ['this-is-too-long']\n",
                "lbd.toml:2: director.interfaces: \"this-is-too-long\" is not an interface's name",
            ),
        ] {
            assert_eq!(refused(text), expected);
        }
    }

    #[test]
    fn paths_are_absolute_and_fit_a_socket() {
        assert_eq!(
            refused(&format!("{DIRECTOR}state_dir = 'lbd'\n")),
            "lbd.toml:3: director.state_dir: \"lbd\" is not an absolute path"
        );
        assert_eq!(
            refused(&format!("{DIRECTOR}socket = '/{}'\n", "x".repeat(103))),
            "lbd.toml:3: director.socket: longer than 103 bytes"
        );
    }

    #[test]
    fn vips_are_managed_where_asked_for() {
        let director = |text: &str| parse(text, "lbd.toml").unwrap().director;
        let default = director(DIRECTOR);
        assert!(!default.manage_addresses);
        assert_eq!(default.vip_interface, "lo");
        let managed = director(&format!(
            "{DIRECTOR}manage_addresses = true\nvip_interface = 'dummy0'\n"
        ));
        assert!(managed.manage_addresses);
        assert_eq!(managed.vip_interface, "dummy0");
        assert_eq!(
            refused(&format!("{DIRECTOR}vip_interface = ''\n")),
            "lbd.toml:3: director.vip_interface: \"\" is not an interface's name"
        );
    }

    #[test]
    fn modes_are_words() {
        let config = parse(&format!("{DIRECTOR}xdp_mode = 'generic'\n"), "lbd.toml").unwrap();
        assert_eq!(config.director.xdp_mode, XdpMode::Generic);
        assert_eq!(
            refused(&format!("{DIRECTOR}xdp_mode = 'nativ'\n")),
            "lbd.toml:3: director.xdp_mode: unknown mode \"nativ\"; did you mean native?"
        );
    }
}
