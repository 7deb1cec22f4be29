//! The command line's grammar. Flags that this version does not act on yet
//! are part of it, so that they are refused by name and not as unknown.

use std::path::PathBuf;

use clap::{Args as Flags, Parser, Subcommand};

use crate::{api::service_ref, config::vocabulary};
use lb_common::limits::MAX_WEIGHT;

/// In place of addresses: none.
pub(super) const MASQUERADE_OFF: &str = "off";

/// Looks at and changes a running lbd.
#[derive(Debug, Parser)]
#[command(
    name = "lbctl",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Args {
    /// Socket of the daemon
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "/run/lbd/lbd.sock",
        display_order = 1000
    )]
    pub socket: PathBuf,
    /// Print JSON, as the API has it
    #[arg(short, long, global = true, display_order = 1001)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Virtual services: add, edit, delete, list, show
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Real servers of a service: add, edit, delete
    #[command(subcommand)]
    Real(RealCommand),
    /// Services and reals, as ipvsadm -L prints them
    List(ListFlags),
    /// Version, interfaces, table fill, drops, warnings
    Status,
    /// Read the configuration file again; tell what changed or why it was refused
    Reload,
    /// Check a configuration file; needs no daemon
    Check {
        /// The file, as lbd --config takes it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// `lbctl service …`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Add a service
    Add {
        /// tcp:192.0.2.10:80, udp:[2001:db8::1]:53, sctp:192.0.2.10:2905
        #[arg(value_name = "SERVICE", value_parser = service_identity)]
        service: String,
        #[command(flatten)]
        flags: ServiceFlags,
    },
    /// Change a service; what is not named stays
    Edit {
        /// tcp:192.0.2.10:80, or its name
        #[arg(value_name = "SERVICE", value_parser = service)]
        service: String,
        #[command(flatten)]
        flags: ServiceFlags,
    },
    /// Delete a service and its reals
    Delete {
        /// tcp:192.0.2.10:80, or its name
        #[arg(value_name = "SERVICE", value_parser = service)]
        service: String,
        /// Cut its connections; else they may finish
        #[arg(long)]
        now: bool,
    },
    /// List the services, one line each
    List,
    /// Show a service and its reals
    Show {
        /// tcp:192.0.2.10:80, or its name
        #[arg(value_name = "SERVICE", value_parser = service)]
        service: String,
    },
}

#[derive(Debug, Flags)]
pub struct ServiceFlags {
    /// A name for it: letters, digits, ".", "_", "-"
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// rr or wrr
    #[arg(short, long, value_name = "SCHED")]
    pub scheduler: Option<String>,
    /// The scheduler's flags
    #[arg(short = 'b', long, value_name = "FLAG,…", value_delimiter = ',')]
    pub scheduler_flags: Vec<String>,
    /// How packets reach its reals
    #[arg(short, long, value_name = "METHOD", value_parser = ["dr", "nat", "tun", "local"])]
    pub forward: Option<String>,
    /// nat: addresses to stand in the clients' place; "off": the clients' own
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',', value_parser = masquerade)]
    pub masquerade: Vec<String>,
    /// Keep clients with their real (not supported yet)
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1)]
    pub persistent: Option<Option<u32>>,
    /// Clients of one network stay together (not supported yet)
    #[arg(short = 'M', long, value_name = "NETMASK")]
    pub netmask: Option<String>,
    /// Schedule every datagram (not supported yet)
    #[arg(long)]
    pub ops: bool,
}

/// `lbctl real …`.
#[derive(Debug, Subcommand)]
pub enum RealCommand {
    /// Add a real to a service
    Add {
        /// tcp:192.0.2.10:80, or its name
        #[arg(value_name = "SERVICE", value_parser = service)]
        service: String,
        /// 10.0.0.2:80, or an address alone for the service's port
        #[arg(value_name = "REAL", value_parser = real)]
        real: String,
        #[command(flatten)]
        flags: RealFlags,
    },
    /// Change a real; what is not named stays
    Edit {
        /// tcp:192.0.2.10:80, or its name
        #[arg(value_name = "SERVICE", value_parser = service)]
        service: String,
        /// 10.0.0.2:80, or an address alone for the service's port
        #[arg(value_name = "REAL", value_parser = real)]
        real: String,
        #[command(flatten)]
        flags: RealFlags,
    },
    /// Delete a real
    Delete {
        /// tcp:192.0.2.10:80, or its name
        #[arg(value_name = "SERVICE", value_parser = service)]
        service: String,
        /// 10.0.0.2:80, or an address alone for the service's port
        #[arg(value_name = "REAL", value_parser = real)]
        real: String,
        /// Cut its connections; else they may finish
        #[arg(long)]
        now: bool,
    },
}

