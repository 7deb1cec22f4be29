//! The daemon dies, is stopped, comes back: the data plane forwards all the
//! while, and the next daemon takes it over as it is.

use lb_common::abi::ABI_VERSION;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lb_tests::conversation::Conversation;
use lb_tests::daemon::Daemon;
use lb_tests::http::{self, Tally};
use lb_tests::topology::{Host, Method, PORT, Spec, Topology};
use lb_tests::trickle::Trickle;
use lb_tests::{process, trickle};
use nix::sys::signal::Signal;

use crate::site::{Site, await_reals, json, real};

/// Kill it, look at everything, start it again, and once more with SIGTERM. A
/// program array that went with its daemon shows as new connections that get no
/// answer, links that did as a download that ends; an adoption that wipes the
/// maps as counters or connections that begin again at 0.
fn survives(method: Method, scheduler: &str, weights: &[u32], spread: &[usize]) {
    let Some(site) = Site::create(&Spec {
        method,
        native: true,
        clients: 1,
        reals: 3,
        ..Spec::default()
    }) else {
        return;
    };
    let client = &site.network.clients[0];
    trickle::publish(&site.network, &site.servers).unwrap();
    let mut daemon = site.start(scheduler, weights);
    assert!(daemon.log().contains("adopted=false"), "{}", daemon.log());
    let mut conversation = Conversation::open(client, site.network.vip(), PORT).unwrap();
    let talks_to = conversation.ask().unwrap();
    let download = Trickle::start(&site.network, client).unwrap();
    download.check().unwrap();
    // Two connections have taken two turns of the scheduler: to the end of the cycle.
    let cycle: usize = spread.iter().sum();
    let rest = cycle - 2;
    site.ask(rest);

    daemon.kill();
    site.expect(spread);
    site.expect(spread);
    download.check().unwrap();

    daemon.restart().unwrap();
    assert!(daemon.log().contains("adopted=true"), "{}", daemon.log());
    site.expect(spread);
    download.check().unwrap();
    assert_eq!(conversation.ask().unwrap(), talks_to);
    let service = json(&daemon, &["list"])[0].clone();
    assert_eq!(service["stats"]["connections"], 4 * cycle, "{service}");
    let active = |number| real(&daemon, number)["active"].as_u64().unwrap();
    assert_eq!(active(1) + active(2) + active(3), 2, "{service}");

    daemon.stop().unwrap();
    site.expect(spread);
    download.check().unwrap();
    daemon.restart().unwrap();
    site.expect(spread);
    assert_eq!(conversation.ask().unwrap(), talks_to);
    download.finish().unwrap();
}

#[test]
fn dr_rr() {
    survives(Method::Dr, "rr", &[1, 1, 1], &[4, 4, 4]);
}

#[test]
fn nat_rr() {
    survives(Method::Nat, "rr", &[1, 1, 1], &[4, 4, 4]);
}

#[test]
fn nat_wrr() {
    survives(Method::Nat, "wrr", &[1, 2, 3], &[2, 4, 6]);
}

#[test]
fn tun_wrr() {
    survives(Method::Tun, "wrr", &[1, 2, 3], &[2, 4, 6]);
}

