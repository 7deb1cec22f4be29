//! The command line's grammar. Flags that this version does not act on yet
//! are part of it, so that they are refused by name and not as unknown.

use std::{path::PathBuf, time::Duration};

use clap::{Args as Flags, Parser, Subcommand};

use super::{
    connections::ConnectionsArgs, health::HealthArgs, import::ImportArgs, marks::ALL_PORTS,
    simulate::SimulateArgs, timeouts::TimeoutsArgs,
};
use crate::{
    api::{MAX_CONFIRM_WITHIN_S, service_ref},
    config::{
        defence::MAX_RATE,
        file,
        identity::IpFamily,
        mark,
        persistence::{self, MAX_TIMEOUT_S},
        scheduling::MAX_SLOW_START_S,
        vocabulary,
    },
};
use lb_common::{limits::MAX_WEIGHT, scheduler::Scheduler};

/// In place of a value: there is to be none.
pub(super) const OFF: &str = "off";

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
    /// Real servers of a service: add, edit, delete, state
    #[command(subcommand)]
    Real(RealCommand),
    /// Which packets are marked for a fwmark service: add, delete, list
    #[command(subcommand)]
    Mark(MarkCommand),
    /// Services and reals, as ipvsadm -L prints them
    List(ListFlags),
    /// Connections, as ipvsadm -Lnc prints them: list, flush
    Connections(ConnectionsArgs),
    /// Every check: state, last result, reason, since when
    Health(HealthArgs),
    /// Version, interfaces, table fill, drops, warnings
    Status,
    /// Begin the counters at 0 again, of all services or of one
    Zero {
        /// tcp:192.0.2.10:80, or its name
        #[arg(value_name = "SERVICE", value_parser = service)]
        service: Option<String>,
    },
    /// How long idle connections are kept, as ipvsadm -L --timeout prints it
    Timeouts(TimeoutsArgs),
    /// Read the configuration file again; tell what changed or why it was refused
    Reload,
    /// What a reload would change; exit code 1 if anything
    Diff,
    /// Print everything that runs, as lbd.toml
    Save,
    /// Put the services, marks and timeouts of a file in the place of those that run
    Restore {
        /// As lbctl save prints it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// The same, and back again unless it is confirmed in time
    Apply {
        /// A configuration, as lbd --config takes it
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// 60s, 5m
        #[arg(long, value_name = "TIME", value_parser = confirm_within)]
        confirm_within: Duration,
    },
    /// Keep what was applied
    Confirm,
    /// Go back from what was applied, at once
    Undo,
    /// Delete every service and real that runs; a reload brings the file's back
    Flush {
        /// Yes, all of them
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Check a configuration file; needs no daemon
    Check {
        /// The file, as lbd --config takes it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// What another director's configuration means as lbd.toml; needs no daemon
    Import(ImportArgs),
    /// How a scheduler deals connections out, without a network; needs no daemon
    Simulate(SimulateArgs),
    /// Completions for a shell, to standard output; needs no daemon
    Completions {
        /// bash, elvish, fish, powershell or zsh
        #[arg(value_name = "SHELL", hide_possible_values = true)]
        shell: clap_complete::Shell,
    },
    /// ipvsadm 1.31's own command line, output and exit codes: alias ipvsadm='lbctl ipvsadm'
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// As ipvsadm has them; none: -L
        #[arg(
            value_name = "ARGS",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        arguments: Vec<String>,
    },
}

/// `lbctl service …`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Add a service
    Add {
        /// tcp:192.0.2.10:80, udp:[2001:db8::1]:53, sctp:192.0.2.10:2905, fwmark:80, fwmark6:80
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
    #[arg(help = schedulers("; new services: wlc"), short, long, value_name = "SCHED")]
    pub scheduler: Option<String>,
    /// All of its flags: sh-fallback and sh-port, or mh-fallback and mh-port; "off": none
    #[arg(short = 'b', long, value_name = "FLAG,…", value_delimiter = ',')]
    pub scheduler_flags: Vec<String>,
    /// mh: places of its table, a prime
    #[arg(long, value_name = "N")]
    pub mh_table_size: Option<u32>,
    /// How long a real that comes up takes to its whole share: 30s, 5m; "off": it has it at once
    #[arg(long, value_name = "TIME", value_parser = slow_start)]
    pub slow_start: Option<SlowStartFlag>,
    /// How packets reach its reals
    #[arg(short, long, value_name = "METHOD", value_parser = ["dr", "nat", "tun", "local"])]
    pub forward: Option<String>,
    /// nat: addresses to stand in the clients' place; "off": the clients' own
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',', value_parser = masquerade)]
    pub masquerade: Vec<String>,
    /// Keep clients with their real, for 360 s or as given; "off": no longer
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, value_parser = persistence_time)]
    pub persistent: Option<Option<PersistenceTime>>,
    /// With -p: clients of one network stay together; 255.255.255.0, or a prefix's length
    #[arg(short = 'M', long, value_name = "NETMASK", value_parser = netmask)]
    pub netmask: Option<(u8, Option<IpFamily>)>,
    /// udp: schedule every datagram
    #[arg(long, conflicts_with = "no_ops")]
    pub ops: bool,
    /// udp: schedule every connection
    #[arg(long)]
    pub no_ops: bool,
    /// What becomes of a failed real's connections
    #[arg(long, value_name = "WHAT", value_parser = ["keep", "reset"])]
    pub on_down: Option<String>,
    /// New connections a second that it takes, and how many at once; "off": any number
    #[arg(long, value_name = "RATE[,BURST]", value_parser = rate_limit)]
    pub rate_limit: Option<RateLimitFlag>,
}

