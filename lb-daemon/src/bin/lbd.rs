//! The daemon: loads the data plane, keeps it as the configuration and lbctl
//! say, and leaves it forwarding when it goes.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use lb_daemon::{
    api,
    args::{Args, Command},
    config::{file, model::Config},
    decap,
    state::{
        director::Director,
        footprint::Footprint,
        handle::Handle,
        start::{self, Unloaded},
    },
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// The state task may hold one up for a while, and no check shall be late for it.
const WORKERS: usize = 4;

const HANGING_LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    return_large_buffers();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lbd: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Has `malloc` give what was large back to the system at once: by its own rules it learns
/// from the first large buffer to keep those that follow, for each thread.
fn return_large_buffers() {
    // SAFETY: no other thread is there yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// The error and its causes, without those that a message tells already.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            let separator = if line.is_empty() { "" } else { ": " };
            line = format!("{line}{separator}{cause}");
        }
    }
    line
}

/// To stderr, at `info`; `RUST_LOG` adds to that or overrides it.
fn start_log() {
    // netlink_proto dumps messages that it cannot read, and those hold
    // addresses; netlink_sys tells of every poll.
    const BASE: &str = "info,netlink_sys=off";
    let added = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = EnvFilter::builder()
        .parse_lossy(format!("{BASE},{added}"))
        .add_directive("netlink_proto=off".parse().expect("a valid directive"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

fn run(args: Args) -> Result<()> {
    match args.command {
        Some(Command::Unload { config }) => finish(unload(&file::load(config)?)),
        Some(Command::Decap(args)) => finish(decap::run(args)),
        None => {
            let config = file::load(&args.config)?;
            if args.check {
                println!(
                    "{}: ok, {} services",
                    args.config.display(),
                    config.services.len()
                );
                return Ok(());
            }
            finish(serve(config, args.config))
        }
    }
}

/// Works until it is done, and does not wait for what then still hangs: a read from a file
/// system that is gone.
fn finish(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(HANGING_LIMIT);
    outcome
}

async fn unload(config: &Config) -> Result<()> {
    let pin_dir = config.director.pin_dir.display();
    let Unloaded {
        data_plane,
        addresses,
    } = start::unload(config).await?;
    if data_plane {
        println!("lbd: data plane removed from {pin_dir}");
    } else {
        println!("lbd: nothing is loaded under {pin_dir}");
    }
    if addresses > 0 {
        println!("lbd: {addresses} virtual addresses removed");
    }
    Ok(())
}

/// A check that is under way has a socket, and there may be thousands: the soft limit of
/// 1024 is for programs that use select(2).
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files cannot be raised");
    }
}

async fn serve(config: Config, path: PathBuf) -> Result<()> {
    // From here on a signal is not lost: it stops the daemon after its start.
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    let mut hang_up = signal(SignalKind::hangup()).context("watch SIGHUP")?;

    raise_descriptor_limit();
    let mut footprint = Footprint::default();
    if let Some(directory) = config.director.socket.parent() {
        footprint
            .create_dir_all(directory)
            .with_context(|| format!("create {}", directory.display()))?;
    }
    let socket = api::bind(
        &config.director.socket,
        config.director.socket_group.as_deref(),
    )?;
    let mut director = Director::start(config, path, &mut footprint).await?;
    let (listen, problem) = director.metrics_service();
    footprint.keep();
    let (handle, requests) = Handle::channel();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let until_stopped = || {
        let mut stopped = stopped.clone();
        async move { drop(stopped.wait_for(|stop| *stop).await) }
    };
    let state = tokio::spawn(director.run(requests, until_stopped()));
    let api = tokio::spawn(api::serve(socket, handle.clone(), until_stopped()));
    tokio::spawn(api::serve_metrics(handle.clone(), listen, problem));
    let _ = sd_notify::notify(&[NotifyState::Ready]);

    let mut state = std::pin::pin!(state);
    let outcome = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hang_up.recv() => {
                let handle = handle.clone();
                // The state task logs the outcome.
                tokio::spawn(async move { drop(handle.reload().await) });
            }
            ended = &mut state => break ended.context("the state task"),
        }
    };
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    info!("stopping");
    let _ = stop.send(true);
    if outcome.is_ok() && !state.is_finished() {
        let _ = state.await;
    }
    if let Err(error) = api.await {
        warn!(%error, "the API ended badly");
    }
    outcome
}
