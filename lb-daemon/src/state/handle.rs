//! The other tasks' way to the state task: one message per request, each
//! answered over its own channel.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot};
use utoipa::ToSchema;

use crate::{
    api::wire,
    config::{
        model::{Config, MarkRule, RealId, Service, ServiceId, Timeouts},
        vocabulary::did_you_mean,
    },
};

use super::{
    etag::IfMatch,
    patch::{NewReal, RealPatch, ServicePatch},
    timeouts::TimeoutEdits,
};
use crate::connections::Roster;

/// Whose connections are meant, deleted reals' and services' too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// None: all.
    pub service: Option<ServiceRef>,
    /// None: all of the service's; without a port the service's, and of every
    /// service any.
    pub real: Option<(std::net::IpAddr, Option<u16>)>,
}

/// A service as the command line names it: by identity or by its `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRef {
    Id(ServiceId),
    Name(String),
}

impl fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Kinds of objects that requests name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    Service,
    Real,
    Mark,
}

/// Why a change was refused. The text names the object; nothing has changed,
/// unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No such object.
    #[error("{1}")]
    Unknown(ObjectKind, String),
    /// The object is there already.
    #[error("{1}")]
    Exists(ObjectKind, String),
    /// The object cannot be as asked for.
    #[error("{0}")]
    Invalid(String),
    /// The object is no longer as who asks has seen it.
    #[error("{0}")]
    Changed(String),
    /// What has been applied may go back, and the change with it.
    #[error("an applied configuration waits to be confirmed; confirm or undo it first")]
    Waiting,
    /// Others do it, as many as may.
    #[error("{0}")]
    Busy(String),
    /// The change is right and could not be carried out: a full map, an I/O
    /// error.
    #[error("{0}")]
    Failed(String),
}

/// What a reload changed: one line each, empty when nothing did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadReport {
    pub changes: Vec<String>,
    pub warnings: Vec<String>,
}

/// How long a request may wait for the state task.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) type Reply<T> = oneshot::Sender<Result<T, ChangeError>>;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `SIGHUP`.
    Signal,
    /// Nobody confirmed what was applied.
    Timeout,
    /// The process at the other end of the socket (`SO_PEERCRED`).
    Peer { uid: u32, pid: Option<i32> },
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal => f.write_str("SIGHUP"),
            Self::Timeout => f.write_str("confirmation timeout"),
            Self::Peer { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Peer {
                uid,
                pid: Some(pid),
            } => write!(f, "uid {uid}, pid {pid}"),
        }
    }
}

/// What of services is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    Everything,
    /// [`wire::ServiceStats`].
    Stats,
}

/// A request and its sender.
#[derive(Debug)]
pub struct Message {
    pub by: By,
    /// What a service or real that is to be edited or deleted has to be like.
    pub if_match: IfMatch,
    pub request: Request,
}

/// A request to the state task.
#[derive(Debug)]
pub enum Request {
    Services(Show, Reply<Vec<u8>>),
    Service(ServiceRef, Reply<Vec<wire::Service>>),
    Status(Reply<wire::Status>),
    AddService(Box<Service>, Reply<()>),
    EditService(ServiceRef, Box<ServicePatch>, Reply<()>),
    DeleteService(ServiceRef, bool, Reply<()>),
    DeleteServices(bool, Reply<()>),
    AddReal(ServiceRef, Box<NewReal>, Reply<RealId>),
    EditReal(
        ServiceRef,
        std::net::IpAddr,
        Option<u16>,
        Box<RealPatch>,
        Reply<()>,
    ),
    DeleteReal(ServiceRef, std::net::IpAddr, Option<u16>, bool, Reply<()>),
    Marks(Reply<Vec<wire::Mark>>),
    AddMark(MarkRule, Reply<()>),
    DeleteMark(MarkRule, Reply<()>),
    Connections(Scope, Reply<Roster>),
    Flush(Scope, Reply<oneshot::Receiver<std::io::Result<()>>>),
    Health(Scope, Reply<Vec<wire::Check>>),
    HealthHistory(Scope, Reply<Vec<wire::Transition>>),
    Timeouts(Reply<Timeouts>),
    SetTimeouts(TimeoutEdits, Reply<Timeouts>),
    /// None: of every service.
    Zero(Option<ServiceRef>, Reply<()>),
    Metrics(Reply<String>),
    SaveConfig(Reply<String>),
    Diff(Reply<Vec<String>>),
    Replace(Box<Config>, Option<Duration>, Reply<ReloadReport>),
    Confirm(Reply<()>),
    Undo(Reply<Vec<String>>),
    Subscribe(Reply<broadcast::Receiver<wire::Event>>),
    Reload(Reply<ReloadReport>),
}

