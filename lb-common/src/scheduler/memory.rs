//! The maps of one service as memory: the picks of the program, on the host.
//! The simulator and the tests run on it.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::cell::{Cell, RefCell, UnsafeCell};

use super::{
    Context, Former, Key, Listed, Load, Loads, Options, SHELF, Scheduler,
    locality::{LocalitySet, MOST_DESTINATIONS, Shared},
};
use crate::{addr::Addr, real::RealCounts, service::Plan};

/// One service's plan and what its picks look at.
pub struct Memory {
    plan: Plan,
    turn: Cell<u64>,
    shelves: Vec<[u32; SHELF]>,
    listed: Vec<Listed>,
    counts: Vec<[Cell<RealCounts>; SHELF]>,
    localities: RefCell<BTreeMap<Addr, Box<UnsafeCell<LocalitySet>>>>,
    /// The packet's.
    key: Cell<Key>,
    now_ns: Cell<u64>,
    locality_expiry_ns: u64,
    random: Cell<u64>,
}

/// No flags, the default table.
pub const OPTIONS: Options = Options {
    flags: 0,
    table_size: 4093,
};

impl Memory {
    /// Without a plan. `seed` makes the same chances again; `locality_expiry_ns`
    /// is `lblc_expiry`.
    #[must_use]
    pub fn empty(seed: u64, locality_expiry_ns: u64) -> Self {
        Self {
            plan: Plan::default(),
            turn: Cell::new(0),
            shelves: Vec::new(),
            listed: Vec::new(),
            counts: Vec::new(),
            localities: RefCell::default(),
            key: Cell::default(),
            now_ns: Cell::new(0),
            locality_expiry_ns,
            random: Cell::new(seed | 1),
        }
    }

    /// With a scheduler's plan for these reals.
    #[must_use]
    pub fn new(scheduler: Scheduler, reals: &[Listed], options: Options) -> Self {
        let mut memory = Self::empty(1, u64::MAX);
        memory.change(scheduler, reals, options);
        memory
    }

    /// The reals are others now.
    pub fn change(&mut self, scheduler: Scheduler, reals: &[Listed], options: Options) {
        let layout = scheduler.layout();
        let former = self.words();
        let former = Former {
            reals: &self.listed,
            words: &former,
            cycle: self.plan.cycle,
            start: self.plan.start,
            turn: self.turn.get(),
        };
        let start = match self.listed.is_empty() {
            true => 0,
            false => layout.resume(&former, reals),
        };
        let mut words = Vec::new();
        let cycle = layout.plan(reals, options, &mut words);
        let plan = Plan {
            scheduler: scheduler as u32,
            flags: options.flags,
            length: words.len() as u32,
            cycle,
            start,
            turn: start,
            ..Plan::default()
        };
        self.set_plan(plan, &words);
        for real in reals {
            self.set_counts(real.slot, self.counts(real.slot));
        }
        self.listed = reals.to_vec();
    }

    /// The scheduler's words of `plan` are `words`.
    pub fn set_plan(&mut self, plan: Plan, words: &[u32]) {
        self.turn.set(plan.turn);
        self.plan = plan;
        let mut words = words.to_vec();
        words.resize(words.len().next_multiple_of(SHELF), 0);
        self.shelves = words
            .chunks_exact(SHELF)
            .map(|shelf| shelf.try_into().expect("of this length"))
            .collect();
    }

    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The next turn of the plan.
    #[must_use]
    pub const fn turn(&self) -> u64 {
        self.turn.get()
    }

    fn words(&self) -> Vec<u32> {
        let words = self.shelves.iter().flatten().copied();
        words.take(self.plan.length as usize).collect()
    }

    /// The real that a packet would go to.
    #[must_use]
    pub fn pick(&self, key: Key) -> u32 {
        self.key.set(key);
        match Scheduler::from_number(self.plan.scheduler) {
            Some(scheduler) => scheduler.pick(&self.plan, self),
            None => super::NO_REAL,
        }
    }

