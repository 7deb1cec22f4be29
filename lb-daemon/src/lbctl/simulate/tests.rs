use std::{fs, path::Path};

use clap::Parser;

use super::{
    super::args::{Args, Command},
    *,
};

/// The page, or the JSON, that a command prints.
fn output(line: &str) -> Result<String> {
    let args = Args::try_parse_from(line.split_whitespace())?;
    let Command::Simulate(simulation) = args.command else {
        panic!("{line}");
    };
    let report = report(simulation)?;
    Ok(match args.json {
        true => serde_json::to_string(&report)? + "\n",
        false => page(&report),
    })
}

/// The commands of a page's `console` blocks, with what stands below each.
fn console_blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    for block in text.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").expect("an end of the block");
        for part in block.split("$ ").skip(1) {
            let whole = part.replace("\\\n", " ");
            let (command, shown) = whole.split_once('\n').expect("a command's end");
            blocks.push((command.to_owned(), shown.to_owned()));
        }
    }
    blocks
}

#[test]
fn the_documentation_shows_what_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schedulers.md");
    let blocks = console_blocks(&fs::read_to_string(path).unwrap());
    for (command, shown) in &blocks {
        let printed = output(command).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert_eq!(*shown, printed, "$ {command}\n{printed}");
    }
    let commands: Vec<_> = blocks.iter().map(|(command, _)| &**command).collect();
    for scheduler in Scheduler::ALL {
        let shown = format!(" -s {} ", scheduler.name());
        assert!(
            commands.iter().any(|command| command.contains(&shown)),
            "{shown}"
        );
    }
}

#[test]
fn the_contracts_command_is_understood() {
    let printed = output(
        "lbctl simulate --scheduler wlc --reals a:1,b:2 --connections 10000 --duration exp:2s",
    );
    let printed = printed.unwrap();
    let first = printed.lines().next().unwrap();
    assert!(first.starts_with("wlc: 10000 connections in "), "{first}");
    assert!(!printed.contains("STATE"), "{printed}");
}

#[test]
fn the_fields_of_the_json_stay() {
    let printed =
        output("lbctl simulate -j -s sh -b sh-fallback --reals a,b -n 100 --event 10ms:remove:b");
    let value: serde_json::Value = serde_json::from_str(&printed.unwrap()).unwrap();
    let keys = |value: &serde_json::Value| {
        let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.join(" ")
    };
    assert_eq!(
        keys(&value),
        "connections duration_s events_after_end mean_active moves moves_of peak_active reals refused scheduler scheduler_flags seed"
    );
    assert_eq!(keys(&value["moves"]), "related returning unrelated");
    assert_eq!(
        keys(&value["reals"][1]),
        "connections mean_active peak_active real share share_by_weight state weight"
    );
    assert_eq!(value["scheduler_flags"], serde_json::json!(["sh-fallback"]));
    assert_eq!(value["reals"][1]["weight"], serde_json::Value::Null);
    assert_eq!(value["reals"][1]["state"], "removed");
}

#[test]
fn wrong_usage_is_told() {
    for (flags, part) in [
        ("-s wrrr --reals a", "unknown scheduler \"wrrr\""),
        ("-s wlc", "--reals"),
        ("--reals a:x", "real a: \"x\" is not a weight"),
        ("--reals a,a", "simulate: real a is there already"),
        ("--reals a -s sh -b mh-port", "sh has no flag \"mh-port\""),
        (
            "--reals a -s dh --slow-start 5s",
            "simulate: dh has no slow_start",
        ),
        ("--reals a -s mh --mh-table-size 252", "252 is not a prime"),
        ("--reals a --event 5s:down:b", "there is no real b then"),
        ("--reals a --event 5s:dwn:a", "did you mean down?"),
        ("--reals a --duration 2", "is not a duration"),
        ("--reals a --connections 0", "0 is not in"),
        ("--reals a --clients none", "expected a number"),
        ("--reals a --speed a=0", "expected NAME=FACTOR"),
        ("--reals a --speed b=2", "there is no real b"),
    ] {
        let error = output(&format!("lbctl simulate {flags}")).unwrap_err();
        assert!(error.to_string().contains(part), "{flags}: {error}");
        let is_usage = error.is::<clap::Error>() || error.is::<Unusable>();
        assert!(is_usage, "{flags}: {error}");
    }
}
