//! What an ICMP error quotes, at any offset of any frame: no panic, nothing
//! outside of the quotation or the frame, and the addresses and ports that stand there.

#![no_main]

use std::net::IpAddr;

use lb_common::{
    flow::FlowKey as _,
    parse::{Family, SliceFrame, V4, V6},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (at, bytes, frame) = input;
    let at = usize::from(at);
    let end = at + usize::from(bytes);
    check::<V4>(frame, at, end, 12, 4);
    check::<V6>(frame, at, end, 8, 16);
});

/// `source`: where in the header the source address stands, of `length` bytes.
fn check<F: Family>(frame: &[u8], at: usize, end: usize, source: usize, length: usize) {
    let view = SliceFrame(frame);
    let last = end.min(frame.len());
    let Some(quoted) = F::quoted(&view, at, end) else {
        return;
    };
    assert_eq!(
        quoted.header.as_ptr() as usize,
        frame.as_ptr() as usize + at
    );
    assert!(at + usize::from(F::HEADER_BYTES) <= last);
    assert!(quoted.payload >= at + usize::from(F::HEADER_BYTES));
    let Some(key) = quoted.key(&view) else {
        assert!(
            quoted.payload + 8 > last,
            "ports are there, but were not read"
        );
        return;
    };
    assert!(quoted.payload + 8 <= last);
    let port = |at: usize| {
        u16::from_be_bytes([frame[quoted.payload + at], frame[quoted.payload + at + 1]])
    };
    assert_eq!(
        [key.source().port.get(), key.destination().port.get()],
        [port(0), port(2)]
    );
    let address = |from: usize| read(&frame[at + from..at + from + length]);
    assert_eq!(IpAddr::from(key.source().address), address(source));
    assert_eq!(
        IpAddr::from(key.destination().address),
        address(source + length)
    );
}

fn read(bytes: &[u8]) -> IpAddr {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return octets.into();
    }
    let octets: [u8; 16] = bytes.try_into().expect("16 bytes");
    let address = std::net::Ipv6Addr::from(octets);
    address.to_ipv4_mapped().map_or(address.into(), IpAddr::V4)
}
