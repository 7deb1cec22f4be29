//! The generator: live frames of `BPF_PROG_TEST_RUN`, which a program
//! (`lb-ebpf/src/bin/traffic.rs`) sends by the client's end of a wire, and the sinks at
//! wires' far ends.
//!
//! A frame is in the director's driver as one from a card would be: a page, no socket
//! buffer. The least that generating costs is measured by a wire that ends in a sink at
//! once.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, xdp::XdpMode},
};
use etherparse::PacketBuilder;
use lb_common::traffic::{BALANCE_OFFSET, FRAME_BYTES, Stream};
use lb_daemon::dataplane::object;
use lb_tests::namespace::Namespace;

use super::processor::Processor;

/// Flows, a power of two; the first one's source port.
pub(crate) const FLOWS: u32 = 4096;
const FIRST_PORT: u16 = 20_000;

/// Frames between two times that the softirqs of a batch are done: less than NAPI's
/// budget of a device (64), so that each device is done in one go, and much less than a
/// veth's ring (256), so that nothing is lost as long as the way keeps up.
const BATCH: u32 = 32;

/// A frame's way: by which interface of the client, to which MAC address.
#[derive(Clone, Copy)]
pub(crate) struct Aim {
    pub egress: u32,
    pub station: [u8; 6],
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub port: u16,
}

/// The generator's program and its sinks.
pub(crate) struct Generator {
    programs: Ebpf,
    stream: Array<MapData, Stream>,
    processor: Processor,
}

impl Generator {
    pub(crate) fn load() -> Result<Self> {
        let mut programs = aya::EbpfLoader::new()
            .load(object::TRAFFIC)
            .context("loading the generator")?;
        for (name, program) in programs.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load().with_context(|| format!("loading {name}"))?;
        }
        let stream = programs.take_map("STREAM").context("no map STREAM")?;
        Ok(Self {
            programs,
            stream: Array::try_from(stream)?,
            processor: Processor::last()?,
        })
    }

    /// Lets `device` of `namespace` drop all IPv4, for as long as the generator lives.
    pub(crate) fn end_at(&mut self, namespace: &Namespace, device: &str) -> Result<()> {
        let sink: &mut Xdp = self
            .programs
            .program_mut("sink")
            .context("no program sink")?
            .try_into()?;
        namespace
            .enter(|| sink.attach(device, XdpMode::Driver).map(drop))?
            .with_context(|| format!("a sink at {device} in {}", namespace.name()))
    }

    /// Sends `count` frames from within `client`; what CPU time that took, with all that
    /// became of the frames.
    pub(crate) fn send(&mut self, client: &Namespace, aim: &Aim, count: u32) -> Result<Duration> {
        let frame = frame(aim)?;
        let stream = Stream {
            frame,
            egress: aim.egress,
            first_port: u32::from(FIRST_PORT),
            flow_mask: FLOWS - 1,
            turn: 0,
        };
        self.stream.set(0, stream, 0).context("aiming")?;
        let generate: &Xdp = self
            .programs
            .program("generate")
            .context("no program generate")?
            .try_into()?;
        let processor = &self.processor;
        client.enter(|| -> Result<Duration> {
            processor.bind()?;
            let before = processor.spent()?;
            generate
                .test_run(TestRunOptions {
                    data_in: Some(&frame.map(u64::to_ne_bytes).concat()),
                    repeat: count,
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                    ..TestRunOptions::default()
                })
                .context("sending live frames")?;
            Ok(processor.spent()? - before)
        })?
    }
}

/// The first flow's frame, UDP. Its checksum holds for all flows: the program puts the
/// complement of the source port into the payload, as is done here.
fn frame(aim: &Aim) -> Result<[u64; FRAME_BYTES / 8]> {
    let balance = (!FIRST_PORT).to_be_bytes();
    let mut payload = [0; FRAME_BYTES - BALANCE_OFFSET];
    payload[..balance.len()].copy_from_slice(&balance);
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], aim.station)
        .ipv4(aim.source.octets(), aim.destination.octets(), 64)
        .udp(FIRST_PORT, aim.port);
    let mut bytes = Vec::with_capacity(FRAME_BYTES);
    builder.write(&mut bytes, &payload)?;
    let mut frame = [0; FRAME_BYTES / 8];
    for (word, octets) in frame.iter_mut().zip(bytes.chunks_exact(size_of::<u64>())) {
        *word = u64::from_ne_bytes(octets.try_into()?);
    }
    Ok(frame)
}
