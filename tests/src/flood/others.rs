//! Others, who want to get in while a flood is on.

use std::thread;

use anyhow::Result;

use crate::http::{self, Tally};
use crate::topology::Topology;

/// How many there are, each with requests of his own.
const OTHERS: usize = 10;
const REQUESTS: usize = 30;

/// What became of their requests, each over a new connection.
#[derive(Debug)]
pub struct Answers(Tally);

/// Lets all of them ask.
pub fn ask(network: &Topology) -> Result<Answers> {
    let (url, client) = (network.url(""), &network.clients[1]);
    let tallies: Result<Vec<_>> = thread::scope(|scope| {
        let asking: Vec<_> = (0..OTHERS)
            .map(|_| scope.spawn(|| http::get_many(client, &url, REQUESTS)))
            .collect();
        asking
            .into_iter()
            .map(|one| one.join().expect("asking does not panic"))
            .collect()
    });
    let mut sum = Tally::default();
    for tally in &tallies? {
        sum.add(tally);
    }
    Ok(Answers(sum))
}

impl Answers {
    /// Requests, answered or not.
    pub const ASKED: usize = OTHERS * REQUESTS;

    /// Per cent of the requests that got their answer.
    pub fn percent(&self) -> f64 {
        100.0 * (Self::ASKED - self.0.failures) as f64 / Self::ASKED as f64
    }
}
