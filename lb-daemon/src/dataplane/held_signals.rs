//! Keeps signals from the calling thread for a while.
//!
//! The verifier gives up with EAGAIN as soon as one is pending for the thread that loads
//! a program (`do_check()` of v6.12's kernel/bpf/verifier.c), and there are always some: a
//! check's program that ends while lbd starts sends one. Those for the whole process go to
//! another thread or wait.

use nix::sys::signal::{SigSet, SigmaskHow};

/// Dropping it lets them come again.
#[derive(Debug)]
pub struct HeldSignals {
    /// None: they are not held, which pthread_sigmask(3) never lets happen.
    before: Option<SigSet>,
}

impl HeldSignals {
    /// From now on.
    #[must_use]
    pub fn hold() -> Self {
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        Self {
            before: before.ok(),
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // It was this thread's before.
            let _ = before.thread_set_mask();
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn while_it_lives() {
        let is_held = || SigSet::thread_get_mask().unwrap().contains(Signal::SIGCHLD);
        assert!(!is_held());
        let held = HeldSignals::hold();
        assert!(is_held());
        drop(held);
        assert!(!is_held());
    }
}
