//! What a health check asks of a real and which answer it takes: a [`Probe`]
//! by type, each with the keys that this type has in `lbd.toml`.

pub(crate) mod words;

use std::{path::PathBuf, str::FromStr};

use regex::bytes::{Regex, RegexBuilder};

use super::vocabulary::unknown;

/// One question, with the answers that count as success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A connection comes about.
    Tcp,
    Http(Http),
    Https(Http, Tls),
    /// An ICMP error is a failure; silence is one where an answer is expected.
    Udp(Exchange),
    Dns(Dns),
    /// An echo comes back.
    Icmp,
    /// The greeting, and the answer to HELO with this name; none: our own.
    Smtp(Option<String>),
    SendExpect(Exchange),
    Exec(Exec),
    /// The file's content sets the weight.
    File(PathBuf),
    /// The health service answers SERVING for this service; empty: the whole
    /// server.
    Grpc(String),
    Mysql,
    Redis,
    /// The real says itself how it is: `75%`, `drain`, `up`, `down`.
    Agent,
}

/// The `type` of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeType {
    Tcp,
    Http,
    Https,
    Udp,
    Dns,
    Icmp,
    Smtp,
    SendExpect,
    Exec,
    File,
    Grpc,
    Mysql,
    Redis,
    Agent,
}

/// A request and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Begins with a slash.
    pub path: String,
    pub method: String,
    /// None: the real's address.
    pub host: Option<String>,
    /// By name; unique without regard to case, and none is Host.
    pub headers: Vec<(String, String)>,
    /// First and last of each range, in order, apart from each other; never
    /// empty.
    pub status: Vec<(u16, u16)>,
    pub body_regex: Option<Pattern>,
    pub body_sha256: Option<Digest<32>>,
    pub body_md5: Option<Digest<16>>,
}

/// What TLS is asked besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// False: any certificate will do.
    pub verify: bool,
    /// None: the `host`.
    pub sni: Option<String>,
}

/// What is sent, and what must come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    pub send: Octets,
    /// None: whatever comes.
    pub expect: Option<Expected>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The answer begins so. Not empty.
    Prefix(Octets),
    /// The answer has this somewhere.
    Match(Pattern),
}

/// A query that must have an answer of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    pub query: String,
    pub record: Record,
}

/// Type of a DNS record (RFC 1035 section 3.2.2, RFC 3596, RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Soa,
    Srv,
    Txt,
}

/// A program of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// Its file, an absolute path, and arguments.
    pub command: Vec<String>,
    /// Of its output; none: its exit code alone counts.
    pub expect: Option<Expected>,
    /// Exit codes from 2 on set the weight to the code less 2.
    pub dynamic: bool,
}

/// Octets to send or to wait for, from a text in which `\r`, `\n`, `\t`,
/// `\0`, `\\` and `\x41` stand for one octet each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Octets(Vec<u8>);

/// A regular expression that compiles, of the syntax of the `regex` crate, to at most
/// [`MAX_COMPILED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// A digest, in hexadecimal figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest<const BYTES: usize>([u8; BYTES]);

/// The keys of a request.
const HTTP: [&str; 10] = [
    "port",
    "via",
    "path",
    "method",
    "host",
    "headers",
    "status",
    "body_regex",
    "body_sha256",
    "body_md5",
];

/// Bytes of a compiled regular expression: it is compiled in milliseconds.
const MAX_COMPILED: usize = 4 << 20;

/// The keys of a check of any type.
const OF_EVERY_TYPE: [&str; 10] = [
    "type",
    "interval",
    "timeout",
    "rise",
    "fall",
    "alpha",
    "omega",
    "warmup",
    "fast_interval",
    "on_failure",
];

impl Probe {
    #[must_use]
    pub const fn probe_type(&self) -> ProbeType {
        match self {
            Self::Tcp => ProbeType::Tcp,
            Self::Http(_) => ProbeType::Http,
            Self::Https(..) => ProbeType::Https,
            Self::Udp(_) => ProbeType::Udp,
            Self::Dns(_) => ProbeType::Dns,
            Self::Icmp => ProbeType::Icmp,
            Self::Smtp(_) => ProbeType::Smtp,
            Self::SendExpect(_) => ProbeType::SendExpect,
            Self::Exec(_) => ProbeType::Exec,
            Self::File(_) => ProbeType::File,
            Self::Grpc(_) => ProbeType::Grpc,
            Self::Mysql => ProbeType::Mysql,
            Self::Redis => ProbeType::Redis,
            Self::Agent => ProbeType::Agent,
        }
    }
}

