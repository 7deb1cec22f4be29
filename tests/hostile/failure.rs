//! What went wrong, one packet for each kind of complaint: the shortest that
//! was met.

use std::fmt::{self, Write as _};

use crate::{
    generate::{Made, Side},
    method::Method,
    run::Verdict,
};

/// Kinds of complaints that are kept.
const KINDS: usize = 24;

#[derive(Clone, Debug)]
pub struct Failure {
    pub method: Method,
    pub seed: u64,
    pub number: u64,
    pub complaint: String,
    pub side: Side,
    pub before: Vec<u8>,
    pub verdict: Verdict,
    pub after: Vec<u8>,
    pub made: Option<Made>,
}

#[derive(Default)]
pub struct Failures(Vec<Failure>);

impl Failures {
    pub fn add(&mut self, failure: Failure) {
        let kind = failure.kind();
        let Some(same) = self.0.iter().position(|other| other.kind() == kind) else {
            if self.0.len() < KINDS {
                self.0.push(failure);
            }
            return;
        };
        if failure.before.len() < self.0[same].before.len() {
            self.0[same] = failure;
        }
    }

    pub fn into_vec(self) -> Vec<Failure> {
        self.0
    }
}

impl Failure {
    /// The method, and the complaint without its numbers and addresses.
    fn kind(&self) -> (&'static str, String) {
        let words = self.complaint.split([' ', ',']);
        let is_word = |word: &&str| !word.contains(|letter: char| letter.is_ascii_digit());
        let text = words.filter(is_word).collect::<Vec<_>>().join(" ");
        (self.method.name(), text)
    }
}

/// All that is known, and how to see it again.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, side) = (self.method.name(), self.side.name());
        let (before, after) = (hex(&self.before), hex(&self.after));
        writeln!(f, "{method}: {}", self.complaint)?;
        writeln!(
            f,
            "  seed {:#x}, packet {}: {:?}",
            self.seed, self.number, self.made
        )?;
        writeln!(f, "  in:  {before}\n  {:?}\n  out: {after}", self.verdict)?;
        writeln!(f, "  LBD_HOSTILE_FRAME={method}/{side}/{before}")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}
