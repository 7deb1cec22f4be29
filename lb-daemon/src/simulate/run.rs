//! The run: connections come, live and end in virtual time, and the reals
//! change under them.
//!
//! A connection is active until its time is over, then inactive for as long as
//! it lingers, as one of TCP is for IPVS after the client's FIN.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{
    Host, Report, Scenario,
    chance::{Chance, Draw},
    lifetime::nanoseconds,
    moves::Moves,
    nanos,
    report::{RealReport, round},
    tally::Level,
};
use crate::{
    config::{
        model::{RealId, RealState, Service},
        scheduling::flag_names,
    },
    reconcile::{plan::NoRoom, standing::Standing},
};

/// Clients are in 10.0.0.0/8, the addresses that they want in 172.16.0.0/12.
const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const FIRST_DESTINATION: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);

/// The ports that Linux gives clients (`net.ipv4.ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const PORTS: u32 = 28_232;

/// One stream of chances for each thing, so that one flag changes one thing.
mod stream {
    pub const ARRIVALS: u64 = 1;
    pub const LIFETIMES: u64 = 2;
    pub const CLIENTS: u64 = 3;
    pub const DESTINATIONS: u64 = 4;
    pub const PORTS: u64 = 5;
    pub const PICKS: u64 = 6;
}

/// Runs a scenario up to its last new connection.
pub fn run(scenario: &Scenario) -> Result<Report, NoRoom> {
    let arrivals = scenario.arrivals;
    let chance = |stream| Chance::new(arrivals.seed, stream);
    let mut gaps = chance(stream::ARRIVALS);
    let mut lifetimes = chance(stream::LIFETIMES);
    let mut ports = chance(stream::PORTS);
    let mut clients = Draw::new(arrivals.clients, chance(stream::CLIENTS));
    let mut destinations = Draw::new(arrivals.destinations, chance(stream::DESTINATIONS));
    let mut run = Run::begin(scenario)?;
    let is_by_destination = scenario.service.scheduler.layout().is_by_destination();
    let mean_gap_s = 1.0 / f64::from(arrivals.rate);
    for number in 0..arrivals.connections {
        let at = if arrivals.is_even {
            u64::from(number) * 1_000_000_000 / u64::from(arrivals.rate)
        } else {
            run.now_ns + nanoseconds(-gaps.unit().ln() * mean_gap_s)
        };
        run.advance(at)?;
        let (client, destination) = (clients.member(), destinations.member());
        let port = FIRST_PORT + ports.below(PORTS) as u16;
        let from = SocketAddr::from((nth(FIRST_CLIENT, client), port));
        let key = match is_by_destination {
            true => destination,
            false => client,
        };
        let lives_ns = arrivals.lifetime.draw(&mut lifetimes);
        run.connect(key, from, nth(FIRST_DESTINATION, destination), lives_ns);
    }
    Ok(run.report())
}

fn nth(first: Ipv4Addr, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first) + number)
}

/// A real's tally.
#[derive(Default)]
struct Tally {
    connections: u32,
    active: Level,
    /// Connections that its weight would have given it.
    by_weight: f64,
}

/// What happens next.
#[derive(Clone, Copy)]
enum Next {
    /// A connection is active no longer.
    End,
    /// A connection is over.
    Gone,
    /// An event of the scenario.
    Turn,
    /// A real in its slow start takes more.
    Share,
}

struct Run<'a> {
    scenario: &'a Scenario,
    host: Host,
    now_ns: u64,
    service: &'a Service,
    turns_done: usize,
    next_share_ns: Option<u64>,
    indices: HashMap<RealId, u32>,
    tallies: Vec<Tally>,
    all: Level,
    refused: u32,
    /// Active connections: when each ends, and its real.
    active: BinaryHeap<Reverse<(u64, u32)>>,
    /// Inactive ones, in order of time: all linger as long.
    inactive: VecDeque<(u64, u32)>,
    /// Connections that have come since the service last changed.
    come: u32,
    moves: Moves,
}

impl<'a> Run<'a> {
    fn begin(scenario: &'a Scenario) -> Result<Self, NoRoom> {
        let arrivals = &scenario.arrivals;
        let seed = Chance::new(arrivals.seed, stream::PICKS).word();
        let population = match scenario.service.scheduler.layout().is_by_destination() {
            true => arrivals.destinations,
            false => arrivals.clients,
        };
        let reals = scenario.reals.iter();
        let mut run = Self {
            scenario,
            host: Host::new(seed, scenario.lblc_expiry),
            now_ns: 0,
            service: &scenario.service,
            turns_done: 0,
            next_share_ns: None,
            indices: reals.map(|real| real.id).zip(0..).collect(),
            tallies: scenario.reals.iter().map(|_| Tally::default()).collect(),
            all: Level::default(),
            refused: 0,
            active: BinaryHeap::new(),
            inactive: VecDeque::new(),
            come: 0,
            moves: Moves::new(population.members, scenario.reals.len()),
        };
        run.serve()?;
        Ok(run)
    }

    /// Plans the service as it is now.
    fn serve(&mut self) -> Result<(), NoRoom> {
        self.host.set_service(self.service)?;
        let next = self.host.next_share_at(self.service);
        self.next_share_ns = next.map(nanos);
        Ok(())
    }

