//! Two hundred random operations while fifty clients go on: no established connection
//! is lost, and at the end the maps hold what the daemon says it runs.
//!
//! `LBD_CHAOS_SEED=N` draws the operations of an earlier run again.

mod maps;
mod operations;
mod traffic;

use std::env;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fastrand::Rng;
use lb_tests::daemon::Daemon;
use lb_tests::process;
use lb_tests::topology::{Method, Spec};
use serde_json::{Value, json};

use crate::site::{Site, json, run};
use operations::{Operation, draw, first_file};
use traffic::Traffic;

const OPERATIONS: usize = 200;
/// A restart takes one second or two, and so does a look at the maps.
const RESTARTS: usize = 6;

/// The operations do not cut (`--now`, `connections flush`): a lost connection is a
/// fault whatever they were. Refusals are part of it, as nobody looks what there is
/// before a line is drawn; what the daemon itself has failed to do is none.
#[test]
fn two_hundred_operations() {
    let seed = env::var("LBD_CHAOS_SEED");
    let seed = seed.map_or_else(|_| Rng::new().u64(..), |seed| seed.parse().unwrap());
    println!("LBD_CHAOS_SEED={seed} draws the same operations");
    let Some(site) = Site::create(&Spec {
        method: Method::Dr,
        native: true,
        reals: 4,
        ..Spec::default()
    }) else {
        return;
    };
    // The last two reals are for nat: their answers go by way of the director.
    site.network
        .director
        .sysctl("net/ipv4/ip_forward", "1")
        .unwrap();
    for real in &site.network.reals[2..] {
        real.ip("route replace default via 10.0.2.1\n").unwrap();
    }
    let file = first_file(&site);
    let mut world = World {
        daemon: site.start_with(&file),
        site: &site,
        file,
        done: 0,
    };
    let operations = draw(&mut Rng::with_seed(seed), &site, OPERATIONS, RESTARTS);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also where an operation panics: the scope waits for the clients.
        let until_here = Stop(&stop);
        let traffic = Traffic::start(scope, &site.network, &stop).unwrap();
        for operation in &operations {
            world.carry_out(operation);
            if traffic.has_failed() {
                break;
            }
        }
        if !traffic.has_failed() {
            world.kill_and_compare();
        }
        drop(until_here);
        let (answers, came) = traffic.join().unwrap();
        println!(
            "{} done, {answers} answers, {came} connections came",
            world.done
        );
        assert!(world.done > OPERATIONS / 3, "only {} were done", world.done);
        assert!(answers > 1000 && came > 20, "too little traffic");
    });
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct World<'a> {
    daemon: Daemon<'a>,
    site: &'a Site,
    /// What lbd.toml has.
    file: String,
    /// Operations that were not refused.
    done: usize,
}

