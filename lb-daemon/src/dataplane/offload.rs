//! Receive VLAN offload: with it a driver takes the tag off a frame and hands it
//! to the stack beside the frame, where XDP does not see it. Asked for and
//! turned off over the generic netlink family "ethtool"
//! (Documentation/networking/ethtool-netlink.rst, Linux 5.6).

use std::io;

use super::netlink::{Refused, ask_family, attribute, attributes, nest};

const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_MSG_FEATURES_SET: u8 = 12;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_WANTED: u16 = 3;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

/// The features for 802.1Q and for 802.1ad (net/ethtool/common.c), which
/// ethtool(8) calls rx-vlan-offload and rx-vlan-stag-hw-parse.
const FEATURES: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

/// Makes the driver of interface `index` leave VLAN tags in the frames. True if
/// it did not before.
///
/// # Errors
/// If it goes on taking them off.
pub(super) fn keep_tags(index: u32) -> io::Result<bool> {
    if active(index)?.is_empty() {
        return Ok(false);
    }
    let bit = |name: &&str| {
        let name = attribute(ETHTOOL_A_BITSET_BIT_NAME, format!("{name}\0").as_bytes());
        // Without a value: off.
        nest(ETHTOOL_A_BITSET_BITS_BIT, &[name])
    };
    let bits: Vec<_> = FEATURES.iter().map(bit).collect();
    let wanted = nest(
        ETHTOOL_A_FEATURES_WANTED,
        &[nest(ETHTOOL_A_BITSET_BITS, &bits)],
    );
    // What cannot be changed is left out without an error.
    ask(ETHTOOL_MSG_FEATURES_SET, &[header(index), wanted])?;
    match active(index)?[..] {
        [] => Ok(true),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Those of [`FEATURES`] that are on.
fn active(index: u32) -> io::Result<Vec<&'static str>> {
    let answers = ask(ETHTOOL_MSG_FEATURES_GET, &[header(index)])?;
    let sets = answers
        .iter()
        .flat_map(|answer| attributes(answer))
        .filter(|(kind, _)| *kind == ETHTOOL_A_FEATURES_ACTIVE);
    let names: Vec<&[u8]> = sets.flat_map(|(_, set)| names(set)).collect();
    let is_on = |feature: &&str| {
        let mut on = names.iter().map(|name| name.strip_suffix(b"\0"));
        on.any(|name| name == Some(feature.as_bytes()))
    };
    Ok(FEATURES.into_iter().filter(is_on).collect())
}

/// The names in a bitset that lists what is set.
fn names(bitset: &[u8]) -> impl Iterator<Item = &[u8]> {
    let inside = |bytes, wanted: u16| {
        attributes(bytes)
            .filter(move |(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    inside(bitset, ETHTOOL_A_BITSET_BITS)
        .flat_map(move |bits| inside(bits, ETHTOOL_A_BITSET_BITS_BIT))
        .flat_map(move |bit| inside(bit, ETHTOOL_A_BITSET_BIT_NAME))
}

fn header(index: u32) -> Vec<u8> {
    let index = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &index.to_ne_bytes());
    nest(ETHTOOL_A_FEATURES_HEADER, &[index])
}

fn ask(command: u8, attributes: &[Vec<u8>]) -> io::Result<Vec<Vec<u8>>> {
    ask_family("ethtool", command, &attributes.concat()).map_err(|Refused { error, .. }| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_takes_no_tags_off() {
        assert!(!keep_tags(1).unwrap());
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        let error = keep_tags(i32::MAX.cast_unsigned()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
