//! How many mails there may be: so many from the first one on, then one that says
//! that this was the last, then none until the window is over.

use std::time::{Duration, Instant};

/// In a window.
pub(super) const MAILS: u32 = 20;

#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    window: Duration,
    /// When the first mail of this window went.
    began: Option<Instant>,
    /// Since then.
    sent: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Send,
    /// The next one not for so long.
    SendLast(Duration),
    /// Not yet, for so long.
    Hold(Duration),
}

impl Pace {
    pub(super) const fn new(window: Duration) -> Self {
        Self {
            window,
            began: None,
            sent: 0,
        }
    }

    /// Whether a mail may go now; one that may is counted.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        let left = self
            .began
            .map(|began| self.window.saturating_sub(now.duration_since(began)))
            .filter(|left| !left.is_zero());
        let Some(left) = left else {
            self.began = Some(now);
            self.sent = 1;
            return Admission::Send;
        };
        if self.sent > MAILS {
            return Admission::Hold(left);
        }
        self.sent += 1;
        if self.sent > MAILS {
            Admission::SendLast(left)
        } else {
            Admission::Send
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_so_many_the_last_says_so_and_the_rest_wait() {
        let hour = Duration::from_secs(3600);
        let second = Duration::from_secs(1);
        let began = Instant::now();
        let mut pace = Pace::new(hour);
        for window in 0..3 {
            let began = began + hour * window;
            for n in 0..MAILS {
                assert_eq!(pace.admit(began + second * n), Admission::Send);
            }
            assert_eq!(
                pace.admit(began + second * 600),
                Admission::SendLast(second * 3000)
            );
            for at in [600, 3599] {
                let held = Admission::Hold(second * (3600 - at));
                assert_eq!(pace.admit(began + second * at), held);
            }
        }
    }
}