#[derive(Debug, Flags)]
pub struct RealFlags {
    /// How packets reach it; default: the service's
    #[arg(short, long, value_name = "METHOD", value_parser = ["dr", "nat", "tun", "local"])]
    pub forward: Option<String>,
    /// Its share, 0 to 65535; 0: no new connections
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_WEIGHT)))]
    pub weight: Option<u32>,
    /// Connections from which on it is overloaded (not supported yet)
    #[arg(short = 'x', long, value_name = "UPPER")]
    pub upper_threshold: Option<u32>,
    /// Connections below which it no longer is (not supported yet)
    #[arg(short = 'y', long, value_name = "LOWER")]
    pub lower_threshold: Option<u32>,
    /// Encapsulation for tun
    #[arg(long, value_name = "TYPE", value_parser = ["ipip", "gue", "gre"])]
    pub tun_type: Option<String>,
    /// Port of a gue tunnel
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub tun_port: Option<u16>,
    /// gue, gre: with a checksum
    #[arg(long, conflicts_with = "tun_nocsum")]
    pub tun_csum: bool,
    /// gue, gre: without one
    #[arg(long)]
    pub tun_nocsum: bool,
}

#[derive(Clone, Copy, Debug, Flags)]
pub struct ListFlags {
    /// Addresses and ports as numbers
    #[arg(short, long)]
    pub numeric: bool,
    /// Connections, packets and bytes
    #[arg(long, conflicts_with_all = ["rate", "thresholds", "persistent_conn"])]
    pub stats: bool,
    /// Counters in full, not scaled
    #[arg(long)]
    pub exact: bool,
    /// What passes in a second (not supported yet)
    #[arg(long, conflicts_with_all = ["thresholds", "persistent_conn"])]
    pub rate: bool,
    /// Upper and lower thresholds (not supported yet)
    #[arg(long, conflicts_with = "persistent_conn")]
    pub thresholds: bool,
    /// Persistent connections (not supported yet)
    #[arg(long)]
    pub persistent_conn: bool,
}

fn service_identity(text: &str) -> Result<String, String> {
    vocabulary::service_id(text).map(|_| text.to_owned())
}

fn masquerade(text: &str) -> Result<String, String> {
    if text == MASQUERADE_OFF {
        return Ok(text.to_owned());
    }
    vocabulary::address(text).map(|_| text.to_owned())
}

fn service(text: &str) -> Result<String, String> {
    service_ref(text).map(|_| text.to_owned())
}

fn real(text: &str) -> Result<String, String> {
    vocabulary::real(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_grammar_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_contracts_forms_are_understood() {
        for line in [
            "lbctl service add tcp:192.0.2.10:80 --name web -s wrr -b sh-port,sh-fallback -f nat -p 300 -M 24 --ops",
            "lbctl service add udp:[2001:db8::1]:53 -s rr -p",
            "lbctl service add sctp:[2001:db8::1]:2905 -s rr -f local",
            "lbctl service edit web -s rr",
            "lbctl service edit web -f nat --masquerade 10.0.0.250,10.0.0.251",
            "lbctl service edit web --masquerade off",
            "lbctl service delete tcp:192.0.2.10:80 --now",
            "lbctl service list --json",
            "lbctl -j service show web",
            "lbctl real add web 10.0.0.2:80 -f tun -w 3 -x 100 -y 50 --tun-type gue --tun-port 6080",
            "lbctl real edit web [2001:db8::2] -f tun --tun-type gre --tun-csum",
            "lbctl real edit web 10.0.0.2 --tun-nocsum",
            "lbctl real edit tcp:192.0.2.10:80 10.0.0.2 -w 0",
            "lbctl real delete web [2001:db8::2]:80 --now",
            "lbctl list -n --stats --exact",
            "lbctl list",
            "lbctl status --socket /tmp/s",
            "lbctl reload",
            "lbctl check lbd.toml",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn wrong_usage_is_told_and_exits_with_2() {
        for (line, part) in [
            ("lbctl service add web -s rr", "is not a service"),
            (
                "lbctl service add tcp:300.1.1.1:80 -s rr",
                "is not a service",
            ),
            ("lbctl service show fwmark:80", "not supported yet"),
            ("lbctl real add web www:80", "is not a real"),
            (
                "lbctl real add web 10.0.0.2 --tun-csum --tun-nocsum",
                "cannot be used with",
            ),
            ("lbctl real add web 10.0.0.2 --tun-port 0", "0 is not in"),
            (
                "lbctl service edit web --masquerade 10.0.0.x",
                "is not an IP address",
            ),
            ("lbctl real add web 10.0.0.2 -w 65536", "65536"),
            (
                "lbctl real add web 10.0.0.2 -f lvs",
                "[possible values: dr, nat, tun, local]",
            ),
            ("lbctl list --stats --rate", "cannot be used with"),
            ("lbctl frobnicate", "unrecognized subcommand"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.to_string().contains(part), "{line}: {error}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
