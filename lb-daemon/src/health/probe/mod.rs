//! One question to a real, and what its answer means.
//!
//! ```text
//! Prober::ask ── a file per type ── socket (mark) ── answer (limits)
//!                                 └ expect, load: what the answer means
//! ```
//!
//! No probe takes its own time: who asks drops the future when it is up, and
//! with it goes all that the probe began. What a real sends has a limit
//! everywhere, and no reason for a failure repeats it.

use std::{net::SocketAddr, time::Duration};

use crate::config::{
    health::Probe,
    model::{RealId, ServiceId},
};

mod agent;
mod answer;
mod certificate;
mod dns;
mod exchange;
mod exec;
mod expect;
mod file;
mod grpc;
mod http;
mod https;
mod icmp;
mod load;
mod mysql;
mod pidfd;
mod reason;
mod redis;
mod send_expect;
mod smtp;
mod socket;
mod tcp;
mod udp;

#[cfg(test)]
mod testing;

pub use load::Load;

/// Whom a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub service: ServiceId,
    pub real: RealId,
    /// The real's address, with the check's port.
    pub address: SocketAddr,
    /// On the probe's packets (`SO_MARK`); none: they go as any other's.
    pub mark: Option<u32>,
    /// After how long the question is dropped. Only probes to which silence is
    /// no failure look at it: `udp` without `expect`, and `mysql` once it is
    /// greeted.
    pub timeout: Duration,
}

/// What an answer, or the lack of one, means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The real is well.
    Up {
        /// How much it says it takes; none: it says nothing of it.
        load: Option<Load>,
        /// What will make it fail before long.
        warning: Option<String>,
    },
    /// Why it is not, in a few words, without addresses.
    Down(String),
    /// Why it could not be asked: what this host lacks. It says nothing of the real.
    Unasked(String),
}

/// A [`Probe`] made ready to be asked again and again.
#[derive(Debug)]
pub struct Prober {
    question: Question,
}

/// With all done that need not be done anew each time.
#[derive(Debug)]
enum Question {
    Tcp,
    Http(Box<http::Question>),
    Https(Box<https::Question>),
    Udp(udp::Question),
    Dns(dns::Question),
    Icmp,
    Smtp(smtp::Question),
    SendExpect(send_expect::Question),
    Exec(exec::Question),
    File(file::Question),
    Grpc(grpc::Question),
    Mysql,
    Redis,
    Agent,
}

impl Target {
    /// How long a probe waits for what need not come, from its begin: its
    /// verdict is there before the time is up.
    fn patience(&self) -> Duration {
        self.timeout / 4 * 3
    }
}

impl Outcome {
    /// Well, and no more to say.
    pub const UP: Self = Self::Up {
        load: None,
        warning: None,
    };

    /// Well, with what it says of its weight.
    #[must_use]
    pub const fn up(load: Option<Load>) -> Self {
        Self::Up {
            load,
            warning: None,
        }
    }

    pub fn down(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        match reason::is_ours(&reason) {
            true => Self::Unasked(reason),
            false => Self::Down(reason),
        }
    }

    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

impl Prober {
    /// Reads the host's root certificates at the first `https` with `verify`.
    ///
    /// # Errors
    /// What of the probe this host cannot do.
    pub fn new(probe: Probe) -> Result<Self, String> {
        let question = match probe {
            Probe::Tcp => Question::Tcp,
            Probe::Http(http) => Question::Http(Box::new(http::Question::new(http)?)),
            Probe::Https(http, tls) => Question::Https(Box::new(https::Question::new(http, &tls)?)),
            Probe::Udp(exchange) => Question::Udp(udp::Question::new(&exchange)?),
            Probe::Dns(dns) => Question::Dns(dns::Question::new(&dns)?),
            Probe::Icmp => Question::Icmp,
            Probe::Smtp(name) => Question::Smtp(smtp::Question::new(name)),
            Probe::SendExpect(exchange) => {
                Question::SendExpect(send_expect::Question::new(&exchange)?)
            }
            Probe::Exec(exec) => Question::Exec(exec::Question::new(exec)?),
            Probe::File(path) => Question::File(file::Question::new(path)),
            Probe::Grpc(service) => Question::Grpc(grpc::Question::new(&service)),
            Probe::Mysql => Question::Mysql,
            Probe::Redis => Question::Redis,
            Probe::Agent => Question::Agent,
        };
        Ok(Self { question })
    }

    /// Asks once. Without a limit of time: dropping it takes back all it began.
    pub async fn ask(&self, target: &Target) -> Outcome {
        let load = match &self.question {
            Question::Tcp => tcp::ask(target).await.map(|()| None),
            Question::Http(http) => http.ask(target).await.map(|()| None),
            Question::Https(https) => {
                return match https.ask(target).await {
                    Ok(warning) => Outcome::Up {
                        load: None,
                        warning,
                    },
                    Err(reason) => Outcome::down(reason),
                };
            }
            Question::Udp(udp) => udp.ask(target).await.map(|()| None),
            Question::Dns(dns) => dns.ask(target).await.map(|()| None),
            Question::Icmp => icmp::ask(target).await.map(|()| None),
            Question::Smtp(smtp) => smtp.ask(target).await.map(|()| None),
            Question::SendExpect(exchange) => exchange.ask(target).await.map(|()| None),
            Question::Exec(exec) => exec.ask(target).await,
            Question::File(file) => file.ask().await,
            Question::Grpc(grpc) => grpc.ask(target).await.map(|()| None),
            Question::Mysql => mysql::ask(target).await.map(|()| None),
            Question::Redis => redis::ask(target).await.map(|()| None),
            Question::Agent => agent::ask(target).await,
        };
        match load {
            Ok(load) => Outcome::up(load),
            Err(reason) => Outcome::down(reason),
        }
    }
}
