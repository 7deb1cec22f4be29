//! One run of a program by `BPF_PROG_TEST_RUN` (net/bpf/test_run.c).

use aya::programs::{TestRun as _, TestRunOptions, Xdp};

use crate::rig::LOOPBACK;

/// `enum xdp_action` of linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Aborted,
    Drop,
    Pass,
    Tx,
    Redirect,
}

/// What a program made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub frame: Vec<u8>,
}

/// Room for what a program puts before a frame.
const GROWTH: usize = 256;

/// Gives `program` a frame that comes in by `ingress`, an interface of this
/// thread's network namespace.
#[track_caller]
pub fn run(program: &Xdp, ingress: u32, frame: &[u8]) -> Outcome {
    let (value, frame) = test_run(program, ingress, frame);
    let verdict = match value {
        0 => Verdict::Aborted,
        1 => Verdict::Drop,
        2 => Verdict::Pass,
        3 => Verdict::Tx,
        4 => Verdict::Redirect,
        other => panic!("verdict {other}"),
    };
    Outcome { verdict, frame }
}

/// The number that a program returns which is no packet's verdict.
#[track_caller]
pub fn return_value(program: &Xdp, data: &[u8]) -> u32 {
    test_run(program, LOOPBACK, data).0
}

#[track_caller]
fn test_run(program: &Xdp, ingress: u32, frame: &[u8]) -> (u32, Vec<u8>) {
    // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex,
    // rx_queue_index, egress_ifindex. In Linux 6.1 data_end must be the length.
    let end = u32::try_from(frame.len()).unwrap();
    let context: Vec<u8> = [0, end, 0, ingress, 0, 0]
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect();
    let mut out = vec![0; frame.len() + GROWTH];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).unwrap();
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}