    /// What happens until then.
    fn advance(&mut self, until_ns: u64) -> Result<(), NoRoom> {
        while let Some((at, next)) = self.next().filter(|(at, _)| *at <= until_ns) {
            self.pass(at);
            match next {
                Next::End => self.end(),
                Next::Gone => {
                    if let Some((_, real)) = self.inactive.pop_front() {
                        self.host.count(self.id(real), 0, -1);
                    }
                }
                Next::Turn => {
                    self.share_out();
                    let turn = &self.scenario.turns[self.turns_done];
                    self.turns_done += 1;
                    self.service = &turn.service;
                    self.moves.touch(turn.real);
                    self.serve()?;
                }
                Next::Share => self.serve()?,
            }
        }
        self.pass(until_ns);
        Ok(())
    }

    fn pass(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.host.set_now(Duration::from_nanos(now_ns));
    }

    /// The first of what is to happen; of what happens at once, in this order.
    fn next(&self) -> Option<(u64, Next)> {
        let end = self.active.peek().map(|Reverse((at, _))| (*at, Next::End));
        let gone = self.inactive.front().map(|(at, _)| (*at, Next::Gone));
        let turn = self.scenario.turns.get(self.turns_done);
        let turn = turn.map(|turn| (nanos(turn.at), Next::Turn));
        let share = self.next_share_ns.map(|at| (at, Next::Share));
        let all = [end, gone, turn, share].into_iter().flatten();
        all.min_by_key(|(at, _)| *at)
    }

    fn end(&mut self) {
        let Some(Reverse((_, real))) = self.active.pop() else {
            return;
        };
        self.tallies[real as usize].active.fall(self.now_ns);
        self.all.fall(self.now_ns);
        let linger = nanos(self.scenario.arrivals.linger);
        let lingers = linger > 0;
        self.host.count(self.id(real), -1, i32::from(lingers));
        if lingers {
            let until = self.now_ns.saturating_add(linger);
            self.inactive.push_back((until, real));
        }
    }

    /// A new connection now.
    fn connect(&mut self, key: u32, client: SocketAddr, wanted: Ipv4Addr, lives_ns: u64) {
        self.come += 1;
        let Some(id) = self.host.pick(client, wanted.into()) else {
            self.refused += 1;
            return;
        };
        let real = self.indices[&id];
        self.moves.meet(key, real);
        self.host.count(id, 1, 0);
        let tally = &mut self.tallies[real as usize];
        tally.connections += 1;
        tally.active.rise(self.now_ns);
        self.all.rise(self.now_ns);
        let speed = self.scenario.reals[real as usize].speed;
        let takes_ns = nanoseconds(lives_ns as f64 / 1e9 / speed);
        let ends = self.now_ns.saturating_add(takes_ns);
        self.active.push(Reverse((ends, real)));
    }

    fn id(&self, real: u32) -> RealId {
        self.scenario.reals[real as usize].id
    }

    /// Gives each real what its weight says of the connections that have come.
    fn share_out(&mut self) {
        let come = f64::from(std::mem::take(&mut self.come));
        let weights = self.service.reals.iter();
        let weights = weights.map(|real| (real.id, f64::from(Standing::Up.weight(real))));
        let all: f64 = weights.clone().map(|(_, weight)| weight).sum();
        for (id, weight) in weights.filter(|(_, weight)| *weight > 0.0) {
            let index = self.indices[&id] as usize;
            self.tallies[index].by_weight += come * weight / all;
        }
    }

    fn report(mut self) -> Report {
        self.share_out();
        let scenario = self.scenario;
        let connections = scenario.arrivals.connections;
        let served = connections - self.refused;
        let part = |number: f64, of: u32| round(number / f64::from(of.max(1)));
        let mut reals = Vec::with_capacity(scenario.reals.len());
        for (known, mut tally) in scenario.reals.iter().zip(self.tallies) {
            let real = self.service.reals.iter().find(|real| real.id == known.id);
            reals.push(RealReport {
                real: known.name.clone(),
                weight: real.map(|real| real.weight.get()),
                state: match real.map(|real| real.state) {
                    Some(RealState::Ready) => "ready",
                    Some(RealState::Drain) => "drain",
                    Some(RealState::Maint) => "down",
                    None => "removed",
                },
                connections: tally.connections,
                share: part(f64::from(tally.connections), served),
                share_by_weight: part(tally.by_weight, connections),
                peak_active: tally.active.peak(),
                mean_active: round(tally.active.mean(self.now_ns)),
            });
        }
        let scheduler = self.service.scheduler;
        Report {
            scheduler: scheduler.name(),
            scheduler_flags: flag_names(scheduler, self.service.scheduler_flags),
            seed: scenario.arrivals.seed,
            connections,
            refused: self.refused,
            duration_s: round(self.now_ns as f64 / 1e9),
            peak_active: self.all.peak(),
            mean_active: round(self.all.mean(self.now_ns)),
            moves_of: match scheduler.layout().is_by_destination() {
                true => "destinations",
                false => "clients",
            },
            moves: self.moves.counts,
            events_after_end: (scenario.turns.len() - self.turns_done) as u32,
            reals,
        }
    }
}

#[cfg(test)]
mod tests;
