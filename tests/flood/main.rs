//! Floods from a million senders, by each method: downloads go on, others get in,
//! the table keeps to its size and lbd to its memory, and afterwards all is as it was
//! before. What speed the downloads keep is for `cargo xtask bench flood` to say.
//!
//! A flood, lbd, its clients and its reals have the same few processors, so this is a
//! test program of its own, and its tests are one. Nothing here depends on how fast
//! the flood gets: it goes on until all has come about that it is to be seen with.
//!
//! `LBD_FLOOD_METHOD`: one method alone, by its name.

use std::env;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::conversation::Conversation;
use lb_tests::flood::attacker::{self, Flood, Progress};
use lb_tests::flood::downloads;
use lb_tests::flood::others::{self, Answers};
use lb_tests::flood::segment::Segment;
use lb_tests::flood::shield;
use lb_tests::flood::site::{self, Pace, Site};
use lb_tests::privilege;
use lb_tests::topology::{Host, Method, PORT};
use lb_tests::wait;
use serde_json::Value;

/// Of the connection tables; `[capacity]` in `daemon::configuration`.
const CAPACITY: u64 = 16_384;
/// Where the last defence has ended: drop_entry, 10 points below its mark of 80 %.
const NORMAL: u64 = CAPACITY * 70 / 100;

/// Senders of each flood.
const SENDERS: u32 = 1_000_000;
/// Segments a second, if the machine has the time.
const RATE: u32 = 250_000;
/// Until a flood has filled the table, at that rate.
const FILLING: Duration = Duration::from_millis(300);
/// How long a flood may take to reach all senders, and the downloads to go on in it.
const LIMIT: Duration = Duration::from_secs(60);

/// What must have been seen during a SYN flood, or the entries that are to be few
/// enough have not.
const FLOODED: u64 = 1000;

/// What must come by each download during a flood: more than the buffers on the way
/// have, `Topology::keep_buffers_small`.
const PROGRESS_BYTES: u64 = 512 << 10;

/// What lbd's own memory may grow by: reports, answers, the ring buffer of
/// connections with short timeouts and their keys, a ring's worth for each of the
/// seconds that they have. Sixteen bytes for each sender of both floods would be
/// 32 MB.
const GROWTH_KB: u64 = 12 << 10;

const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// How long no counter of drops moves, when all is over.
const STILL: Duration = Duration::from_secs(1);

#[test]
fn floods() {
    if !privilege::network() {
        return;
    }
    let only = env::var("LBD_FLOOD_METHOD").ok();
    for method in Method::ALL {
        if only.as_ref().is_some_and(|only| only != method.name()) {
            continue;
        }
        let began = Instant::now();
        site::run(method, Pace::Slow, |site| {
            withstand(site);
            Ok(())
        })
        .unwrap();
        println!("{}: {:.1?}\n", method.name(), began.elapsed());
    }
}

fn withstand(site: &Site<'_>) {
    let method = site.network.spec().method;
    // By nat the reals' answers to the attack are lbd's business.
    if method != Method::Nat {
        shield::raise(site.network).unwrap();
    }
    // No more than one retransmission of answers that nobody takes, or they would
    // be among the drops for a minute after the flood.
    for real in &site.network.reals {
        real.sysctl("net/ipv4/tcp_synack_retries", "1").unwrap();
    }
    let memory = memory_kb(site);
    for segment in Segment::ALL {
        endure(site, segment);
    }
    let drops = drops(site);
    println!("{}: drops {drops}", method.name());
    let is_stateless = drops["stateless"].as_u64().unwrap_or(0) > 0;
    assert_eq!(is_stateless, method != Method::Nat, "{drops}");
    recover(site);
    let grown = memory_kb(site).saturating_sub(memory);
    println!("{}: lbd has {grown} kB more than before", method.name());
    assert!(grown < GROWTH_KB, "{grown} kB");
}

