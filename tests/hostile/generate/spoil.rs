//! Makes a true packet a false one. The IPv4 checksum is made right again
//! half the time: else it alone would keep the rest from being looked at.

use fastrand::Rng;

use crate::draft::{Draft, IPV4};

/// A frame with less cannot be run (`ETH_HLEN`).
const MIN_FRAME: usize = 14;
/// Where headers are.
const HEADERS: usize = 160;

pub fn packet(draft: &mut Draft, rng: &mut Rng) {
    for _ in 0..=rng.u8(..3) {
        match rng.u8(..8) {
            0..3 => lie(draft, rng),
            3 => cut(draft, rng),
            4 => stretch(draft, rng),
            5 => overwrite(draft, rng),
            _ => flip(draft, rng),
        }
    }
    if rng.bool() {
        let is_v4 = |at: usize| draft.bytes.get(at - 2..at) == Some(&IPV4.to_be_bytes());
        let network = draft.network.filter(|at| is_v4(*at) && draft.len() > *at);
        if let Some(at) = network {
            draft.sum_ipv4(at);
        }
    }
}

/// Another value in a field that states a length, an offset or a type.
fn lie(draft: &mut Draft, rng: &mut Rng) {
    if draft.claims.is_empty() {
        return;
    }
    let at = draft.claims[rng.usize(..draft.claims.len())];
    if let Some(octet) = draft.bytes.get_mut(at) {
        *octet = match rng.u8(..5) {
            0 => 0,
            1 => 0xff,
            2 => octet.wrapping_add(1),
            3 => octet.wrapping_sub(1),
            _ => rng.u8(..),
        };
    }
}

fn cut(draft: &mut Draft, rng: &mut Rng) {
    let end = draft.len();
    let length = if rng.bool() {
        rng.usize(MIN_FRAME..=end)
    } else {
        end - rng.usize(..=8.min(end - MIN_FRAME))
    };
    draft.bytes.truncate(length);
}

fn stretch(draft: &mut Draft, rng: &mut Rng) {
    let bytes = if rng.bool() {
        rng.usize(..16)
    } else {
        rng.usize(..2000)
    };
    draft.data(bytes, rng.u8(..));
}

/// Up to sixteen octets anywhere in the headers.
fn overwrite(draft: &mut Draft, rng: &mut Rng) {
    let start = rng.usize(..draft.len().min(HEADERS));
    let end = (start + rng.usize(1..=16)).min(draft.len());
    for octet in &mut draft.bytes[start..end] {
        *octet = rng.u8(..);
    }
}

fn flip(draft: &mut Draft, rng: &mut Rng) {
    for _ in 0..=rng.u8(..3) {
        let reach = if rng.u8(..8) == 0 {
            draft.len()
        } else {
            draft.len().min(HEADERS)
        };
        let at = rng.usize(..reach);
        draft.bytes[at] ^= 1 << rng.u8(..8);
    }
}
