//! The next-hop resolver: keeps the way towards a set of addresses resolved,
//! the neighbours fresh, and tells of every change.
//!
//! One task owns the [`Table`]; the handle sends it commands, the kernel
//! events. It ends when the receiver of changes or the last handle is gone.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};
use tracing::{debug, info, warn};

use super::{
    NetError,
    event::Event,
    jitter::Jitter,
    kernel::{Events, Kernel},
    links::Links,
    neighbour::NeighbourKey,
    table::Table,
};

pub use super::hop::{Change, Hop, Reason, Resolution};

/// Commands that may wait; further probes are dropped, the next packet asks
/// again.
const COMMANDS: usize = 1024;
/// Routes looked up before events are looked at again.
const LOOKUPS: usize = 64;
/// How many times as long as it has worked on look-ups or probes the resolver rests from
/// them: with a hundred thousand reals it would keep a processor from the rest of a start,
/// and with as many that do not answer for ever.
const REST: u32 = 3;
/// How long events may be lost before the whole is read again.
const OVERRUN_PATIENCE: Duration = Duration::from_millis(200);
/// A wake-up time for when there is nothing to do.
const IDLE: Duration = Duration::from_secs(3600);

/// A handle to the resolver.
#[derive(Clone, Debug)]
pub struct Hops {
    commands: mpsc::Sender<Command>,
    links: watch::Receiver<Arc<Links>>,
}

#[derive(Debug)]
enum Command {
    Watch(HashSet<IpAddr>),
    Await(Waiter),
    Probe(IpAddr),
    ProbeNeighbour(NeighbourKey),
}

/// Someone who waits until all of `addresses` have an answer.
#[derive(Debug)]
struct Waiter {
    addresses: HashSet<IpAddr>,
    deadline: Instant,
    reply: oneshot::Sender<HashMap<IpAddr, Resolution>>,
}

impl Hops {
    /// Starts the resolver in the calling thread's network namespace, with
    /// nothing to watch. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NetError::Socket`] if there is no netlink socket to be had.
    pub fn start() -> Result<(Self, mpsc::Receiver<Vec<Change>>), NetError> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (changes, receiver) = mpsc::channel(1);
        let (publish_links, links) = watch::channel(Arc::default());
        let resolver = Resolver {
            // Events first: what changes while the tables are read is not lost.
            events: Events::open()?,
            kernel: Kernel::open()?,
            table: Table::default(),
            inbox,
            changes,
            links: publish_links,
            waiters: Vec::new(),
            is_synced: false,
            resync_at: Some(Instant::now()),
            failures: 0,
            probe_refused: false,
            jitter: Jitter::default(),
        };
        tokio::spawn(resolver.run());
        Ok((Self { commands, links }, receiver))
    }

    /// Replaces the set of addresses. Each new one is resolved at once, and
    /// its first change tells the result, whatever it is.
    pub async fn watch(&self, addresses: HashSet<IpAddr>) {
        self.send(Command::Watch(addresses)).await;
    }

    /// Waits until each of `addresses` is resolved or known not to be, or
    /// `patience` has passed, and tells what holds then. Addresses that are
    /// not watched, or of which nothing is known yet, are missing.
    pub async fn wait(
        &self,
        addresses: HashSet<IpAddr>,
        patience: Duration,
    ) -> HashMap<IpAddr, Resolution> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Await(Waiter {
            addresses,
            deadline: Instant::now() + patience,
            reply,
        }))
        .await;
        answer.await.unwrap_or_default()
    }

    /// [`Self::watch`], then [`Self::wait`]: for the start, when nothing is
    /// forwarded before the first answers are there.
    pub async fn resolve_now(
        &self,
        addresses: HashSet<IpAddr>,
        patience: Duration,
    ) -> HashMap<IpAddr, Resolution> {
        self.watch(addresses.clone()).await;
        self.wait(addresses, patience).await
    }

    /// The interfaces as they are and change; empty until the first look at
    /// them, which [`Self::wait`] waits for.
    pub fn links(&self) -> watch::Receiver<Arc<Links>> {
        self.links.clone()
    }

    /// Says that a packet for a watched address met no next hop. Cheap, and
    /// may be called for every such packet.
    pub fn probe(&self, address: IpAddr) {
        // Full: others are being probed, and the next packet asks again.
        let _ = self.commands.try_send(Command::Probe(address));
    }

    /// Says that a packet met a neighbour without a link-layer address, as on
    /// the way back to a client under nat. Cheap, as [`Self::probe`] is.
    pub fn probe_neighbour(&self, ifindex: u32, address: IpAddr) {
        let key = NeighbourKey { ifindex, address };
        let _ = self.commands.try_send(Command::ProbeNeighbour(key));
    }

    async fn send(&self, command: Command) {
        // The task has ended only if nobody wants its changes any more.
        let _ = self.commands.send(command).await;
    }
}

struct Resolver {
    kernel: Kernel,
    events: Events,
    table: Table,
    inbox: mpsc::Receiver<Command>,
    changes: mpsc::Sender<Vec<Change>>,
    links: watch::Sender<Arc<Links>>,
    waiters: Vec<Waiter>,
    /// Whether everything has been read from the kernel once.
    is_synced: bool,
    /// When to read everything from the kernel.
    resync_at: Option<Instant>,
    /// Resyncs in a row that did not succeed.
    failures: u32,
    /// Whether a refused probe has been told of.
    probe_refused: bool,
    jitter: Jitter,
}