    /// As many picks one after the other, of the same packet.
    #[must_use]
    pub fn picks(&self, number: usize) -> Vec<u32> {
        (0..number).map(|_| self.pick(Key::default())).collect()
    }

    pub fn set_now(&self, now_ns: u64) {
        self.now_ns.set(now_ns);
    }

    /// The live connections of a real slot; 0 where there have been none.
    #[must_use]
    pub fn counts(&self, slot: u32) -> RealCounts {
        let shelf = self.counts.get(slot as usize / SHELF);
        shelf.map_or_else(RealCounts::default, |shelf| {
            shelf[slot as usize % SHELF].get()
        })
    }

    /// A slot has to have counts before it is picked.
    pub fn set_counts(&mut self, slot: u32, counts: RealCounts) {
        let shelf = slot as usize / SHELF;
        while self.counts.len() <= shelf {
            self.counts.push(Default::default());
        }
        self.counts[shelf][slot as usize % SHELF].set(counts);
    }

    /// The members of the set that a destination has, the oldest first.
    #[must_use]
    pub fn members(&self, destination: &Addr) -> Vec<u32> {
        let localities = self.localities.borrow();
        let Some(set) = localities.get(destination) else {
            return Vec::new();
        };
        // SAFETY: nobody else is at it.
        let set = unsafe { *set.get() };
        set.members[..set.count as usize].to_vec()
    }
}

impl Loads for &[Cell<RealCounts>; SHELF] {
    fn at(&self, place: usize) -> Load {
        Load::from(&self[place].get())
    }
}

impl Context for Memory {
    fn word(&self, index: u32) -> Option<u32> {
        let shelf = self.shelves.get(index as usize / SHELF)?;
        (index < self.plan.length).then(|| shelf[index as usize % SHELF])
    }

    fn words(&self, shelf: u32) -> Option<&[u32; SHELF]> {
        self.shelves.get(shelf as usize)
    }

    fn loads(&self, shelf: u32) -> Option<impl Loads> {
        self.counts.get(shelf as usize)
    }

    fn next_turn(&self) -> u64 {
        self.turn.replace(self.turn.get().wrapping_add(1))
    }

    fn skip_turns(&self, number: u64) {
        self.turn.set(self.turn.get().wrapping_add(number));
    }

    /// xorshift64*, after Vigna, "An experimental exploration of Marsaglia's
    /// xorshift generators, scrambled".
    fn random(&self) -> u32 {
        let mut state = self.random.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random.set(state);
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn key(&self) -> Key {
        self.key.get()
    }

    fn locality_expiry_ns(&self) -> u64 {
        self.locality_expiry_ns
    }

    fn locality(&self) -> Option<Shared<'_>> {
        let localities = self.localities.borrow();
        let set = localities.get(&self.key.get().destination)?;
        // SAFETY: in a box of its own that is never taken away; one thread, and
        // nobody but `Shared` writes.
        let set = unsafe { Shared::new(set.get()) };
        set.use_at(self.now_ns.get());
        Some(set)
    }

    fn remember(&self, real: u32) {
        let mut localities = self.localities.borrow_mut();
        if localities.len() < MOST_DESTINATIONS as usize {
            let set = LocalitySet::new(real, self.now_ns.get());
            localities.insert(self.key.get().destination, Box::new(UnsafeCell::new(set)));
        }
    }

    fn repeat(times: u32, mut body: impl FnMut(u32) -> bool) {
        let _ = (0..times).any(&mut body);
    }
}

/// Reals of these slots and weights.
#[cfg(test)]
pub(crate) fn listed(reals: &[(u32, u32)]) -> Vec<Listed> {
    reals
        .iter()
        .map(|&(slot, weight)| Listed::new(slot, weight, crate::flow::mix(u64::from(slot) + 1)))
        .collect()
}