impl ProbeType {
    pub const ALL: [Self; 14] = [
        Self::Tcp,
        Self::Http,
        Self::Https,
        Self::Udp,
        Self::Dns,
        Self::Icmp,
        Self::Smtp,
        Self::SendExpect,
        Self::Exec,
        Self::File,
        Self::Grpc,
        Self::Mysql,
        Self::Redis,
        Self::Agent,
    ];

    /// As in `lbd.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Udp => "udp",
            Self::Dns => "dns",
            Self::Icmp => "icmp",
            Self::Smtp => "smtp",
            Self::SendExpect => "send_expect",
            Self::Exec => "exec",
            Self::File => "file",
            Self::Grpc => "grpc",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Agent => "agent",
        }
    }

    /// The keys that it has besides those of every type; https those of http too.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Tcp | Self::Mysql | Self::Redis | Self::Agent => &["port", "via"],
            Self::Http => &HTTP,
            Self::Https => &["verify", "sni"],
            Self::Udp | Self::SendExpect => &["port", "via", "send", "expect", "expect_regex"],
            Self::Dns => &["port", "via", "query", "record"],
            Self::Icmp => &["via"],
            Self::Smtp => &["port", "via", "host"],
            Self::Exec => &["port", "command", "expect", "expect_regex", "dynamic"],
            Self::File => &["path"],
            Self::Grpc => &["port", "via", "service"],
        }
    }
}

impl ProbeType {
    /// Whether a check of this type has a key called so.
    #[must_use]
    pub fn has_key(self, key: &str) -> bool {
        let is_of_http = self == Self::Https && HTTP.contains(&key);
        OF_EVERY_TYPE.contains(&key) || self.keys().contains(&key) || is_of_http
    }
}

impl FromStr for ProbeType {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|of| of.name() == word);
        found.ok_or_else(|| unknown("type of check", word, &Self::ALL.map(Self::name)))
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            path: "/".into(),
            method: "GET".into(),
            host: None,
            headers: Vec::new(),
            status: vec![(200, 299)],
            body_regex: None,
            body_sha256: None,
            body_md5: None,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            verify: true,
            sni: None,
        }
    }
}

impl Record {
    pub const ALL: [Self; 9] = [
        Self::A,
        Self::Aaaa,
        Self::Cname,
        Self::Mx,
        Self::Ns,
        Self::Ptr,
        Self::Soa,
        Self::Srv,
        Self::Txt,
    ];

    /// As in `lbd.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Soa => "SOA",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }
}

impl FromStr for Record {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|of| of.name() == word);
        found.ok_or_else(|| unknown("record", word, &Self::ALL.map(Self::name)))
    }
}

impl Octets {
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text that stands for them.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\r' => text.push_str("\\r"),
                    '\n' => text.push_str("\\n"),
                    '\t' => text.push_str("\\t"),
                    '\\' => text.push_str("\\\\"),
                    c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", c as u32)),
                    c => text.push(c),
                }
            }
            let escapes = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
            text.extend(escapes);
        }
        text
    }
}

