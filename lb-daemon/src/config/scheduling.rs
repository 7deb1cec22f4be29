//! How a service deals its connections out: the scheduler, and what is asked of
//! it besides. The names of flags are the scheduler's own
//! ([`lb_common::scheduler::Layout::flags`]).

use std::{ops::RangeInclusive, time::Duration};

use lb_common::{limits::MAX_TABLE_SIZE, scheduler::Scheduler};

use super::{
    model::Service,
    rules::{Invalid, invalid},
};

/// Places of mh's table where nothing is said: as `ip_vs_mh.c` has by default
/// (`CONFIG_IP_VS_MH_TAB_INDEX` 12).
pub const DEFAULT_TABLE_SIZE: u32 = 4093;

/// The least is that of `CONFIG_IP_VS_MH_TAB_INDEX` too.
pub const TABLE_SIZES: RangeInclusive<u32> = 251..=MAX_TABLE_SIZE;

/// The longest slow start: further on a weight is what is meant.
pub const MAX_SLOW_START_S: u32 = 3600;

/// The longest expiry of lblc and lblcr: a year.
pub const MAX_LBLC_EXPIRY_S: u32 = 365 * 86_400;

/// A service's scheduler and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    pub scheduler: Scheduler,
    /// Bits of [`lb_common::scheduler::flag`].
    pub flags: u32,
    /// mh: a prime.
    pub table_size: u32,
    pub slow_start: Option<Duration>,
}

impl Scheduling {
    /// A scheduler of which nothing is asked besides.
    #[must_use]
    pub const fn plain(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            flags: 0,
            table_size: DEFAULT_TABLE_SIZE,
            slow_start: None,
        }
    }

    /// The names of its flags.
    #[must_use]
    pub fn flag_names(&self) -> Vec<String> {
        flag_names(self.scheduler, self.flags)
    }

    /// Of mh alone.
    #[must_use]
    pub fn shown_table_size(&self) -> Option<u32> {
        (self.scheduler == Scheduler::Mh).then_some(self.table_size)
    }
}

impl Default for Scheduling {
    /// Of a service that names no scheduler: ipvsadm's default.
    fn default() -> Self {
        Self::plain(Scheduler::Wlc)
    }
}

/// The bits of the flags called `words`.
pub fn flags<S: AsRef<str>>(scheduler: Scheduler, words: &[S]) -> Result<u32, String> {
    let mut bits = 0;
    for word in words {
        let word = word.as_ref();
        let known = scheduler.layout().flags();
        let Some((_, bit)) = known.iter().find(|(name, _)| *name == word) else {
            return Err(format!(
                "{} has no flag {word:?}; it takes {}",
                scheduler.name(),
                flag_list(scheduler, u32::MAX)
            ));
        };
        if bits & bit != 0 {
            return Err(format!("{word:?} is listed twice"));
        }
        bits |= bit;
    }
    Ok(bits)
}

/// The names of the flags in `bits`, in the order in which ipvsadm prints them.
#[must_use]
pub fn flag_names(scheduler: Scheduler, bits: u32) -> Vec<String> {
    let known = scheduler.layout().flags().iter();
    let set = known.filter(|(_, bit)| bits & bit != 0);
    set.map(|(name, _)| (*name).to_owned()).collect()
}

/// `sh-fallback, sh-port`, or `none`.
#[must_use]
pub fn flag_list(scheduler: Scheduler, bits: u32) -> String {
    match flag_names(scheduler, bits) {
        names if names.is_empty() => "none".into(),
        names => names.join(", "),
    }
}

impl Service {
    #[must_use]
    pub const fn scheduling(&self) -> Scheduling {
        Scheduling {
            scheduler: self.scheduler,
            flags: self.scheduler_flags,
            table_size: self.mh_table_size,
            slow_start: self.slow_start,
        }
    }

    pub const fn set_scheduling(&mut self, scheduling: Scheduling) {
        let Scheduling {
            scheduler,
            flags,
            table_size,
            slow_start,
        } = scheduling;
        self.scheduler = scheduler;
        self.scheduler_flags = flags;
        self.mh_table_size = table_size;
        self.slow_start = slow_start;
    }

    pub(super) fn check_scheduling(&self) -> Result<(), Invalid> {
        let refuse =
            |key, problem: String| Err(invalid(key, format!("service {}: {problem}", self.id)));
        let (scheduler, layout) = (self.scheduler.name(), self.scheduler.layout());
        let known = layout.flags().iter().fold(0, |bits, (_, bit)| bits | bit);
        if self.scheduler_flags & !known != 0 {
            let problem = format!("scheduler_flags that {scheduler} does not have");
            return refuse("scheduler_flags", problem);
        }
        if let Err(problem) = self.check_table_size() {
            return refuse("mh_table_size", problem);
        }
        match self.slow_start {
            Some(_) if !layout.starts_slowly() => refuse(
                "slow_start",
                format!(
                    "{scheduler} has no slow_start: it says who gets a connection, not how many each gets"
                ),
            ),
            Some(time) if time.is_zero() || time > Duration::from_secs(MAX_SLOW_START_S.into()) => {
                let problem = format!("slow_start is out of range: 1 s to {MAX_SLOW_START_S} s");
                refuse("slow_start", problem)
            }
            None | Some(_) => Ok(()),
        }
    }

