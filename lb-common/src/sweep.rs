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

/// Values of [`Header::mode`].
pub mod mode {
    /// End what has been idle for its state's timeout.
    pub const IDLE: u8 = 0;
    /// End it in any case.
    pub const ALL: u8 = 1;
}

const _: () = assert!(size_of::<Header>() == 16);