/// The same binary again, whose programs are there. Another one of the same ABI, and then other
/// capacities: the program behind each link is replaced, and the transfers go on. A link that is made anew, or entries that
/// are not carried over, show as a download that ends or a conversation without an
/// answer; new connections that are never let in again, as failed requests.
/// By nat, which has two entries of a connection to carry over; dr has one of them.
#[test]
fn upgraded() {
    let Some(site) = Site::small(Method::Nat) else {
        return;
    };
    let network = &site.network;
    let client = &network.clients[0];
    trickle::publish(network, &site.servers).unwrap();
    let config = site.config("rr", &[1, 1]);
    let mut daemon = site.start_with(&config);
    let mut conversation = Conversation::open(client, network.vip(), PORT).unwrap();
    let talks_to = conversation.ask().unwrap();
    let download = Trickle::start(network, client).unwrap();
    download.check().unwrap();
    let first = programs(&site);
    daemon.stop().unwrap();
    daemon.restart().unwrap();
    let same = "adopted=true verified=false";
    assert!(daemon.log().contains(same), "{}", daemon.log());
    assert_eq!(programs(&site), first);
    assert_eq!(conversation.ask().unwrap(), talks_to);
    daemon.stop().unwrap();
    drop(daemon);

    let mut binaries = site.binaries.clone();
    let [stamp] = &stamps(&site)[..] else {
        panic!("{:?}", stamps(&site))
    };
    binaries.lbd = another(&binaries.lbd, stamp, network.directory());
    let mut daemon = Daemon::start(network, &binaries, &config).unwrap();
    let other = "adopted=true verified=true";
    assert!(daemon.log().contains(other), "{}", daemon.log());
    assert_eq!(stamps(&site), ["0123456789abcdef"]);
    let second = programs(&site);
    assert_eq!((first.len(), second.len()), (2, 2));
    assert!(second.iter().all(|id| !first.contains(id)), "{second:?}");
    assert_eq!(conversation.ask().unwrap(), talks_to);
    download.check().unwrap();

    daemon.stop().unwrap();
    let other = config
        .replace("connections = 16384", "connections = 1000")
        .replace("reals = 1024", "reals = 2048");
    daemon.write_config(&other).unwrap();
    daemon.restart().unwrap();
    assert!(daemon.log().contains("carried over"), "{}", daemon.log());
    let third = programs(&site);
    assert!(third.iter().all(|id| !second.contains(id)), "{third:?}");
    assert_eq!(conversation.ask().unwrap(), talks_to);
    download.check().unwrap();
    assert_eq!(site.ask(4).failures, 0);
    let service = json(&daemon, &["list"])[0].clone();
    assert_eq!(service["stats"]["connections"], 6, "{service}");
    let status = json(&daemon, &["status"]);
    assert_eq!(status["tables"][0]["capacity"], 1000, "{status}");
    download.finish().unwrap();
}

/// A binary that does the same and whose programs have another stamp. A process of its own
/// writes it: what this one has open for writing, a program that another test starts meanwhile
/// would have open as well, and nobody could run it (ETXTBSY).
fn another(binary: &Path, stamp: &str, directory: &Path) -> PathBuf {
    let copy = directory.join("other-lbd");
    let mut command = Command::new("sh");
    let script = "LC_ALL=C sed \"s/$3/0123456789abcdef/g\" \"$1\" > \"$2\" && chmod +x \"$2\"";
    command.args(["-c", script, "sh"]).arg(binary).arg(&copy);
    process::output(command.arg(stamp)).unwrap();
    copy
}

/// Those of the pinned programs: one, where a daemon has started.
fn stamps(site: &Site) -> Vec<String> {
    let pins = site.data_plane();
    let folders = pins.lines().filter(|line| line.ends_with("/director"));
    let stamp = |line: &str| line.rsplit("/programs_").next().unwrap().to_owned();
    folders
        .map(|line| stamp(line.trim_end_matches("/director")))
        .collect()
}

/// The numbers of the XDP programs on the director's interfaces.
fn programs(site: &Site) -> Vec<String> {
    let links = site.network.director.run("ip", &["-details", "link"]);
    let links = links.unwrap();
    let lines = links.lines().filter(|line| line.contains("prog/xdp"));
    let number = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "id");
        words.nth(1).unwrap().to_owned()
    };
    lines.map(number).collect()
}

/// Between two bursts of a client: a load that the connection table holds.
const PACE: Duration = Duration::from_millis(100);

/// Twenty kills in a row, most of them while lbd is still on its way up,
/// while clients ask, send and fetch without a pause. A moment without a plan,
/// a link or a next hop shows as a failed request, a moment with a wrong entry
/// as a transfer that breaks.
fn twenty_kills(method: Method) {
    let Some(site) = Site::create(&Spec {
        method,
        native: true,
        clients: 3,
        reals: 3,
        ..Spec::default()
    }) else {
        return;
    };
    let network = &site.network;
    trickle::publish(network, &site.servers).unwrap();
    let payload = http::random_file(network.directory(), "payload", 1 << 20).unwrap();
    let mut daemon = site.start("rr", &[1, 1, 1]);
    let download = Trickle::start(network, &network.clients[2]).unwrap();
    let mut conversation = Conversation::open(&network.clients[2], network.vip(), PORT).unwrap();
    let talks_to = conversation.ask().unwrap();

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking: Vec<_> = network
            .clients
            .iter()
            .take(2)
            .map(|client| scope.spawn(|| ask_until(&stop, network, client)))
            .collect();
        let sending = scope.spawn(|| {
            let mut uploads = 0;
            while !stop.load(Ordering::Relaxed) {
                let url = network.url("upload/payload");
                let mut upload = http::upload(&network.clients[2], &payload, &url, None).unwrap();
                upload.wait_success(http::TRANSFER_LIMIT).unwrap();
                uploads += 1;
                thread::sleep(PACE);
            }
            uploads
        });
        // A panic here must not leave the others running for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for kill in 0..20_u64 {
                if kill % 4 == 0 {
                    daemon.restart().unwrap();
                    // Before the server takes it for idle.
                    assert_eq!(conversation.ask().unwrap(), talks_to);
                } else {
                    daemon.relaunch().unwrap();
                    // The next start kills it wherever it has got to.
                    thread::sleep(Duration::from_millis(30 * kill));
                }
            }
            daemon.restart().unwrap();
        }));
        stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for asker in asking {
            sum.add(&asker.join().unwrap());
        }
        assert!(outcome.is_ok(), "lbd did not come back");
        assert_eq!(sum.failures, 0, "{sum}\n{}", daemon.log());
        assert!(sum.of("real1") > 50, "too little load: {sum}");
        assert!(sending.join().unwrap() > 3);
    });
    assert_eq!(conversation.ask().unwrap(), talks_to);
    download.finish().unwrap();
}

