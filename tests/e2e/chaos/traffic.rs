//! Fifty clients at once: most keep one connection all the time, the others come anew
//! again and again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::conversation::Conversation;
use lb_tests::topology::{PORT, Topology};

use super::operations::NAT_PORT;

/// Connections that are opened first and kept, half of them by nat.
const HELD: usize = 40;
/// Later ones that are kept at a time, each until so many younger ones are there.
const COMING: usize = 10;

/// How long an answer may take: a lost segment comes again, and the machine is busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Between two rounds: nginx ends a connection after a thousand requests.
const ROUND_PAUSE: Duration = Duration::from_millis(200);
/// Between two new connections, which are let in or not.
const COMING_PAUSE: Duration = Duration::from_millis(30);

/// One connection, and who answered on it first.
struct Client {
    conversation: Conversation,
    real: String,
    port: u16,
}

impl Client {
    /// An error: it was not let in.
    fn open(network: &Topology, port: u16) -> Result<Conversation> {
        Conversation::open(&network.clients[0], network.vip(), port)
    }

    /// What is established gets its first answer too.
    fn established(mut conversation: Conversation, port: u16) -> Result<Self> {
        conversation.set_limit(ANSWER_LIMIT)?;
        let first = conversation.ask();
        let real = first.with_context(|| format!("the first answer at port {port}"))?;
        Ok(Self {
            conversation,
            real,
            port,
        })
    }

    fn ask(&mut self) -> Result<()> {
        let Self { real, port, .. } = self;
        let lost = || format!("a connection of {real} at port {port} is lost");
        let answer = self.conversation.ask().with_context(lost)?;
        ensure!(answer == *real, "port {port}: {answer} in place of {real}");
        Ok(())
    }
}

/// The clients under way.
pub struct Traffic<'scope> {
    held: ScopedJoinHandle<'scope, Result<usize>>,
    coming: ScopedJoinHandle<'scope, Result<usize>>,
}

impl<'scope> Traffic<'scope> {
    /// Opens those that are held, then goes on until `stop`.
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        network: &'env Topology,
        stop: &'env AtomicBool,
    ) -> Result<Self> {
        let mut clients = Vec::with_capacity(HELD);
        for number in 0..HELD {
            let port = port(number);
            let opened = Client::open(network, port)?;
            clients.push(Client::established(opened, port)?);
        }
        Ok(Self {
            held: scope.spawn(move || hold(clients, stop)),
            coming: scope.spawn(move || come_and_go(network, stop)),
        })
    }

    /// Whether one of them has given up: a connection was lost.
    pub fn has_failed(&self) -> bool {
        self.held.is_finished() || self.coming.is_finished()
    }

    /// After the stop: how many answers came on held connections, and how many
    /// connections came and went.
    pub fn join(self) -> Result<(usize, usize)> {
        let held = self.held.join().expect("no panic")?;
        let coming = self.coming.join().expect("no panic")?;
        Ok((held, coming))
    }
}

const fn port(number: usize) -> u16 {
    [PORT, NAT_PORT][number % 2]
}

fn hold(mut clients: Vec<Client>, stop: &AtomicBool) -> Result<usize> {
    let mut answers = 0;
    while !stop.load(Ordering::Relaxed) {
        for client in &mut clients {
            client.ask()?;
            answers += 1;
        }
        thread::sleep(ROUND_PAUSE);
    }
    Ok(answers)
}

fn come_and_go(network: &Topology, stop: &AtomicBool) -> Result<usize> {
    let mut clients = VecDeque::new();
    let mut came = 0;
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if let Ok(conversation) = Client::open(network, port(number)) {
            clients.push_back(Client::established(conversation, port(number))?);
            came += 1;
        }
        if clients.len() > COMING
            && let Some(mut oldest) = clients.pop_front()
        {
            oldest.ask()?;
        }
        thread::sleep(COMING_PAUSE);
    }
    clients.iter_mut().try_for_each(Client::ask)?;
    Ok(came)
}