    fn check_table_size(&self) -> Result<(), String> {
        let size = self.mh_table_size;
        if self.scheduler != Scheduler::Mh {
            return if size == DEFAULT_TABLE_SIZE {
                Ok(())
            } else {
                let scheduler = self.scheduler.name();
                Err(format!(
                    "mh_table_size is of mh alone, and the scheduler is {scheduler}"
                ))
            };
        }
        if !TABLE_SIZES.contains(&size) {
            let (least, most) = (TABLE_SIZES.start(), TABLE_SIZES.end());
            return Err(format!(
                "mh_table_size {size} is out of range: a prime from {least} to {most}"
            ));
        }
        if !is_prime(size) {
            // Both ends of the range are primes.
            let below = (0..size).rev().find(|n| is_prime(*n)).unwrap_or(size);
            let above = (size..).find(|n| is_prime(*n)).unwrap_or(size);
            return Err(format!(
                "mh_table_size {size} is not a prime; the nearest are {below} and {above}"
            ));
        }
        let reals = self.reals.len();
        if size as usize >= reals {
            Ok(())
        } else {
            Err(format!(
                "mh_table_size {size} has not one place for each of {reals} reals"
            ))
        }
    }
}

fn is_prime(number: u32) -> bool {
    let mut divisors = (2..number).take_while(|divisor| divisor * divisor <= number);
    number > 1 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{ForwardingMethod, Real, RealId};

    fn service(scheduler: Scheduler) -> Service {
        Service::new("tcp:192.0.2.10:80".parse().unwrap(), scheduler)
    }

    fn refused(service: &Service) -> (&'static str, String) {
        let error = service.validate().unwrap_err();
        (error.key, error.problem)
    }

    #[test]
    fn flags_are_the_schedulers_own_and_in_ipvsadms_order() {
        for (scheduler, words, names) in [
            (
                Scheduler::Sh,
                &["sh-port", "sh-fallback"][..],
                &["sh-fallback", "sh-port"][..],
            ),
            (Scheduler::Mh, &["mh-port"], &["mh-port"]),
            (Scheduler::Rr, &[], &[]),
        ] {
            let bits = flags(scheduler, words).unwrap();
            assert_eq!(flag_names(scheduler, bits), names);
        }
        for (scheduler, words, problem) in [
            (
                Scheduler::Sh,
                &["mh-port"][..],
                "sh has no flag \"mh-port\"; it takes sh-fallback, sh-port",
            ),
            (
                Scheduler::Rr,
                &["sh-port"],
                "rr has no flag \"sh-port\"; it takes none",
            ),
            (
                Scheduler::Mh,
                &["mh-port", "mh-port"],
                "\"mh-port\" is listed twice",
            ),
        ] {
            assert_eq!(flags(scheduler, words), Err(problem.to_owned()));
        }
        let mut service = service(Scheduler::Wlc);
        service.scheduler_flags = lb_common::scheduler::flag::PORT;
        assert_eq!(refused(&service).0, "scheduler_flags");
    }

    #[test]
    fn mhs_table_is_a_prime_with_room_for_every_real() {
        let mut mh = service(Scheduler::Mh);
        for size in [251, 4093, 65_521, 65_537] {
            mh.mh_table_size = size;
            assert_eq!(mh.validate(), Ok(()), "{size}");
        }
        for (size, problem) in [
            (0, "is out of range: a prime from 251 to 65537"),
            (241, "is out of range: a prime from 251 to 65537"),
            (65_539, "is out of range: a prime from 251 to 65537"),
            (4096, "is not a prime; the nearest are 4093 and 4099"),
            (65_536, "is not a prime; the nearest are 65521 and 65537"),
        ] {
            mh.mh_table_size = size;
            let expected = format!("service tcp:192.0.2.10:80: mh_table_size {size} {problem}");
            assert_eq!(refused(&mh), ("mh_table_size", expected));
        }
        let real = |host| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000u32 + host).into();
            Real::new(RealId { address, port: 80 }, ForwardingMethod::Dr)
        };
        mh.reals = (1..=251).map(real).collect();
        mh.mh_table_size = 251;
        assert_eq!(mh.validate(), Ok(()));
        mh.reals.push(real(252));
        assert!(
            refused(&mh).1.contains("for each of 252 reals"),
            "{:?}",
            refused(&mh)
        );

        let mut sh = service(Scheduler::Sh);
        sh.mh_table_size = 251;
        let problem =
            "service tcp:192.0.2.10:80: mh_table_size is of mh alone, and the scheduler is sh";
        assert_eq!(refused(&sh).1, problem);
    }

    #[test]
    fn who_says_how_many_can_start_slowly() {
        for name in ["dh", "sh", "mh", "fo", "ovf"] {
            let scheduler = Scheduler::from_name(name).unwrap();
            assert!(!scheduler.layout().starts_slowly(), "{name}");
        }
        for scheduler in Scheduler::ALL {
            let mut service = service(*scheduler);
            service.slow_start = Some(Duration::from_secs(30));
            let by_who = !scheduler.layout().starts_slowly();
            match service.validate() {
                Ok(()) => assert!(!by_who, "{}", scheduler.name()),
                Err(error) => assert!(by_who && error.key == "slow_start", "{error}"),
            }
        }
        let mut wlc = service(Scheduler::Wlc);
        for seconds in [0, 3601] {
            wlc.slow_start = Some(Duration::from_secs(seconds));
            assert_eq!(
                refused(&wlc).1,
                "service tcp:192.0.2.10:80: slow_start is out of range: 1 s to 3600 s"
            );
        }
    }
}
