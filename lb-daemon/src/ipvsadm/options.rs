//! The words of ipvsadm's command line and how popt takes arguments apart:
//! bundles (`-Ln`), values in the same word (`-p300`, `-p=300`,
//! `--persistent=300`) or in the next, and the one value that may be absent.

use std::collections::VecDeque;

/// What ipvsadm is to do; every command line begins with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    AddService,
    EditService,
    DeleteService,
    Flush,
    List,
    AddReal,
    DeleteReal,
    EditReal,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
    Help,
    Version,
}

impl Verb {
    /// In messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Flush => "flush",
            Self::List => "list",
            Self::AddReal => "add-server",
            Self::DeleteReal => "delete-server",
            Self::EditReal => "edit-server",
            Self::Set => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::Zero => "zero",
            Self::Help => "help",
            Self::Version => "version",
        }
    }
}

/// What is given once at most, in the order in which ipvsadm checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Numeric,
    Connection,
    ServiceAddress,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    ForwardingMethod,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    Ops,
    PersistenceEngine,
    SchedulerFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
}

impl Kind {
    pub(super) const ALL: [Self; 34] = [
        Self::Numeric,
        Self::Connection,
        Self::ServiceAddress,
        Self::Scheduler,
        Self::Persistent,
        Self::Netmask,
        Self::RealServer,
        Self::ForwardingMethod,
        Self::Weight,
        Self::UpperThreshold,
        Self::LowerThreshold,
        Self::McastInterface,
        Self::Timeout,
        Self::Daemon,
        Self::Stats,
        Self::Rate,
        Self::Thresholds,
        Self::PersistentConn,
        Self::NoSort,
        Self::SyncId,
        Self::Exact,
        Self::Ops,
        Self::PersistenceEngine,
        Self::SchedulerFlags,
        Self::McastGroup,
        Self::McastPort,
        Self::McastTtl,
        Self::SyncMaxlen,
        Self::TunInfo,
        Self::TunType,
        Self::TunPort,
        Self::TunNocsum,
        Self::TunCsum,
        Self::TunRemcsum,
    ];

    /// In messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Connection => "connection",
            Self::ServiceAddress => "service-address",
            Self::Scheduler => "scheduler",
            Self::Persistent => "persistent",
            Self::Netmask => "netmask",
            Self::RealServer => "real-server",
            Self::ForwardingMethod => "forwarding-method",
            Self::Weight => "weight",
            Self::UpperThreshold => "u-threshold",
            Self::LowerThreshold => "l-threshold",
            Self::McastInterface => "mcast-interface",
            Self::Timeout => "timeout",
            Self::Daemon => "daemon",
            Self::Stats => "stats",
            Self::Rate => "rate",
            Self::Thresholds => "thresholds",
            Self::PersistentConn => "persistent-conn",
            Self::NoSort => "nosort",
            Self::SyncId => "syncid",
            Self::Exact => "exact",
            Self::Ops => "ops",
            Self::PersistenceEngine => "pe",
            Self::SchedulerFlags => "sched-flags",
            Self::McastGroup => "mcast-group",
            Self::McastPort => "mcast-port",
            Self::McastTtl => "mcast-ttl",
            Self::SyncMaxlen => "sync-maxlen",
            Self::TunInfo => "tun-info",
            Self::TunType => "tun-type",
            Self::TunPort => "tun-port",
            Self::TunNocsum => "tun-nocsum",
            Self::TunCsum => "tun-csum",
            Self::TunRemcsum => "tun-remcsum",
        }
    }
}

/// What a word of the command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Verb(Verb),
    Tcp,
    Udp,
    Sctp,
    Mark,
    Ipv6,
    /// The order is sorted anyhow.
    Sort,
    Dr,
    Tun,
    Nat,
    /// Any other, which is the only one of its kind.
    Option(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// A value that does not begin with `-`, if there is one.
    Perhaps,
}

struct Spelling {
    long: &'static str,
    short: Option<char>,
    takes: Takes,
    word: Word,
}

const fn of(long: &'static str, short: Option<char>, takes: Takes, word: Word) -> Spelling {
    Spelling {
        long,
        short,
        takes,
        word,
    }
}