fn ask_until(stop: &AtomicBool, network: &Topology, client: &Host) -> Tally {
    let mut sum = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        sum.add(&http::get_many(client, &network.url(""), 10).unwrap());
        thread::sleep(PACE);
    }
    sum
}

#[test]
fn twenty_kills_dr() {
    twenty_kills(Method::Dr);
}

#[test]
fn twenty_kills_nat() {
    twenty_kills(Method::Nat);
}

#[test]
fn twenty_kills_tun() {
    twenty_kills(Method::Tun);
}

/// Killed on its very first way up, with half of its maps made: the next start
/// clears what is left away. One that takes the rest for a data plane to adopt
/// shows as a start that is refused, now and for ever.
#[test]
fn killed_on_its_first_way_up() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let mut daemon = site.start("rr", &[1, 1]);
    let pins = site
        .network
        .scratch()
        .bpffs()
        .unwrap()
        .join(format!("lbd/v{ABI_VERSION}"));
    for made in [1, 5, 10, 14] {
        daemon.kill();
        assert!(unload(&site).status.success());
        daemon.relaunch().unwrap();
        // Looked at without a pause: they are made within milliseconds.
        while fs::read_dir(&pins).map_or(0, Iterator::count) < made {
            daemon.process().check_running().unwrap();
        }
        daemon.restart().unwrap();
        site.expect(&[1, 1]);
    }
}

fn unload(site: &Site) -> Output {
    let mut command = site.network.director.command(&site.binaries.lbd);
    command
        .args(["unload", "--config"])
        .arg(site.network.directory().join("lbd.toml"));
    process::capture(&mut command).unwrap()
}

/// `lbd unload` is refused while a daemon runs, and afterwards takes all away:
/// a pin or a link that it forgets shows in the director's listing.
#[test]
fn unload_removes_everything() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let before = site.data_plane();
    let mut daemon = site.start("rr", &[1, 1]);
    let output = unload(&site);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("is in use by another lbd"), "{said}");
    site.expect(&[2, 2]);

    daemon.kill();
    site.expect(&[2, 2]);
    let output = unload(&site);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.data_plane(), before);
    // The VIP is the director's own now, and nobody listens on it.
    assert_eq!(site.ask(1).failures, 1);
    assert!(site.network.directory().join("state").exists());
    assert!(
        unload(&site).status.success(),
        "nothing to unload is no failure"
    );

    daemon.restart().unwrap();
    site.expect(&[2, 2]);
}

/// With `detach_on_exit` a stop takes the data plane away, a crash does not.
#[test]
fn detach_on_exit() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let before = site.data_plane();
    let config = site
        .config("rr", &[1, 1])
        .replace("[capacity]", "detach_on_exit = true\n\n[capacity]");
    let mut daemon = site.start_with(&config);
    await_reals(&daemon);
    daemon.kill();
    site.expect(&[2, 2]);
    daemon.restart().unwrap();
    site.expect(&[2, 2]);
    daemon.stop().unwrap();
    assert_eq!(site.data_plane(), before);
    assert_eq!(site.ask(1).failures, 1);
}

/// SIGINT stops as SIGTERM does: the data plane stays.
#[test]
fn interrupted() {
    let Some(site) = Site::small(Method::Dr) else {
        return;
    };
    let mut daemon = site.start("rr", &[1, 1]);
    let running = site.data_plane();
    daemon.process().signal(Signal::SIGINT).unwrap();
    let status = daemon.process().wait(Duration::from_secs(5)).unwrap();
    assert!(status.success(), "{}", daemon.log());
    assert_eq!(site.data_plane(), running);
    site.expect(&[2, 2]);
}
