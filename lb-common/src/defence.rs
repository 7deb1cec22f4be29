//! What the data plane does when a connection table fills: which defences are
//! in force at which fill.

/// A defence that comes into force by the fill of a table.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// Half-open connections end at random.
    DropEntry = 0,
    /// dr, tun: new connections leave no entry. nat: half-open ones make room.
    Stateless = 1,
    /// One new connection in some is dropped.
    DropPacket = 2,
    /// TCP states move by the stricter table.
    SecureTcp = 3,
}

impl Defence {
    pub const ALL: [Self; 4] = [
        Self::DropEntry,
        Self::Stateless,
        Self::DropPacket,
        Self::SecureTcp,
    ];

    /// Its bit in [`TableState::defences`].
    #[inline(always)]
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// At how many entries a defence comes and goes, plain data.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// One more than the entries from which on it is in force; 0: never.
    pub on: u32,
    /// No longer in force with fewer entries; less than `on`.
    pub off: u32,
}

impl Mark {
    /// As an array's value is before anybody writes it.
    pub const NEVER: Self = Self { on: 0, off: 0 };
    pub const ALWAYS: Self = Self { on: 1, off: 0 };

    /// In force from `on` entries, until there are fewer than `off`.
    #[must_use]
    pub const fn new(on: u32, off: u32) -> Self {
        Self {
            on: on.saturating_add(1),
            off,
        }
    }
}

/// By [`Defence`].
pub type Marks = [Mark; Defence::ALL.len()];

/// Value of `TABLE_STATES`, an array: 0 is IPv4's connection table, 1 IPv6's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// Entries, both halves of nat connections; changed by atomic adds.
    pub entries: u32,
    /// [`Defence::bit`]s of those in force.
    pub defences: u32,
    /// When the stateless mode last ended: coarse monotonic clock, ns.
    pub stateful_since_ns: u64,
    /// Places of the table that have ever been in use: those below this.
    pub ever_used: u32,
    pub pad: u32,
}

impl TableState {
    /// Entries: none where removals have overtaken insertions for a moment.
    #[inline(always)]
    #[must_use]
    pub const fn count(self) -> u32 {
        count(self.entries)
    }
}

/// [`TableState::count`] of [`TableState::entries`].
#[inline(always)]
#[must_use]
pub const fn count(entries: u32) -> u32 {
    if entries > i32::MAX as u32 {
        0
    } else {
        entries
    }
}

/// The defences in force at so many entries.
#[inline(always)]
#[must_use]
pub fn in_force(marks: &Marks, entries: u32, before: u32) -> u32 {
    let mut defences = before;
    for (number, mark) in marks.iter().enumerate() {
        let bit = 1 << number;
        if mark.on != 0 && entries >= mark.on - 1 {
            defences |= bit;
        } else if mark.on == 0 || entries < mark.off {
            defences &= !bit;
        }
    }
    defences
}

const _: () = assert!(size_of::<TableState>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_at_its_mark_and_goes_at_another() {
        let marks = [
            Mark::new(80, 70),
            Mark::new(90, 80),
            Mark::NEVER,
            Mark::ALWAYS,
        ];
        let secure = Defence::SecureTcp.bit();
        let entry = Defence::DropEntry.bit() | secure;
        let both = Defence::Stateless.bit() | entry;
        let mut now = 0;
        for (entries, expected) in [
            (0, secure),
            (79, secure),
            (80, entry),
            (89, entry),
            (90, both),
            (80, both),
            (79, entry),
            (70, entry),
            (69, secure),
        ] {
            now = in_force(&marks, entries, now);
            assert_eq!(now, expected, "at {entries}");
        }
    }
}