const OPTIONS: &[Spelling] = {
    use Takes::{Nothing, Perhaps, Value};
    &[
        of(
            "add-service",
            Some('A'),
            Nothing,
            Word::Verb(Verb::AddService),
        ),
        of(
            "edit-service",
            Some('E'),
            Nothing,
            Word::Verb(Verb::EditService),
        ),
        of(
            "delete-service",
            Some('D'),
            Nothing,
            Word::Verb(Verb::DeleteService),
        ),
        of("clear", Some('C'), Nothing, Word::Verb(Verb::Flush)),
        of("list", Some('L'), Nothing, Word::Verb(Verb::List)),
        of("list", Some('l'), Nothing, Word::Verb(Verb::List)),
        of("zero", Some('Z'), Nothing, Word::Verb(Verb::Zero)),
        of("add-server", Some('a'), Nothing, Word::Verb(Verb::AddReal)),
        of(
            "edit-server",
            Some('e'),
            Nothing,
            Word::Verb(Verb::EditReal),
        ),
        of(
            "delete-server",
            Some('d'),
            Nothing,
            Word::Verb(Verb::DeleteReal),
        ),
        of("set", None, Nothing, Word::Verb(Verb::Set)),
        of("help", Some('h'), Nothing, Word::Verb(Verb::Help)),
        of("version", Some('v'), Nothing, Word::Verb(Verb::Version)),
        of("restore", Some('R'), Nothing, Word::Verb(Verb::Restore)),
        of("save", Some('S'), Nothing, Word::Verb(Verb::Save)),
        of("start-daemon", None, Value, Word::Verb(Verb::StartDaemon)),
        of("stop-daemon", None, Value, Word::Verb(Verb::StopDaemon)),
        of("tcp-service", Some('t'), Value, Word::Tcp),
        of("udp-service", Some('u'), Value, Word::Udp),
        of("sctp-service", None, Value, Word::Sctp),
        of("fwmark-service", Some('f'), Value, Word::Mark),
        of("ipv6", Some('6'), Nothing, Word::Ipv6),
        of("scheduler", Some('s'), Value, Word::Option(Kind::Scheduler)),
        of(
            "persistent",
            Some('p'),
            Perhaps,
            Word::Option(Kind::Persistent),
        ),
        of("netmask", Some('M'), Value, Word::Option(Kind::Netmask)),
        of(
            "real-server",
            Some('r'),
            Value,
            Word::Option(Kind::RealServer),
        ),
        of("masquerading", Some('m'), Nothing, Word::Nat),
        of("ipip", Some('i'), Nothing, Word::Tun),
        of("gatewaying", Some('g'), Nothing, Word::Dr),
        of("weight", Some('w'), Value, Word::Option(Kind::Weight)),
        of(
            "u-threshold",
            Some('x'),
            Value,
            Word::Option(Kind::UpperThreshold),
        ),
        of(
            "l-threshold",
            Some('y'),
            Value,
            Word::Option(Kind::LowerThreshold),
        ),
        of("numeric", Some('n'), Nothing, Word::Option(Kind::Numeric)),
        of(
            "connection",
            Some('c'),
            Nothing,
            Word::Option(Kind::Connection),
        ),
        of(
            "mcast-interface",
            None,
            Value,
            Word::Option(Kind::McastInterface),
        ),
        of("syncid", None, Value, Word::Option(Kind::SyncId)),
        of("timeout", None, Nothing, Word::Option(Kind::Timeout)),
        of("daemon", None, Nothing, Word::Option(Kind::Daemon)),
        of("stats", None, Nothing, Word::Option(Kind::Stats)),
        of("rate", None, Nothing, Word::Option(Kind::Rate)),
        of("thresholds", None, Nothing, Word::Option(Kind::Thresholds)),
        of(
            "persistent-conn",
            None,
            Nothing,
            Word::Option(Kind::PersistentConn),
        ),
        of("nosort", None, Nothing, Word::Option(Kind::NoSort)),
        of("sort", None, Nothing, Word::Sort),
        of("exact", Some('X'), Nothing, Word::Option(Kind::Exact)),
        of("ops", Some('o'), Nothing, Word::Option(Kind::Ops)),
        of("pe", None, Value, Word::Option(Kind::PersistenceEngine)),
        of(
            "sched-flags",
            Some('b'),
            Value,
            Word::Option(Kind::SchedulerFlags),
        ),
        of("mcast-group", None, Value, Word::Option(Kind::McastGroup)),
        of("mcast-port", None, Value, Word::Option(Kind::McastPort)),
        of("mcast-ttl", None, Value, Word::Option(Kind::McastTtl)),
        of("sync-maxlen", None, Value, Word::Option(Kind::SyncMaxlen)),
        of("tun-info", None, Nothing, Word::Option(Kind::TunInfo)),
        of("tun-type", None, Value, Word::Option(Kind::TunType)),
        of("tun-port", None, Value, Word::Option(Kind::TunPort)),
        of("tun-nocsum", None, Nothing, Word::Option(Kind::TunNocsum)),
        of("tun-csum", None, Nothing, Word::Option(Kind::TunCsum)),
        of("tun-remcsum", None, Nothing, Word::Option(Kind::TunRemcsum)),
    ]
};

