//! Loads every program as lbd does, prints what the verifier made of it, and
//! holds that to the budgets in `budgets.toml` (docs/verifier.md).
//!
//! A program of its own and no test: the table is wanted also where all is well.

mod budget;

use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use aya::EbpfLoader;
use aya::programs::{ProgramInfo, SchedClassifier, Xdp};
use lb_daemon::config::model::Capacity;
use lb_daemon::dataplane::pinned::PinDir;
use lb_daemon::dataplane::{Programs, Sizes, object};
use lb_tests::scratch::Scratch;

use budget::Budgets;

/// What the verifier made of one program.
#[derive(Debug)]
struct Verified {
    /// `director`, `decap` or `probe_path`.
    object: &'static str,
    program: String,
    /// Instructions walked, over all paths (`bpf_prog_info.verified_insns`).
    instructions: u32,
    /// Bytes of the program as the kernel has rewritten it (`xlated_prog_len`).
    translated_bytes: u32,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("verify: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let record = match env::args().nth(1).as_deref() {
        None => false,
        Some("--record") => true,
        Some(other) => bail!("unknown argument {other}: there is only --record"),
    };
    let mut verified = director()?;
    verified.extend(decap()?);
    verified.extend(probe_path()?);
    let kernel = series()?;
    if record {
        let budgets = Budgets::record(&kernel, &verified)?;
        budgets.print(&verified);
        return budgets.write();
    }
    let budgets = Budgets::read()?;
    budgets.print(&verified);
    if kernel != budgets.kernel {
        println!(
            "This is Linux {kernel}. The budgets are Linux {}'s, and are not applied.",
            budgets.kernel
        );
        return Ok(());
    }
    budgets.check(&verified)
}

/// The director's programs, with the constants and map types that lbd gives them.
fn director() -> Result<Vec<Verified>> {
    let scratch = Scratch::create()?;
    let pins = PinDir::open(&scratch.bpffs()?)?;
    // What the verifier does is the same for any number of entries.
    let sizes = Sizes::from(Capacity {
        services: 64,
        reals: 64,
        connections: 1024,
        persistence: 1024,
    });
    let programs = Programs::load(&pins, &sizes)?.programs;
    let mut names: Vec<_> = programs.verified_instructions().into_keys().collect();
    names.sort();
    let describe = |name| {
        let info = programs.info(name)?;
        Verified::new("director", name, &info)
    };
    names.iter().map(String::as_str).map(describe).collect()
}

/// The decapsulator's.
fn decap() -> Result<Vec<Verified>> {
    let mut ebpf = EbpfLoader::new().load(object::DECAP)?;
    let mut verified = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        let program: &mut Xdp = program.try_into()?;
        program
            .load()
            .with_context(|| format!("loading {name} of decap"))?;
        verified.push(Verified::new("decap", name, &program.info()?)?);
    }
    verified.sort_by(|one, other| one.program.cmp(&other.program));
    Ok(verified)
}

/// Those of probes that go to a VIP.
fn probe_path() -> Result<Vec<Verified>> {
    let mut ebpf = EbpfLoader::new().load(object::PROBE_PATH)?;
    let mut verified = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        let program: &mut SchedClassifier = program.try_into()?;
        program
            .load()
            .with_context(|| format!("loading {name} of probe_path"))?;
        verified.push(Verified::new("probe_path", name, &program.info()?)?);
    }
    verified.sort_by(|one, other| one.program.cmp(&other.program));
    Ok(verified)
}

impl Verified {
    fn new(object: &'static str, name: &str, info: &ProgramInfo) -> Result<Self> {
        let unknown = || format!("the kernel does not tell about program {name}");
        Ok(Self {
            object,
            program: name.to_owned(),
            instructions: info.verified_instruction_count().with_context(unknown)?,
            translated_bytes: info.size_translated().with_context(unknown)?,
        })
    }
}

/// The running kernel's series: `6.18` of `6.18.44-1`.
fn series() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut parts = release.splitn(3, ['.', '-']);
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => Ok(format!("{major}.{}", minor.trim_end())),
        _ => bail!("Linux {release:?} has no series"),
    }
}
