//! Two CPUs at once, for what must hold whatever they do to each other.

use std::sync::Barrier;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Runs both functions at once, each on a CPU of its own where there are two.
pub fn on_two(left: impl FnOnce() + Send, right: impl FnOnce() + Send) {
    let cpus = allowed();
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            stay_on(first);
            barrier.wait();
            left();
        });
        scope.spawn(|| {
            stay_on(last);
            barrier.wait();
            right();
        });
    });
}

/// Keeps this thread on one CPU.
pub fn stay_on_one() {
    stay_on(allowed()[0]);
}

fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap())
        .collect()
}

fn stay_on(cpu: usize) {
    let mut one = CpuSet::new();
    one.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}
