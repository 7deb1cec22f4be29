//! A thread's way through the phases, on a data plane of its own: make, run,
//! judge, count.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::{
    director::{CONNECTIONS, Director},
    failure::{Failure, Failures},
    generate::{Generator, Made, Side},
    judge::{Fate, judge},
    method::Method,
    run::Verdict,
    tally::Tally,
    wires::Wires,
};

/// Packets between two looks at the drop counters.
const BATCH: usize = 1024;
/// Packets between two clearances of the tables: so many that the table does
/// not fill with what spoilt packets begin.
const CLEARANCE: u64 = 1 << 17;
/// Odd, and without a pattern: the seeds of neighbours are far apart.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

pub struct Lane {
    director: Director,
    wires: Wires,
    method: Method,
    seed: u64,
    generator: Generator,
    batch: Batch,
    /// Drops by reason when they were last looked at.
    counted: BTreeMap<&'static str, u64>,
    failures: Failures,
}

/// What has run since the drop counters were last looked at.
#[derive(Default)]
struct Batch {
    arrivals: Vec<Arrival>,
    frames: Vec<u8>,
    /// Dropped and answered packets.
    expected: u64,
    /// A packet's fate was none, so nobody knows what it should count.
    is_unclear: bool,
}

/// A frame of the batch and where it came in.
struct Arrival {
    start: usize,
    end: usize,
    side: Side,
    number: u64,
}

impl Lane {
    pub fn open(wires: Wires) -> Self {
        Self {
            director: Director::open(CONNECTIONS),
            wires,
            method: Method::Dr,
            seed: 0,
            generator: Generator::new(Method::Dr),
            batch: Batch::default(),
            counted: BTreeMap::new(),
            failures: Failures::default(),
        }
    }

    /// `packets` packets of a method, each made of the seed and its number.
    pub fn phase(&mut self, method: Method, seed: u64, packets: u64) -> Tally {
        self.enter(method, seed);
        let mut tally = Tally::default();
        let counted = self.director.counted_packets();
        for number in 0..packets {
            if number % CLEARANCE == CLEARANCE - 1 {
                self.settle();
                self.director.forget_connections();
                self.open_conversations();
            }
            let seed = seed.wrapping_add(number.wrapping_mul(STRIDE));
            let made = self.generator.make(&mut Rng::with_seed(seed));
            if let Some(fate) = self.one(&made, number) {
                tally.count(made.kind, fate);
            }
        }
        self.settle();
        tally.seen_by_reals = self.director.counted_packets() - counted;
        tally
    }

    /// One frame on a method's opened conversations.
    pub fn again(&mut self, method: Method, side: Side, frame: &[u8]) -> Option<Fate> {
        self.enter(method, 0);
        self.generator.draft.clear();
        self.generator.draft.put(frame);
        let fate = self.one(&Made::of_somebody(side), 0);
        self.settle();
        fate
    }

    /// What went wrong, and the dropped packets of all phases by reason.
    pub fn close(self) -> (Vec<Failure>, BTreeMap<&'static str, u64>) {
        (self.failures.into_vec(), self.director.drops())
    }

    /// Configures a method's services and opens every conversation.
    fn enter(&mut self, method: Method, seed: u64) {
        self.method = method;
        self.seed = seed;
        self.generator = Generator::new(method);
        self.director.clear();
        self.director.enter(method, self.wires);
        self.open_conversations();
        self.settle();
    }

    fn open_conversations(&mut self) {
        let mut number = 0;
        while let Some(made) = self.generator.open(number) {
            self.one(&made, number as u64);
            number += 1;
        }
    }

    /// Runs what the generator made last.
    fn one(&mut self, made: &Made, number: u64) -> Option<Fate> {
        let frame = &self.generator.draft.bytes;
        let ingress = self.wires.index(made.side);
        let (verdict, after) = self.director.runner.run(ingress, frame);
        let fate = judge(self.method, frame, verdict, after);
        self.batch.note(frame, made.side, number);
        match &fate {
            Ok(Fate::Dropped | Fate::Answered) => self.batch.expected += 1,
            Ok(Fate::Forwarded(sent)) => self.generator.learn(made, *sent),
            Ok(Fate::Passed) => {}
            Err(complaint) => {
                self.batch.is_unclear = true;
                self.failures.add(Failure {
                    method: self.method,
                    seed: self.seed,
                    number,
                    complaint: complaint.clone(),
                    side: made.side,
                    before: frame.clone(),
                    verdict,
                    after: after.to_vec(),
                    made: Some(*made),
                });
            }
        }
        if self.batch.arrivals.len() == BATCH {
            self.settle();
        }
        fate.ok()
    }

    /// Holds the drop counters against what was seen: one each for a packet
    /// that was dropped or answered.
    fn settle(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let counted = self.director.drops();
        let new = counted.values().sum::<u64>() - self.counted.values().sum::<u64>();
        self.counted = counted;
        if new != batch.expected && !batch.is_unclear {
            let failure = self.find_uncounted(&batch, new);
            self.failures.add(failure);
            self.counted = self.director.drops();
        }
        self.batch = batch.emptied();
    }

    /// Runs the batch again, one packet at a time, to find the one that was
    /// not counted once.
    fn find_uncounted(&mut self, batch: &Batch, counted: u64) -> Failure {
        let mut failure = Failure {
            method: self.method,
            seed: self.seed,
            number: batch.arrivals.last().map_or(0, |arrival| arrival.number),
            complaint: format!(
                "{} of the {} packets before were dropped or answered, {counted} counted",
                batch.expected,
                batch.arrivals.len()
            ),
            side: Side::Clients,
            before: Vec::new(),
            verdict: Verdict::Drop,
            after: Vec::new(),
            made: None,
        };
        for arrival in &batch.arrivals {
            let before = &batch.frames[arrival.start..arrival.end];
            let counters = self.director.drops();
            let ingress = self.wires.index(arrival.side);
            let (verdict, after) = self.director.runner.run(ingress, before);
            let after = after.to_vec();
            let fate = judge(self.method, before, verdict, &after);
            let expected = u64::from(matches!(fate, Ok(Fate::Dropped | Fate::Answered)));
            let mut counted = self.director.drops();
            counted.retain(|name, count| {
                *count -= counters.get(name).copied().unwrap_or(0);
                *count > 0
            });
            if counted.values().sum::<u64>() != expected {
                failure.complaint += &format!("; alone: {fate:?}, counted {counted:?}");
                failure.number = arrival.number;
                failure.side = arrival.side;
                failure.before = before.to_vec();
                failure.verdict = verdict;
                failure.after = after;
                break;
            }
        }
        failure
    }
}

impl Batch {
    fn note(&mut self, frame: &[u8], side: Side, number: u64) {
        let start = self.frames.len();
        self.frames.extend_from_slice(frame);
        self.arrivals.push(Arrival {
            start,
            end: self.frames.len(),
            side,
            number,
        });
    }

    /// A new batch in the memory of this one.
    fn emptied(mut self) -> Self {
        self.arrivals.clear();
        self.frames.clear();
        Self {
            arrivals: self.arrivals,
            frames: self.frames,
            ..Self::default()
        }
    }
}