impl World<'_> {
    fn carry_out(&mut self, operation: &Operation) {
        let is_done = match operation {
            Operation::Command(line) => self.try_run(line),
            Operation::Reload(file) => self.reload(file),
            Operation::Restart { kill } => {
                self.restart(*kill);
                true
            }
            Operation::Apply {
                file,
                kill,
                confirm,
            } => self.apply(file, *kill, *confirm),
            Operation::Restore(file) => {
                let path = self.write("restored.toml", file);
                self.try_run(&format!("restore {path}"))
            }
            Operation::SaveAndRestore => {
                let before = configured(&self.daemon);
                let path = self.write("saved.toml", &run(&self.daemon, "save"));
                run(&self.daemon, "flush --yes");
                run(&self.daemon, &format!("restore {path}"));
                // A flush takes the states along; and what was the file's, deleted and made
                // again at run time, is taken for the file's, edited.
                let after = configured(&self.daemon);
                assert_eq!(without_states(after), without_states(before));
                true
            }
        };
        self.done += usize::from(is_done);
    }

    /// Whether it was done. The test's log has the line either way.
    fn try_run(&self, line: &str) -> bool {
        let mut command = self.daemon.lbctl_command();
        let output = process::capture(command.args(line.split(' '))).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        println!("lbctl {line}: {} {}", output.status, said.trim_end());
        let code = output.status.code();
        let is_refused = code == Some(1) && said.lines().count() == 1;
        assert!(code == Some(0) || is_refused, "{line}: {said}");
        assert!(!self.daemon.log().contains("ERROR reload failed"));
        code == Some(0)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.site.network.directory().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn reload(&mut self, file: &str) -> bool {
        self.daemon.write_config(file).unwrap();
        if self.try_run("reload") {
            self.file = file.to_owned();
            return true;
        }
        // A refusal has changed nothing, and neither shall the next start.
        self.daemon.write_config(&self.file).unwrap();
        false
    }

    fn apply(&mut self, file: &str, kill: bool, confirm: bool) -> bool {
        let before = configured(&self.daemon);
        let path = self.write("applied.toml", file);
        if !self.try_run(&format!("apply {path} --confirm-within 600s")) {
            assert_eq!(configured(&self.daemon), before, "refused, and yet changed");
            return false;
        }
        if kill {
            self.restart(true);
        }
        let applied = configured(&self.daemon);
        run(&self.daemon, if confirm { "confirm" } else { "undo" });
        let expected = if confirm { applied } else { before };
        assert_eq!(configured(&self.daemon), expected, "confirm: {confirm}");
        true
    }

    /// All that was done at run time holds.
    fn restart(&mut self, kill: bool) {
        let before = configured(&self.daemon);
        println!("restart, kill: {kill}");
        match kill {
            true => self.kill_and_compare(),
            false => self.daemon.stop().unwrap(),
        }
        self.daemon.restart().unwrap();
        assert_eq!(
            configured(&self.daemon),
            before,
            "over a restart, kill: {kill}"
        );
    }

    /// The maps hold what the daemon has said, as it left them when it was killed.
    fn kill_and_compare(&mut self) {
        let services = json(&self.daemon, &["service", "list"]);
        let saved = run(&self.daemon, "save");
        self.daemon.kill();
        let pins = self.site.network.scratch().bpffs().unwrap().join("lbd");
        let differences = maps::differences(&pins, &saved, &services);
        assert!(differences.is_empty(), "{differences:#?}\n{services:#}");
    }
}

/// What is configured: no counters, nor what follows from the network, nor the order.
fn configured(daemon: &Daemon<'_>) -> Value {
    let mut services = json(daemon, &["service", "list"]);
    let all = services.as_array_mut().unwrap();
    for service in &mut *all {
        keep(service, |key| !["stats", "rates"].contains(&key));
        let reals = service["reals"].as_array_mut().unwrap();
        for real in &mut *reals {
            let kept = [
                "real",
                "forward",
                "weight",
                "state",
                "owner",
                "upper_threshold",
                "lower_threshold",
            ];
            keep(real, |key| kept.contains(&key));
        }
        reals.sort_by_key(|real| real["real"].to_string());
    }
    all.sort_by_key(|service| service["service"].to_string());
    let mut marks = json(daemon, &["mark", "list"]);
    marks.as_array_mut().unwrap().sort_by_key(Value::to_string);
    json!({ "services": services, "marks": marks, "timeouts": json(daemon, &["timeouts"]) })
}

fn keep(object: &mut Value, is_kept: impl Fn(&str) -> bool) {
    object
        .as_object_mut()
        .unwrap()
        .retain(|key, _| is_kept(key));
}

/// Nor whose it is.
fn without_states(mut configured: Value) -> Value {
    let is_kept = |key: &str| !["state", "owner"].contains(&key);
    for service in configured["services"].as_array_mut().unwrap() {
        for real in service["reals"].as_array_mut().unwrap() {
            keep(real, is_kept);
        }
        keep(service, is_kept);
    }
    for mark in configured["marks"].as_array_mut().unwrap() {
        keep(mark, is_kept);
    }
    configured
}
