//! The wrapper programs of `lb-ebpf/src/bin/bench.rs`, by which every packet is
//! sent.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp},
};
use lb_common::bench::Template;
use lb_daemon::dataplane::object;

use crate::packets::Packet;

/// `enum xdp_action` of linux/bpf.h.
pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;
pub(crate) const XDP_REDIRECT: u32 = 4;

/// Room for what a program puts before a frame.
const GROWTH: usize = 256;

pub(crate) struct Wrapper {
    ebpf: Ebpf,
    templates: Array<MapData, Template>,
    under_test: ProgramArray<MapData>,
}

/// Whose packets are sent: those of 2^k flows by turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flows {
    pub number: u32,
    /// The turn that begins.
    pub first: u32,
    /// Odd: a flow's number is its turn times this, modulo `number`.
    pub stride: u32,
}

impl Flows {
    /// One after the other, so that connections are made in this order.
    pub(crate) fn in_order(number: u32) -> Self {
        assert!(number.is_power_of_two());
        Self {
            number,
            first: 0,
            stride: 1,
        }
    }

    /// In an order that is not the one in which the connections were made, which a
    /// table may have in memory one behind the other: the processor would load the
    /// next one before it is asked for.
    pub(crate) fn scattered(number: u32) -> Self {
        Self {
            // Of the golden ratio.
            stride: 0x9e37_79b1,
            ..Self::in_order(number)
        }
    }

    /// One of them, whichever.
    pub(crate) fn any(number: u32) -> Self {
        Self {
            first: fastrand::u32(..number),
            ..Self::in_order(number)
        }
    }

    /// Whose turn the last of so many packets is.
    const fn last(self, packets: u32) -> u32 {
        let turn = self.first.wrapping_add(packets - 1);
        turn.wrapping_mul(self.stride) & (self.number - 1)
    }
}

/// What became of the last packet of a run.
pub(crate) struct Outcome {
    pub verdict: u32,
    pub frame: Vec<u8>,
    /// Whose packet it was.
    pub flow: u32,
    /// Nanoseconds a packet, of the whole run.
    pub ns: f64,
}

impl Wrapper {
    pub(crate) fn load() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(object::BENCH)?;
        for (name, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into()?;
            program.load().with_context(|| name.to_owned())?;
        }
        let templates = Array::try_from(ebpf.take_map("TEMPLATE").context("TEMPLATE")?)?;
        let under_test = ebpf.take_map("UNDER_TEST").context("UNDER_TEST")?;
        Ok(Self {
            templates,
            under_test: ProgramArray::try_from(under_test)?,
            ebpf,
        })
    }

    /// A program that stands beside the wrappers.
    pub(crate) fn program(&self, name: &str) -> Result<ProgramFd> {
        let program = self.ebpf.program(name).with_context(|| name.to_owned())?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Runs `program` so many times.
    pub(crate) fn run(
        &mut self,
        program: &ProgramFd,
        packet: &Packet,
        flows: Flows,
        repeat: u32,
    ) -> Result<Outcome> {
        self.under_test.set(0, program, 0)?;
        let template = packet.template(flows);
        self.templates.set(0, template, 0)?;
        let name = format!("wrapper_{}", packet.bytes());
        let wrapper = self.ebpf.program_mut(&name).context(name)?;
        let wrapper: &mut Xdp = wrapper.try_into()?;
        let data = packet.frame(0);
        let mut frame = vec![0; data.len() + GROWTH];
        let result = wrapper.test_run(TestRunOptions {
            data_in: Some(&data),
            data_out: Some(&mut frame),
            repeat,
            ..TestRunOptions::default()
        })?;
        frame.truncate(result.data_size_out as usize);
        Ok(Outcome {
            verdict: result.return_value,
            frame,
            flow: flows.last(repeat),
            ns: result.duration.as_nanos() as f64,
        })
    }
}