/// Clonable sender of [`Request`]s.
#[derive(Clone, Debug)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
    by: By,
    if_match: IfMatch,
}

impl Handle {
    /// The daemon's own handle and the state task's end of it.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(64);
        let by = By::Signal;
        let if_match = IfMatch::default();
        (
            Self {
                messages,
                by,
                if_match,
            },
            receiver,
        )
    }

    /// A handle for somebody else.
    #[must_use]
    pub fn of(&self, by: By, if_match: IfMatch) -> Self {
        Self {
            by,
            if_match,
            messages: self.messages.clone(),
        }
    }

    /// Who asks by it.
    #[must_use]
    pub const fn asker(&self) -> By {
        self.by
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, ChangeError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            let message = Message {
                by: self.by,
                if_match: self.if_match.clone(),
                request: request(reply),
            };
            self.messages.send(message).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?
        };
        in_time(exchange).await
    }

    /// Every service with its reals, in order, as a JSON array.
    pub async fn services(&self, show: Show) -> Result<Vec<u8>, ChangeError> {
        self.ask(|reply| Request::Services(show, reply)).await
    }

    /// Those that are meant, at least one: a name can be that of a group.
    pub async fn some_services(&self, at: ServiceRef) -> Result<Vec<wire::Service>, ChangeError> {
        self.ask(|reply| Request::Service(at, reply)).await
    }

    /// The first of these.
    pub async fn service(&self, at: ServiceRef) -> Result<wire::Service, ChangeError> {
        let found = self.some_services(at).await?.into_iter().next();
        found.ok_or_else(|| ChangeError::Failed("no service was found".into()))
    }

    pub async fn status(&self) -> Result<wire::Status, ChangeError> {
        self.ask(Request::Status).await
    }

    pub async fn add_service(&self, service: Service) -> Result<(), ChangeError> {
        self.ask(|reply| Request::AddService(Box::new(service), reply))
            .await
    }

    pub async fn edit_service(
        &self,
        at: ServiceRef,
        patch: ServicePatch,
    ) -> Result<(), ChangeError> {
        self.ask(|reply| Request::EditService(at, Box::new(patch), reply))
            .await
    }

    /// `now`: cut the connections; else they may finish.
    pub async fn delete_service(&self, at: ServiceRef, now: bool) -> Result<(), ChangeError> {
        self.ask(|reply| Request::DeleteService(at, now, reply))
            .await
    }

    /// Every service; `now` as of one.
    pub async fn delete_services(&self, now: bool) -> Result<(), ChangeError> {
        self.ask(|reply| Request::DeleteServices(now, reply)).await
    }

    pub async fn add_real(&self, at: ServiceRef, real: NewReal) -> Result<RealId, ChangeError> {
        self.ask(|reply| Request::AddReal(at, Box::new(real), reply))
            .await
    }

    /// `port` `None`: the service's.
    pub async fn edit_real(
        &self,
        at: ServiceRef,
        address: std::net::IpAddr,
        port: Option<u16>,
        patch: RealPatch,
    ) -> Result<(), ChangeError> {
        self.ask(|reply| Request::EditReal(at, address, port, Box::new(patch), reply))
            .await
    }

    pub async fn delete_real(
        &self,
        at: ServiceRef,
        address: std::net::IpAddr,
        port: Option<u16>,
        now: bool,
    ) -> Result<(), ChangeError> {
        self.ask(|reply| Request::DeleteReal(at, address, port, now, reply))
            .await
    }

    /// Every rule of the firewall marks, in order.
    pub async fn marks(&self) -> Result<Vec<wire::Mark>, ChangeError> {
        self.ask(Request::Marks).await
    }

    pub async fn add_mark(&self, rule: MarkRule) -> Result<(), ChangeError> {
        self.ask(|reply| Request::AddMark(rule, reply)).await
    }

    pub async fn delete_mark(&self, rule: MarkRule) -> Result<(), ChangeError> {
        self.ask(|reply| Request::DeleteMark(rule, reply)).await
    }

    /// What the connections' entries are to be read with.
    pub async fn connections(&self, of: Scope) -> Result<Roster, ChangeError> {
        self.ask(|reply| Request::Connections(of, reply)).await
    }

    /// Cuts connections and forgets their clients' persistence; returns when
    /// none is left. The state task does not wait for it.
    pub async fn flush(&self, of: Scope) -> Result<(), ChangeError> {
        let ended = self.ask(|reply| Request::Flush(of, reply)).await?;
        in_time(async {
            let outcome = ended.await.map_err(|_| stopping())?;
            outcome.map_err(|error| ChangeError::Failed(format!("cut the connections: {error}")))
        })
        .await
    }

    /// Every check that is meant.
    pub async fn health(&self, of: Scope) -> Result<Vec<wire::Check>, ChangeError> {
        self.ask(|reply| Request::Health(of, reply)).await
    }

    /// How the reals that are meant have gone down and come up.
    pub async fn health_history(&self, of: Scope) -> Result<Vec<wire::Transition>, ChangeError> {
        self.ask(|reply| Request::HealthHistory(of, reply)).await
    }

    /// The timeouts that run: the file's with the runtime's changes.
    pub async fn timeouts(&self) -> Result<Timeouts, ChangeError> {
        self.ask(Request::Timeouts).await
    }

    /// Changes timeouts until the next reload, and gives those that run then.
    pub async fn set_timeouts(&self, edits: TimeoutEdits) -> Result<Timeouts, ChangeError> {
        self.ask(|reply| Request::SetTimeouts(edits, reply)).await
    }

    /// Begins the counters at 0 again: a service's and its reals', or all.
    pub async fn zero(&self, at: Option<ServiceRef>) -> Result<(), ChangeError> {
        self.ask(|reply| Request::Zero(at, reply)).await
    }

    /// In Prometheus's text format.
    pub async fn metrics(&self) -> Result<String, ChangeError> {
        self.ask(Request::Metrics).await
    }

    /// What runs, as a configuration file.
    pub async fn save_config(&self) -> Result<String, ChangeError> {
        self.ask(Request::SaveConfig).await
    }

    /// What a reload would change, a line each.
    pub async fn diff(&self) -> Result<Vec<String>, ChangeError> {
        self.ask(Request::Diff).await
    }

    /// Puts the services, marks and timeouts of a configuration in the place of those
    /// that run; with a time, they go back unless they are confirmed.
    pub async fn replace(
        &self,
        wanted: Config,
        confirm_within: Option<Duration>,
    ) -> Result<ReloadReport, ChangeError> {
        self.ask(|reply| Request::Replace(Box::new(wanted), confirm_within, reply))
            .await
    }

    pub async fn confirm(&self) -> Result<(), ChangeError> {
        self.ask(Request::Confirm).await
    }

    /// Goes back at once; what that changed.
    pub async fn undo(&self) -> Result<Vec<String>, ChangeError> {
        self.ask(Request::Undo).await
    }

    /// What happens from now on.
    pub async fn subscribe(&self) -> Result<broadcast::Receiver<wire::Event>, ChangeError> {
        self.ask(Request::Subscribe).await
    }

    pub async fn reload(&self) -> Result<ReloadReport, ChangeError> {
        self.ask(Request::Reload).await
    }
}

/// A real that a service has not, with the nearest that it has.
#[must_use]
pub fn unknown_real(
    service: ServiceId,
    real: RealId,
    known: impl IntoIterator<Item = String>,
) -> ChangeError {
    let hint = did_you_mean(&real.to_string(), known.into_iter());
    ChangeError::Unknown(
        ObjectKind::Real,
        format!("service {service}: no real {real}{hint}"),
    )
}

fn stopping() -> ChangeError {
    ChangeError::Failed("lbd is stopping".into())
}

async fn in_time<T>(
    exchange: impl Future<Output = Result<T, ChangeError>>,
) -> Result<T, ChangeError> {
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(ChangeError::Failed("lbd did not answer in time".into())))
}
