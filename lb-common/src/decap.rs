//! What the decapsulator (`lb-ebpf/src/bin/decap.rs`) and `lbd decap` share,
//! and its rule for the ECN field.

/// What became of a tunnelled packet: slots of the decapsulator's `COUNTS`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Went to the stack without its outer headers.
    Unwrapped = 0,
    /// Dropped: its outer source is not on the list.
    Refused = 1,
    /// Dropped: a length or a checksum is wrong, or what is inside is not
    /// what the outer headers say.
    Malformed = 2,
    /// Dropped: met congestion on the way, and its sender does not know ECN.
    Congested = 3,
}

/// Entries of `COUNTS`.
pub const OUTCOMES: u32 = 4;

/// RFC 6040 section 4.2, figure 4: the ECN field (2 bits) to pass on, of an
/// inner packet with `inner` that came in one with `outer`. None: drop it.
#[inline(always)]
#[must_use]
pub const fn ecn(outer: u8, inner: u8) -> Option<u8> {
    const NOT_ECT: u8 = 0;
    const ECT_1: u8 = 1;
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    match (outer, inner) {
        (CE, NOT_ECT) => None,
        (CE, _) => Some(CE),
        (ECT_1, ECT_0) => Some(ECT_1),
        _ => Some(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecn_is_figure_4_of_rfc_6040() {
        // Rows: inner Not-ECT, ECT(0), ECT(1), CE. Columns: outer, the same.
        const ORDER: [u8; 4] = [0, 2, 1, 3];
        const FIGURE: [[Option<u8>; 4]; 4] = [
            [Some(0), Some(0), Some(0), None],
            [Some(2), Some(2), Some(1), Some(3)],
            [Some(1), Some(1), Some(1), Some(3)],
            [Some(3), Some(3), Some(3), Some(3)],
        ];
        for (inner, row) in ORDER.into_iter().zip(FIGURE) {
            for (outer, wanted) in ORDER.into_iter().zip(row) {
                assert_eq!(ecn(outer, inner), wanted, "outer {outer}, inner {inner}");
            }
        }
    }
}
