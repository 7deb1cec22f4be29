//! The decapsulator, loaded as `lbd decap` loads it, reached by
//! `BPF_PROG_TEST_RUN` (net/bpf/test_run.c) instead of a wire.

use aya::programs::{TestRun as _, TestRunOptions};
use lb_daemon::decap::{Counts, Decapsulator, Network};

use crate::frames::GUE_PORT;

/// What the program did with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// Passed as it was, and not counted.
    LeftAlone,
    /// Passed as this, and counted.
    Unwrapped(Vec<u8>),
    Refused,
    Malformed,
    Congested,
}

pub struct Rig {
    decapsulator: Decapsulator,
    counts: Counts,
}

impl Rig {
    /// Allows the directors of [`crate::frames`].
    pub fn new() -> Self {
        Self::with(&["192.0.2.2", "2001:db8::2"], &[GUE_PORT])
    }

    pub fn with(from: &[&str], gue_ports: &[u16]) -> Self {
        let from: Vec<_> = from
            .iter()
            .map(|text| Network::parse(text).unwrap())
            .collect();
        Self {
            decapsulator: Decapsulator::load(&from, gue_ports).unwrap(),
            counts: Counts::default(),
        }
    }

    #[track_caller]
    pub fn run(&mut self, frame: &[u8]) -> Did {
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let program = self.decapsulator.program().unwrap();
        let result = program.test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        let passed = match result.return_value {
            1 => false,
            2 => true,
            other => panic!("verdict {other}"),
        };
        let did = self.counted(&out);
        match &did {
            Did::LeftAlone => assert!(passed && out == frame, "changed: {out:02x?}"),
            Did::Unwrapped(_) => assert!(passed),
            Did::Refused | Did::Malformed | Did::Congested => assert!(!passed, "{did:?}"),
        }
        did
    }

    /// Which one count went up, by one.
    #[track_caller]
    fn counted(&mut self, out: &[u8]) -> Did {
        let now = self.decapsulator.counts().unwrap();
        let before = std::mem::replace(&mut self.counts, now);
        let moved = [
            now.unwrapped - before.unwrapped,
            now.refused - before.refused,
            now.malformed - before.malformed,
            now.congested - before.congested,
        ];
        match moved {
            [0, 0, 0, 0] => Did::LeftAlone,
            [1, 0, 0, 0] => Did::Unwrapped(out.to_vec()),
            [0, 1, 0, 0] => Did::Refused,
            [0, 0, 1, 0] => Did::Malformed,
            [0, 0, 0, 1] => Did::Congested,
            _ => panic!("one packet counted as {moved:?}"),
        }
    }
}
