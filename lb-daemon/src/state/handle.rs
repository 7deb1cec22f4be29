//! The other tasks' way to the state task: one message per request, each
//! answered over its own channel.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::{
    api::wire,
    config::model::{
        ForwardingMethod, RealId, Scheduler, Service, ServiceId, Tunnel, TunnelKind, Weight,
    },
};

/// A service as the command line names it: by identity or by its `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRef {
    Id(ServiceId),
    Name(String),
}

/// What a service edit changes; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePatch {
    pub name: Option<String>,
    pub scheduler: Option<Scheduler>,
    pub forward: Option<ForwardingMethod>,
    /// Empty: the clients' own addresses.
    pub masquerade: Option<Vec<std::net::IpAddr>>,
}

/// A real to be added: what is `None` comes from the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReal {
    pub address: std::net::IpAddr,
    pub port: Option<u16>,
    pub weight: Weight,
    pub forward: Option<ForwardingMethod>,
    pub tunnel: TunnelPatch,
}

/// What a real edit changes; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealPatch {
    pub weight: Option<Weight>,
    pub forward: Option<ForwardingMethod>,
    pub tunnel: TunnelPatch,
}

/// What is asked of a real's tunnel; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelPatch {
    pub kind: Option<TunnelKind>,
    pub port: Option<u16>,
    pub checksum: Option<bool>,
}

impl TunnelPatch {
    /// The tunnel that `before` becomes. A new kind takes over what it has
    /// itself: a port or a checksum that it cannot have is gone unless asked
    /// for, and then refused.
    #[must_use]
    pub fn apply(self, before: Tunnel) -> Tunnel {
        let kind = self.kind.unwrap_or(before.kind);
        let port = match kind {
            TunnelKind::Gue => before.port,
            TunnelKind::Ipip | TunnelKind::Gre => Tunnel::DEFAULT_PORT,
        };
        let checksum = kind != TunnelKind::Ipip && before.checksum;
        Tunnel {
            kind,
            port: self.port.unwrap_or(port),
            checksum: self.checksum.unwrap_or(checksum),
        }
    }
}

/// Why a change was refused. The text names the object; nothing has changed,
/// unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No such object.
    #[error("{0}")]
    Unknown(String),
    /// The object is there already.
    #[error("{0}")]
    Exists(String),
    /// The object cannot be as asked for.
    #[error("{0}")]
    Invalid(String),
    /// The change is right and could not be carried out: a full map, an I/O
    /// error.
    #[error("{0}")]
    Failed(String),
}

/// What a reload changed: one line each, empty when nothing did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    pub changes: Vec<String>,
    pub warnings: Vec<String>,
}

/// How long a request may wait for the state task.
const PATIENCE: Duration = Duration::from_secs(30);

type Reply<T> = oneshot::Sender<Result<T, ChangeError>>;

/// A request to the state task.
#[derive(Debug)]
pub enum Request {
    Services(Reply<Vec<wire::Service>>),
    Status(Reply<wire::Status>),
    AddService(Box<Service>, Reply<()>),
    EditService(ServiceRef, ServicePatch, Reply<()>),
    DeleteService(ServiceRef, bool, Reply<()>),
    AddReal(ServiceRef, NewReal, Reply<RealId>),
    EditReal(
        ServiceRef,
        std::net::IpAddr,
        Option<u16>,
        RealPatch,
        Reply<()>,
    ),
    DeleteReal(ServiceRef, std::net::IpAddr, Option<u16>, bool, Reply<()>),
    Reload(Reply<ReloadReport>),
}

/// Clonable sender of [`Request`]s.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Request>);

impl Handle {
    /// A handle and the state task's end of it.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, ChangeError> {
        let (reply, answer) = oneshot::channel();
        let stopping = || ChangeError::Failed("lbd is stopping".into());
        let exchange = async {
            self.0.send(request(reply)).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| Err(ChangeError::Failed("lbd did not answer in time".into())))
    }

    /// Every service with its reals, counts and counters, in order.
    pub async fn services(&self) -> Result<Vec<wire::Service>, ChangeError> {
        self.ask(Request::Services).await
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
        self.ask(|reply| Request::EditService(at, patch, reply))
            .await
    }

    /// `now`: cut the connections; else they may finish.
    pub async fn delete_service(&self, at: ServiceRef, now: bool) -> Result<(), ChangeError> {
        self.ask(|reply| Request::DeleteService(at, now, reply))
            .await
    }

    pub async fn add_real(&self, at: ServiceRef, real: NewReal) -> Result<RealId, ChangeError> {
        self.ask(|reply| Request::AddReal(at, real, reply)).await
    }

    /// `port` `None`: the service's.
    pub async fn edit_real(
        &self,
        at: ServiceRef,
        address: std::net::IpAddr,
        port: Option<u16>,
        patch: RealPatch,
    ) -> Result<(), ChangeError> {
        self.ask(|reply| Request::EditReal(at, address, port, patch, reply))
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

    pub async fn reload(&self) -> Result<ReloadReport, ChangeError> {
        self.ask(Request::Reload).await
    }
}
