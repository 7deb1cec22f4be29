//! What the daemon hands to the sweep program: a [`Header`] and keys.

/// The head of the sweep's input, 16 bytes; [`crate::flow::FlowKeyV4`]s or
/// [`crate::flow::FlowKeyV6`]s follow, by program.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Keys that follow, at most [`crate::limits::SWEEP_BATCH`].
    pub count: u8,
    /// [`mode`].
    pub mode: u8,
    pub pad: [u8; 14],
}

/// Where a walk stands. Value of `PACE`, an array of one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The time, of a few entries ago: monotonic clock, ns.
    pub now_ns: u64,
    /// When the reader was let go last.
    pub paused_ns: u64,
    /// What will be over by then is written too; the daemon's.
    pub until_ns: u64,
}

/// An entry that is to end: what a walk writes, all of it 0 for nothing; and
/// what the ring buffer [`crate::abi::map::EXPIRIES`] has of what is over in less
/// than [`crate::limits::SHORT_TIMEOUT_S`]. The length tells what key it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found<K> {
    pub key: K,
    /// [`mode`]. A whole word: odd octets of a stack cannot be written together.
    pub mode: u32,
    /// When, from now: ms.
    pub after_ms: u32,
}

impl<K> Found<K> {
    pub const BYTES: usize = size_of::<Self>();
}

/// How and when an entry is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// [`mode`].
    pub mode: u8,
    /// From now.
    pub after_ms: u32,
}

impl Ending {
    /// Of what has this timeout and was last used then: nothing where the next
    /// walk comes in time.
    #[inline(always)]
    #[must_use]
    pub fn of_idle(last_seen_ns: u64, timeout_s: u32, pace: &Pace) -> Option<Self> {
        let over_ns = last_seen_ns.wrapping_add(u64::from(timeout_s) * 1_000_000_000);
        if over_ns <= pace.now_ns {
            return Some(Self::now(mode::IDLE));
        }
        (over_ns <= pace.until_ns).then(|| Self {
            mode: mode::IDLE,
            after_ms: ((over_ns - pace.now_ns) / 1_000_000) as u32 + 1,
        })
    }

    #[inline(always)]
    #[must_use]
    pub const fn now(mode: u8) -> Self {
        Self { mode, after_ms: 0 }
    }
}

/// Values of [`Header::mode`] and [`Found::mode`].
pub mod mode {
    /// Of a walk's pause.
    pub const NOTHING: u8 = 0;
    /// End what has been idle for its state's timeout.
    pub const IDLE: u8 = 1;
    /// End it in any case.
    pub const ALL: u8 = 2;
    /// Cut it: the entry stays a while, so that the client hears of it.
    pub const CUT: u8 = 3;
    /// End it at its next packet.
    pub const DOOM: u8 = 4;
    /// End it if it is half-open.
    pub const HALF_OPEN: u8 = 5;
    /// Of `repair`: `real` is a family, 0 or 1, and `active` is added to the
    /// entries of its connection table. The fill is judged anew.
    pub const FILL: u8 = 6;
}

/// What `repair` adds to the counts of a real, two's complements. The real's
/// thresholds are looked at anew.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Real slot.
    pub real: u32,
    pub active: u32,
    pub inactive: u32,
    pub persistent: u32,
}

const _: () = {
    use crate::{
        flow::{FlowKeyV4, FlowKeyV6},
        limits::WALK_PAUSE_BYTES,
        persistence::TemplateKey,
    };
    assert!(WALK_PAUSE_BYTES.is_multiple_of(size_of::<Found<FlowKeyV4>>()));
    assert!(WALK_PAUSE_BYTES.is_multiple_of(size_of::<Found<FlowKeyV6>>()));
    assert!(WALK_PAUSE_BYTES.is_multiple_of(size_of::<Found<TemplateKey>>()));
};
const _: () = assert!(size_of::<Repair>() == 16);
const _: () = assert!(size_of::<Header>() == 16);