/// A word with its value, if it takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) word: Word,
    pub(super) value: Option<String>,
}

/// Why popt gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misuse {
    Unknown,
    NoValue,
    UnwantedValue,
}

impl Misuse {
    /// popt's words.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown option",
            Self::NoValue => "missing argument",
            Self::UnwantedValue => "option does not take an argument",
        }
    }
}

/// Takes arguments apart, one option after the other.
pub(super) struct Scanner<'a> {
    left: std::slice::Iter<'a, String>,
    /// The argument that was taken last, for messages.
    pub(super) last: &'a str,
    /// What is left of a bundle of short options.
    bundle: &'a str,
    /// Arguments that are no options.
    pub(super) others: VecDeque<&'a str>,
    /// After `--` there are no options.
    is_over: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(args: &'a [String]) -> Self {
        Self {
            left: args.iter(),
            last: "",
            bundle: "",
            others: VecDeque::new(),
            is_over: false,
        }
    }

    /// The next option; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Given>, Misuse> {
        if !self.bundle.is_empty() {
            return self.short().map(Some);
        }
        while let Some(argument) = self.take() {
            if self.is_over || argument == "-" || !argument.starts_with('-') {
                self.others.push_back(argument);
            } else if argument == "--" {
                self.is_over = true;
            } else if let Some(long) = argument.strip_prefix("--") {
                return self.long(long).map(Some);
            } else {
                self.bundle = &argument[1..];
                return self.short().map(Some);
            }
        }
        Ok(None)
    }

    fn long(&mut self, text: &str) -> Result<Given, Misuse> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let option = OPTIONS.iter().find(|option| option.long == name);
        self.value(option.ok_or(Misuse::Unknown)?, value)
    }

    /// The first option of the bundle, which it shortens.
    fn short(&mut self) -> Result<Given, Misuse> {
        let mut letters = self.bundle.chars();
        let letter = letters.next();
        self.bundle = letters.as_str();
        let option = OPTIONS.iter().find(|option| option.short == letter);
        let option = option.ok_or(Misuse::Unknown)?;
        let rest = self.bundle;
        let assigned = rest.strip_prefix('=');
        if option.takes != Takes::Nothing && !rest.is_empty() {
            self.bundle = "";
            return self.value(option, Some(assigned.unwrap_or(rest)));
        }
        self.value(option, assigned)
    }

    fn value(&mut self, option: &Spelling, attached: Option<&str>) -> Result<Given, Misuse> {
        let value = match (option.takes, attached) {
            (Takes::Nothing, None) => None,
            (Takes::Nothing, Some(_)) => return Err(Misuse::UnwantedValue),
            (_, Some(value)) => Some(value.to_owned()),
            (Takes::Value, None) => Some(self.take().ok_or(Misuse::NoValue)?.to_owned()),
            (Takes::Perhaps, None) => {
                let next = self.left.as_slice().first();
                let is_value = next.is_some_and(|next| !next.starts_with('-'));
                is_value.then(|| self.take()).flatten().map(str::to_owned)
            }
        };
        Ok(Given {
            word: option.word,
            value,
        })
    }

    fn take(&mut self) -> Option<&'a str> {
        let argument = self.left.next()?;
        self.last = argument;
        Some(argument)
    }
}