/// A flood, and all that must go on in it.
fn endure(site: &Site<'_>, segment: Segment) {
    let (method, name) = (site.network.spec().method, segment.name());
    let flood = Flood {
        segment,
        address: site.network.vip(),
        rate: RATE,
    };
    let (began, before) = (Instant::now(), arrived(site));
    let seen = site.attacker.during(&flood, |progress| {
        let seen = watch(site, segment, progress);
        let rate = f64::from(progress.sent()) / began.elapsed().as_secs_f64();
        println!(
            "{}: {name}: {} senders, {rate:.0} a second of {RATE}; {} more had no room on the wire",
            method.name(),
            progress.sent(),
            progress.lost()
        );
        seen
    });
    let ((answers, most), arrived) = (seen.unwrap(), arrived(site) - before);
    println!(
        "{}: {name}: {:.1} % of {} requests answered, {most} entries of {CAPACITY}, \
         {arrived} segments at the director",
        method.name(),
        answers.percent(),
        Answers::ASKED,
    );
    let least = if method == Method::Nat { 90.0 } else { 99.0 };
    assert!(answers.percent() > least, "{answers:?}");
    assert!(most <= CAPACITY, "{most} entries");
    assert!(arrived >= u64::from(SENDERS), "{arrived} segments");
}

/// Requests of others at the flood's height; the flood goes on until all its senders
/// have had their turn and each download has gone on. How the requests were
/// answered, and how many entries there were at the most.
fn watch(site: &Site<'_>, segment: Segment, progress: &Progress) -> (Answers, u64) {
    let (before, mut went_on) = (site.downloads.received(), [0; downloads::COUNT]);
    let (flooded, mut most) = match segment {
        Segment::Syn => (FLOODED, 0),
        Segment::Ack => (0, 0),
    };
    thread::sleep(FILLING);
    thread::scope(|scope| {
        let asking = scope.spawn(|| others::ask(site.network));
        let waited = wait::until("a million senders and all downloads", LIMIT, || {
            most = most.max(entries(site));
            went_on = site.downloads.received();
            for (now, before) in went_on.iter_mut().zip(before) {
                *now -= before;
            }
            progress.sent() >= SENDERS
                && most >= flooded
                && went_on.iter().all(|bytes| *bytes > PROGRESS_BYTES)
                && asking.is_finished()
        });
        let sent = progress.sent();
        if let Err(error) = waited {
            panic!("{error}: {sent} senders, {most} entries, downloads' bytes: {went_on:?}");
        }
        (asking.join().unwrap().unwrap(), most)
    })
}

/// The defences end by themselves, a new connection leaves an entry at once, nothing
/// is dropped, and the downloads have their old entries and go on.
fn recover(site: &Site<'_>) {
    let began = Instant::now();
    let (client, vip) = (&site.network.clients[1], site.network.vip());
    // Kept open, to be listed.
    let mut conversation = None;
    wait::until("the defences to end", RECOVERY_LIMIT, || {
        let before = drops(site);
        let mut new = Conversation::open(client, vip, PORT).unwrap();
        new.ask().unwrap();
        conversation.replace(new);
        thread::sleep(STILL);
        drops(site) == before && entries(site) < NORMAL
    })
    .unwrap();
    assert_eq!(established(site, client), 1);
    assert_eq!(
        established(site, &site.network.clients[0]),
        downloads::COUNT
    );
    let before = site.downloads.received();
    wait::until("the downloads to go on", LIMIT, || {
        let now = site.downloads.received();
        now.iter().zip(before).all(|(now, before)| *now > before)
    })
    .unwrap();
    println!(
        "{}: back to normal after {:.1?}",
        site.network.spec().method.name(),
        began.elapsed()
    );
}

#[track_caller]
fn arrived(site: &Site<'_>) -> u64 {
    attacker::arrived(&site.network.director).unwrap()
}

#[track_caller]
fn json(site: &Site<'_>, arguments: &[&str]) -> Value {
    let text = site.daemon.lbctl(&[arguments, &["--json"]].concat());
    serde_json::from_str(&text.unwrap()).unwrap()
}

/// Also of what went without an entry.
#[track_caller]
fn drops(site: &Site<'_>) -> Value {
    json(site, &["status"])["drops"].clone()
}

/// Of IPv4's connection table.
#[track_caller]
fn entries(site: &Site<'_>) -> u64 {
    let tables = &json(site, &["status"])["tables"];
    assert_eq!(tables[0]["capacity"], CAPACITY, "{tables}");
    tables[0]["entries"].as_u64().unwrap()
}

/// How many established connections of a client `lbctl connections list` has.
#[track_caller]
fn established(site: &Site<'_>, client: &Host) -> usize {
    let client = client.address().to_string();
    let list = ["connections", "list", "--client", &client];
    let rows = json(site, &[&list[..], &["--state", "ESTABLISHED"]].concat());
    rows.as_array().unwrap().len()
}

/// lbd's own memory that is in use; the maps are the kernel's, and have theirs
/// from the start.
fn memory_kb(site: &Site<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", site.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.unwrap().parse().unwrap()
}
