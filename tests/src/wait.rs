//! Conditions with deadlines, in place of sleeps.

use std::env;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a program may take from its start until it is ready.
pub const START_LIMIT: Duration = Duration::from_secs(20);

/// Waits until `condition` holds. `what` names it in the error: "nginx to listen".
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    try_until(what, limit, || Ok(condition()))
}

/// As [`until`], but an error of the condition ends the wait at once: the
/// program that should become ready has died, for example.
pub fn try_until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    loop {
        if condition()? {
            return Ok(());
        }
        interrupt::check()?;
        if start.elapsed() > limit * patience() {
            bail!("waited {limit:?} for {what}");
        }
        thread::sleep(PAUSE);
    }
}

/// How many times as long as on a usual machine everything may take: `LBD_PATIENCE`,
/// which the virtual machine sets, whose processor is emulated.
fn patience() -> u32 {
    static PATIENCE: OnceLock<u32> = OnceLock::new();
    *PATIENCE.get_or_init(|| {
        let set = env::var("LBD_PATIENCE").ok();
        set.and_then(|times| times.parse().ok()).unwrap_or(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_waited_for() {
        let error = until("rain", Duration::ZERO, || false).unwrap_err();
        assert_eq!(error.to_string(), "waited 0ns for rain");
    }

    #[test]
    fn an_error_ends_the_wait() {
        let error = try_until("rain", Duration::from_secs(60), || bail!("drought")).unwrap_err();
        assert_eq!(error.to_string(), "drought");
    }
}
