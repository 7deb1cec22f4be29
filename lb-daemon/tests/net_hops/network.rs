//! Two namespaces and a veth pair between them: the director's, which is a
//! test's own, and the real server's.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};

/// The calling thread is the director; the real server's namespace goes away
/// with this value.
pub struct Network {
    pub real: String,
}

impl Network {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        unshare(CloneFlags::CLONE_NEWNET).expect("cannot make a network namespace");
        let network = Self {
            real: format!("lbd-hops-{}-{number}", std::process::id()),
        };
        ip(&format!("netns add {}", network.real));
        for side in [network.on_real(""), String::new()] {
            ip(&format!("{side} link set lo up"));
        }
        network.connect();
        network
    }

    pub fn connect(&self) {
        ip(&format!(
            "link add lan address 02:00:00:00:00:0d type veth peer name lan address 02:00:00:00:00:01 netns {}",
            self.real
        ));
        for side in [self.on_real(""), String::new()] {
            ip(&format!("{side} link set lan up"));
        }
        ip("addr add 192.0.2.1/24 dev lan");
        ip("addr add 2001:db8::1/64 dev lan nodad");
        ip(&self.on_real("addr add 192.0.2.2/24 dev lan"));
        ip(&self.on_real("addr add 2001:db8::2/64 dev lan nodad"));
    }

    /// The real's link-local address, once it may be used.
    pub fn link_local(&self) -> String {
        let show = self.on_real("-6 -o addr show dev lan scope link -tentative");
        for _ in 0..500 {
            let shown = ip(&show);
            let address = shown
                .split_whitespace()
                .find_map(|word| word.strip_suffix("/64"));
            if let Some(address) = address {
                return address.to_owned();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no link-local address");
    }

    /// Arguments for `ip`, to act in the real server's namespace.
    pub fn on_real(&self, arguments: &str) -> String {
        format!("-n {} {arguments}", self.real)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The test is over whether or not this works.
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.real])
            .status();
    }
}

/// Runs a test as the director, on a thread whose namespace is its own.
pub fn in_network<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "network namespaces need root"
        );
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let director = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = director.join() {
        std::panic::resume_unwind(panic);
    }
}

pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("cannot run ip (package iproute2)");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Sets what `/proc/sys` shows to this thread, in whose namespace we are.
pub fn sysctl(key: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{key}"), value).unwrap();
}

pub fn ip_batch(lines: &str) {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("cannot run ip (package iproute2)");
    let mut input = ip.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    assert!(ip.wait().unwrap().success());
}