impl From<&[u8]> for Octets {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl FromStr for Octets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(backslash) = rest.find('\\') {
            bytes.extend_from_slice(&rest.as_bytes()[..backslash]);
            let after = &rest[backslash + 1..];
            let hex = after.strip_prefix('x').and_then(|hex| hex.get(..2));
            let (byte, length) = match (after.as_bytes().first(), hex) {
                (Some(b'r'), _) => (b'\r', 1),
                (Some(b'n'), _) => (b'\n', 1),
                (Some(b't'), _) => (b'\t', 1),
                (Some(b'0'), _) => (0, 1),
                (Some(b'\\'), _) => (b'\\', 1),
                (_, Some(hex)) if hex.bytes().all(|figure| figure.is_ascii_hexdigit()) => {
                    (u8::from_str_radix(hex, 16).unwrap_or_default(), 3)
                }
                _ => {
                    return Err(format!(
                        "{text:?} has a backslash that begins none of \\r, \\n, \\t, \\0, \\x41 and \\\\"
                    ));
                }
            };
            bytes.push(byte);
            rest = &after[length..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(Self(bytes))
    }
}

impl Pattern {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// # Errors
    /// It does not compile; no pattern is made of one that does not.
    pub fn compile(&self) -> Result<Regex, regex::Error> {
        compile(&self.0)
    }
}

fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(MAX_COMPILED).build()
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match compile(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(regex::Error::CompiledTooBig(_)) => {
                Err(format!("{text:?} is too large a regular expression"))
            }
            Err(error) => {
                // The first lines draw where it is.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                let reason = reason.trim_start_matches("error: ");
                Err(format!("{text:?} is not a regular expression: {reason}"))
            }
        }
    }
}

impl<const BYTES: usize> Digest<BYTES> {
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    #[must_use]
    pub fn text(&self) -> String {
        let figures = self.0.iter().map(|byte| format!("{byte:02x}"));
        figures.collect()
    }
}

impl<const BYTES: usize> FromStr for Digest<BYTES> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let figures = 2 * BYTES;
        if text.len() != figures || !text.bytes().all(|figure| figure.is_ascii_hexdigit()) {
            return Err(format!(
                "{text:?} is not a digest: expected {figures} hexadecimal figures"
            ));
        }
        let mut bytes = [0; BYTES];
        for (i, byte) in bytes.iter_mut().enumerate() {
            let pair = &text[2 * i..2 * i + 2];
            *byte = u8::from_str_radix(pair, 16).map_err(|error| error.to_string())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_written_with_escapes() {
        for (text, bytes) in [
            ("QUIT\\r\\n", &b"QUIT\r\n"[..]),
            ("\\x00\\xff\\\\", b"\0\xff\\"),
            ("é\\t", "é\t".as_bytes()),
            ("", b""),
        ] {
            let octets: Octets = text.parse().unwrap();
            assert_eq!((octets.as_bytes(), octets.text()), (bytes, text.to_owned()));
        }
        assert_eq!("\\0".parse::<Octets>().unwrap().as_bytes(), b"\0");
        assert_eq!("a\r\n".parse::<Octets>().unwrap().as_bytes(), b"a\r\n");
        for text in ["\\", "\\q", "\\x4", "\\xg0", "\\x+1", "\\xé"] {
            let error = text.parse::<Octets>().unwrap_err();
            assert!(error.contains("has a backslash"), "{text}: {error}");
        }
    }

    #[test]
    fn patterns_compile() {
        assert_eq!(
            "^2[0-9]+ ".parse::<Pattern>().unwrap().as_str(),
            "^2[0-9]+ "
        );
        assert_eq!(
            "(".parse::<Pattern>().unwrap_err(),
            "\"(\" is not a regular expression: unclosed group"
        );
        let error = "(\\w{1000}){1000}".parse::<Pattern>().unwrap_err();
        assert!(
            error.ends_with("is too large a regular expression"),
            "{error}"
        );
    }

    #[test]
    fn digests_are_hexadecimal() {
        let text = "d41d8cd98f00b204e9800998ecf8427e";
        let digest: Digest<16> = text.to_uppercase().parse().unwrap();
        assert_eq!((digest.as_bytes()[0], digest.text()), (0xd4, text.into()));
        for text in ["", &text[1..], "+41d8cd98f00b204e9800998ecf8427e"] {
            let error = text.parse::<Digest<16>>().unwrap_err();
            assert!(
                error.ends_with("expected 32 hexadecimal figures"),
                "{error}"
            );
        }
    }

    #[test]
    fn types_have_names() {
        for of in ProbeType::ALL {
            assert_eq!(of.name().parse(), Ok(of));
        }
        assert_eq!(
            "htp".parse::<ProbeType>().unwrap_err(),
            "unknown type of check \"htp\"; did you mean http?"
        );
    }
}