impl Resolver {
    async fn run(mut self) {
        let changes = self.changes.clone();
        loop {
            let wake = self.wake_time();
            tokio::select! {
                () = changes.closed() => return,
                command = self.inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                event = self.events.next() => self.hear(event).await,
                permit = changes.reserve(), if self.table.has_changes() => {
                    let news = self.table.take_changes();
                    if let Ok(permit) = permit && !news.is_empty() {
                        permit.send(news);
                    }
                }
                () = sleep_until(wake.into()) => self.act().await,
            }
        }
    }

    fn wake_time(&self) -> Instant {
        let waiters = self.waiters.iter().map(|waiter| waiter.deadline);
        let times = [self.resync_at, self.table.deadline()];
        let next = times.into_iter().flatten().chain(waiters).min();
        next.unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Watch(addresses) => self.table.watch(&addresses, now),
            Command::Await(waiter) => self.waiters.push(waiter),
            Command::Probe(address) => self.table.want(address, now),
            Command::ProbeNeighbour(key) => self.table.want_neighbour(key, now),
        }
        self.answer_waiters(now);
    }

    async fn hear(&mut self, event: Option<Event>) {
        let now = Instant::now();
        match event {
            Some(Event::Overrun) => {
                debug!("netlink events were lost, the tables will be read again");
                self.resync_at.get_or_insert(now + OVERRUN_PATIENCE);
            }
            Some(event) => self.table.apply(event, now),
            None => self.reopen().await,
        }
    }

    async fn act(&mut self) {
        if self.kernel.has_failed() {
            self.reopen().await;
        }
        if self.resync_at.is_some_and(|at| at <= Instant::now()) {
            self.resync().await;
        }
        self.look_up().await;
        if let Some(links) = self.table.take_links(Instant::now()) {
            self.links.send_replace(Arc::new(links));
            self.is_synced = true;
        }
        self.probe_neighbours().await;
        self.answer_waiters(Instant::now());
    }

    /// Events that came meanwhile wait in the socket and bring the table up to
    /// date afterwards, those that are older than the answers included: the
    /// last one about an object is never older.
    async fn resync(&mut self) {
        self.resync_at = None;
        let read = async {
            let links = self.kernel.links().await?;
            Ok::<_, NetError>((links, self.kernel.neighbours().await?))
        };
        match read.await {
            Ok((links, neighbours)) => {
                self.failures = 0;
                self.table.resync(links, neighbours, Instant::now());
            }
            Err(error) => {
                warn!(%error, "cannot read the network's state, will try again");
                self.retry_resync();
            }
        }
    }

    async fn look_up(&mut self) {
        let start = Instant::now();
        let batch = self.table.take_lookups(LOOKUPS, start);
        for (address, lookup) in self.kernel.routes(batch).await {
            self.table.route(address, lookup, Instant::now());
        }
        let now = Instant::now();
        self.table.settle(now, REST * (now - start));
    }

    async fn probe_neighbours(&mut self) {
        let start = Instant::now();
        let probes = self.table.take_probes(start);
        if probes.is_empty() {
            return;
        }
        for key in probes {
            self.probe(key).await;
        }
        let now = Instant::now();
        self.table.rest_from_probes(now + REST * (now - start));
    }

    /// The address may be a client's: it is not logged.
    async fn probe(&mut self, key: NeighbourKey) {
        let Err(error) = self.kernel.probe(key).await else {
            return;
        };
        let ifindex = key.ifindex;
        if error.is_refusal() && !self.probe_refused {
            self.probe_refused = true;
            warn!(ifindex, %error, "neighbours cannot be kept fresh");
        } else {
            debug!(ifindex, %error, "neighbour not probed");
        }
    }

    fn answer_waiters(&mut self, now: Instant) {
        let (table, is_synced) = (&self.table, self.is_synced);
        let answered = |waiter: &mut Waiter| {
            let settled = |address| {
                let resolution = table.resolution(address);
                resolution.is_some_and(|resolution| !resolution.is_pending())
            };
            let mut addresses = waiter.addresses.iter().copied();
            waiter.deadline <= now || is_synced && addresses.all(settled)
        };
        for waiter in self.waiters.extract_if(.., answered) {
            let known = waiter.addresses.iter().filter_map(|address| {
                let resolution = table.resolution(*address)?;
                Some((*address, resolution.clone()))
            });
            // Whoever waited may have given up.
            let _ = waiter.reply.send(known.collect());
        }
    }

    /// The sockets fail only if the kernel is out of memory or sends what
    /// cannot be read: worth a fresh start, not an end.
    async fn reopen(&mut self) {
        // Nobody listens any more: the daemon is stopping, and the sockets'
        // own tasks were the first to end.
        if self.changes.is_closed() {
            return;
        }
        warn!("netlink socket failed, will open another");
        loop {
            tokio::time::sleep(self.jitter.backoff(self.failures)).await;
            self.failures = self.failures.saturating_add(1);
            let opened = Events::open().and_then(|events| Ok((events, Kernel::open()?)));
            match opened {
                Ok((events, kernel)) => {
                    (self.events, self.kernel) = (events, kernel);
                    self.resync_at = Some(Instant::now());
                    info!("netlink socket opened again");
                    return;
                }
                Err(error) if self.changes.is_closed() => {
                    debug!(%error, "netlink socket given up");
                    return;
                }
                Err(error) => warn!(%error, "netlink socket not opened, will try again"),
            }
        }
    }

    fn retry_resync(&mut self) {
        let patience = self.jitter.backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.resync_at = Some(Instant::now() + patience);
    }
}
