//! The schedulers: for each, the plan that the daemon lays out and the pick
//! that the program makes from it. One file each; `registry` names them.
//!
//! A pick is written once, over [`Context`]: the program gives it the maps, the
//! simulator and the tests give it memory.

mod buckets;
mod context;
mod key;
pub mod locality;
pub mod maglev;
mod registry;
pub mod rows;
mod search;

pub use self::{
    context::{Context, Load, Loads},
    key::{Key, hash},
};
use crate::service::Plan;

/// No real slot. An `Option` would be half undefined in the program, and so a
/// register that the verifier does not allow to be stored.
pub const NO_REAL: u32 = u32::MAX;

/// Words that lie in one value of `PLAN_WORDS`, and reals whose live
/// connections lie in one value of `REAL_COUNTS`: one look-up reads them all.
pub const SHELF: usize = 16;

/// `Listed::share` of a real that takes its whole part.
pub const FULL_SHARE: u32 = 16;

/// A scheduler as the program runs it.
pub trait Pick {
    /// The slot of a real that is not overloaded, or [`NO_REAL`].
    fn pick<X: Context>(plan: &Plan, context: &X) -> u32;
}

macro_rules! declare {
    ($($number:literal $name:ident $module:ident $program:ident;)*) => {
        $(pub mod $module;)*

        /// A scheduler. The number is the plan's `scheduler` and the index of
        /// its program in the program array.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Scheduler {
            $($name = $number,)*
        }

        impl Scheduler {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As in `lbd.toml` and ipvsadm's `-s`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($module),)*
                }
            }

            /// Name of its program in the object file.
            #[must_use]
            pub const fn program(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($program),)*
                }
            }

            /// What the daemon makes its plans by.
            #[cfg(feature = "user")]
            #[must_use]
            pub fn layout(self) -> &'static dyn Layout {
                match self {
                    $(Self::$name => &$module::$name,)*
                }
            }

            /// Its pick from a plan of its own.
            #[must_use]
            pub fn pick<X: Context>(self, plan: &Plan, context: &X) -> u32 {
                match self {
                    $(Self::$name => <$module::$name as Pick>::pick(plan, context),)*
                }
            }
        }
    };
}

crate::schedulers!(declare);

impl Scheduler {
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.name() == name)
    }

    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| *s as u32 == number)
    }
}

/// Bits of [`Plan::flags`].
pub mod flag {
    /// The client's port counts too.
    pub const PORT: u32 = 1;
    /// Where the hash leads to a real that is not eligible, the search goes on.
    pub const FALLBACK: u32 = 1 << 1;
}

#[cfg(feature = "user")]
mod layout;
#[cfg(feature = "user")]
pub mod memory;
#[cfg(feature = "user")]
pub use self::layout::{Former, Layout, Listed, Options, Weighted, in_sixteenths, weighted};
