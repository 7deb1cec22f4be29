//! The harness: small networks of namespaces with real clients and real
//! servers, in which lbd is tested and shown.
//!
//! ```text
//! topology ─┬─ namespace, link, xdp_pass   the wires
//!           ├─ flood                       an attacker with a wire of his own, and a service in use
//!           ├─ webserver, http             nginx on the reals, curl on the clients
//!           ├─ conversation, trickle       connections that last as long as a test likes
//!           ├─ dns                         named on the reals, dig on the clients
//!           ├─ ftpserver, mailserver       vsftpd, smtpd; curl
//!           ├─ redisserver, database       redis, MariaDB; their own clients
//!           ├─ mailsink                    where lbd's own mail goes
//!           ├─ rogue                       servers that misbehave, or say what a test likes
//!           ├─ echo, sctp, socket_options  what those cannot show: sizes, ICMP, another protocol
//!           ├─ capture                     what was on the wire, judged by tshark
//!           └─ service, daemon             what lbd is told; lbd on the director, lbctl beside it
//! scratch: a network's number, its files, its own bpffs, and what the dead left behind
//! process, wait, interrupt, privilege, modules, python: what all of them stand on
//! ```
//!
//! Whatever a value of these types made is undone when the value is dropped, on
//! a panic too. Every program is started here, is known by its process id and
//! dies with us. Traffic goes only to addresses inside the namespaces that the
//! harness itself made.

pub mod capture;
pub mod certificate;
pub mod conversation;
pub mod daemon;
pub mod database;
pub mod dns;
pub mod echo;
pub mod flood;
pub mod ftpserver;
pub mod http;
pub mod interrupt;
pub mod link;
pub mod mailserver;
pub mod mailsink;
pub mod modules;
pub mod namespace;
pub mod privilege;
pub mod process;
pub mod python;
pub mod redisserver;
pub mod rogue;
pub mod scratch;
pub mod sctp;
pub mod service;
pub mod slow_curl;
pub mod socket_options;
pub mod topology;
pub mod trickle;
pub mod wait;
pub mod webserver;
pub mod xdp_pass;