/// `-p`'s value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersistenceTime {
    Off,
    Seconds(u32),
}

/// `--rate-limit`'s value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitFlag {
    Off,
    On { rate: u32, burst: Option<u32> },
}

/// `--slow-start`'s value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowStartFlag {
    Off,
    Seconds(u64),
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
    /// Take a real out of service or back; established connections go on
    State {
        /// tcp:192.0.2.10:80, or its name
        #[arg(value_name = "SERVICE", value_parser = service)]
        service: String,
        /// 10.0.0.2:80, or an address alone for the service's port
        #[arg(value_name = "REAL", value_parser = real)]
        real: String,
        /// drain: persistent clients still come; maint: nobody new at all
        #[arg(value_name = "STATE", value_parser = ["ready", "drain", "maint"])]
        state: String,
    },
}

/// `lbctl mark …`.
#[derive(Debug, Subcommand)]
pub enum MarkCommand {
    /// Mark packets
    Add {
        #[command(flatten)]
        rule: MarkFlags,
    },
    /// Mark them no longer
    Delete {
        #[command(flatten)]
        rule: MarkFlags,
    },
    /// List what is marked, one line each
    List,
}

#[derive(Clone, Debug, Flags)]
pub struct MarkFlags {
    /// 80 for the service fwmark:80 or fwmark6:80
    #[arg(value_name = "MARK", value_parser = clap::value_parser!(u32).range(1..))]
    pub mark: u32,
    /// Protocol of the packets
    #[arg(value_name = "PROTO", value_parser = ["tcp", "udp", "sctp"])]
    pub protocol: String,
    /// 192.0.2.10, or a prefix
    #[arg(value_name = "DESTINATION", value_parser = destination)]
    pub destination: String,
    /// 80,443,10000-20000, or all
    #[arg(value_name = "PORTS", default_value = ALL_PORTS, hide_default_value = true, value_parser = ports)]
    pub ports: String,
}

#[derive(Debug, Flags)]
pub struct RealFlags {
    /// How packets reach it; default: the service's
    #[arg(short, long, value_name = "METHOD", value_parser = ["dr", "nat", "tun", "local"])]
    pub forward: Option<String>,
    /// Its share, 0 to 65535; 0: no new connections
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_WEIGHT)))]
    pub weight: Option<u32>,
    /// Connections from which on it is overloaded; 0: never
    #[arg(short = 'x', long, value_name = "UPPER")]
    pub upper_threshold: Option<u32>,
    /// Connections below which it no longer is; 0: 75 % of the upper
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
    /// What passes in a second
    #[arg(long, conflicts_with_all = ["thresholds", "persistent_conn"])]
    pub rate: bool,
    /// Upper and lower thresholds
    #[arg(long, conflicts_with = "persistent_conn")]
    pub thresholds: bool,
    /// Persistent connections
    #[arg(long)]
    pub persistent_conn: bool,
}

/// Their names, so that a new one is in the help by itself.
pub(super) fn schedulers(rest: &str) -> String {
    let names: Vec<_> = Scheduler::ALL.iter().map(|of| of.name()).collect();
    format!("One of {}{rest}", names.join(", "))
}

fn confirm_within(text: &str) -> Result<Duration, String> {
    let time = file::duration(text)?;
    if (1..=MAX_CONFIRM_WITHIN_S).contains(&time.as_secs()) && time.subsec_nanos() == 0 {
        Ok(time)
    } else {
        Err("whole seconds, at most a day".into())
    }
}

fn service_identity(text: &str) -> Result<String, String> {
    vocabulary::service_id(text).map(|_| text.to_owned())
}

fn masquerade(text: &str) -> Result<String, String> {
    if text == OFF {
        return Ok(text.to_owned());
    }
    vocabulary::address(text).map(|_| text.to_owned())
}

pub(super) fn service(text: &str) -> Result<String, String> {
    service_ref(text).map(|_| text.to_owned())
}

/// Seconds, or `off`.
fn persistence_time(text: &str) -> Result<PersistenceTime, String> {
    if text == OFF {
        return Ok(PersistenceTime::Off);
    }
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| (1..=MAX_TIMEOUT_S).contains(seconds))
        .map(PersistenceTime::Seconds)
        .ok_or_else(|| format!("{text:?} is not a time: expected 1 to {MAX_TIMEOUT_S} or off"))
}

/// A duration of whole seconds as in `lbd.toml`, or `off`.
fn slow_start(text: &str) -> Result<SlowStartFlag, String> {
    if text == OFF {
        return Ok(SlowStartFlag::Off);
    }
    let time = file::duration(text)?;
    let range = Duration::from_secs(1)..=Duration::from_secs(MAX_SLOW_START_S.into());
    if range.contains(&time) && time.subsec_nanos() == 0 {
        Ok(SlowStartFlag::Seconds(time.as_secs()))
    } else {
        Err(format!(
            "{text:?} is out of range: whole seconds from 1s to {MAX_SLOW_START_S}s"
        ))
    }
}

fn netmask(text: &str) -> Result<(u8, Option<IpFamily>), String> {
    persistence::netmask(text)
}

/// `1000`, `1000,2000` or `off`.
fn rate_limit(text: &str) -> Result<RateLimitFlag, String> {
    if text == OFF {
        return Ok(RateLimitFlag::Off);
    }
    let number = |text: &str| {
        let number = text.parse().ok();
        let number = number.filter(|number| (1..=MAX_RATE).contains(number));
        number.ok_or_else(|| {
            format!("{text:?} is not a rate: expected 1 to {MAX_RATE}, or two with a comma, or off")
        })
    };
    let (rate, burst) = match text.split_once(',') {
        Some((rate, burst)) => (rate, Some(burst)),
        None => (text, None),
    };
    Ok(RateLimitFlag::On {
        rate: number(rate)?,
        burst: burst.map(number).transpose()?,
    })
}

fn destination(text: &str) -> Result<String, String> {
    mark::destination(text).map(|_| text.to_owned())
}

fn ports(text: &str) -> Result<String, String> {
    mark::ports(text).map(|_| text.to_owned())
}

pub(super) fn real(text: &str) -> Result<String, String> {
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
            "lbctl service add fwmark:80 -s rr",
            "lbctl service edit fwmark6:80 -s rr",
            "lbctl service edit web -s rr",
            "lbctl service edit web -s mh -b mh-port --mh-table-size 65537",
            "lbctl service edit web -b off --slow-start 30s",
            "lbctl service edit web --slow-start off",
            "lbctl service edit web -f nat --masquerade 10.0.0.250,10.0.0.251",
            "lbctl service edit web --masquerade off",
            "lbctl service edit web -p off --no-ops --on-down reset --rate-limit 1000,2000",
            "lbctl service edit web -M 255.255.255.0 --rate-limit off",
            "lbctl real state web 10.0.0.2 drain",
            "lbctl mark add 80 tcp 192.0.2.10 80,443,10000-20000",
            "lbctl mark delete 80 udp 2001:db8::/32",
            "lbctl mark list -j",
            "lbctl list -n --thresholds",
            "lbctl list --persistent-conn",
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
            "lbctl connections",
            "lbctl connections list web --limit 20 -j",
            "lbctl connections flush tcp:192.0.2.10:80 10.0.0.2:80",
            "lbctl status --socket /tmp/s",
            "lbctl timeouts",
            "lbctl timeouts set --tcp 900 --tcp-fin 120 --udp 300",
            "lbctl reload",
            "lbctl check lbd.toml",
            "lbctl import keepalived keepalived.conf",
            "lbctl import ipvsadm save --interface eth0 eth1",
            "lbctl import lvs-cf lvs.cf --interface eth0 --interface eth1 -j",
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
            ("lbctl service show fwmark:0", "a mark is from 1"),
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
            ("lbctl service edit web -p 0", "is not a time"),
            (
                "lbctl service edit web --slow-start 30",
                "is not a duration",
            ),
            ("lbctl service edit web --slow-start 500ms", "whole seconds"),
            ("lbctl service edit web --slow-start 2h", "out of range"),
            ("lbctl service edit web -M 255.0.255.0", "is not a netmask"),
            (
                "lbctl service edit web --ops --no-ops",
                "cannot be used with",
            ),
            ("lbctl service edit web --rate-limit 0", "is not a rate"),
            (
                "lbctl real state web 10.0.0.2 down",
                "[possible values: ready, drain, maint]",
            ),
            ("lbctl mark add 0 tcp 192.0.2.10 80", "0 is not in"),
            ("lbctl mark add 80 tcp 192.0.2.10 http", "is not a port"),
            (
                "lbctl mark add 80 tcp www 80",
                "is not an address or prefix",
            ),
            ("lbctl frobnicate", "unrecognized subcommand"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.to_string().contains(part), "{line}: {error}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
