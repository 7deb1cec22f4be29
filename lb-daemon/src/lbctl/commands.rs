//! What each command asks of the daemon, and what it prints.

use std::{
    collections::HashMap,
    io::{ErrorKind, Write},
    ops::ControlFlow,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::{
    Usage,
    args::{
        Args, Command, ListFlags, OFF, RateLimitFlag, RealCommand, RealFlags, ServiceCommand,
        ServiceFlags, SlowStartFlag,
    },
    client::{Answer, Client, real_path, reals_path, service_path},
    completions, config, connections, health, import, ipvsadm, list, marks,
    names::Names,
    pages, persistence, simulate, timeouts,
};
use crate::{
    api::wire,
    config::identity::{IpFamily, ServiceId},
};

/// Runs the command that `args` names; it has an exit code of its own where it
/// stands for another program.
pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let client = Client::new(&args.socket);
    let json = args.json;
    let done = match args.command {
        Command::Service(command) => service(&client, command, json).await,
        Command::Real(command) => real(&client, command, json).await,
        Command::Mark(command) => marks::run(&client, command, json).await,
        Command::List(flags) => list(&client, flags, json).await,
        Command::Connections(args) => connections::run(&client, args, json).await,
        Command::Health(args) => health::run(&client, args, json).await,
        Command::Status => {
            let answer = client.get("/v1/status").await?;
            print(&answer, json, |status: &wire::Status| {
                Ok(pages::status(status))
            })
        }
        Command::Timeouts(args) => timeouts::run(&client, args, json).await,
        Command::Zero { service } => config::zero(&client, service, json).await,
        Command::Reload => config::reload(&client, json).await,
        Command::Diff => return config::diff(&client, json).await,
        Command::Save => config::save(&client).await,
        Command::Restore { file } => config::replace(&client, &file, None, json).await,
        Command::Apply {
            file,
            confirm_within,
        } => config::replace(&client, &file, Some(confirm_within), json).await,
        Command::Confirm => config::confirm(&client, json).await,
        Command::Undo => config::undo(&client, json).await,
        Command::Flush { yes: _ } => config::flush(&client).await,
        Command::Check { file } => config::check(&file, json),
        Command::Import(args) => import::run(&args, json),
        Command::Simulate(args) => simulate::run(args, json),
        Command::Completions { shell } => write(&completions::script(shell)),
        Command::Ipvsadm { arguments } => return Ok(ipvsadm::run(&client, &arguments).await),
    };
    done.map(|()| ExitCode::SUCCESS)
}

async fn service(client: &Client, command: ServiceCommand, json: bool) -> Result<()> {
    match command {
        ServiceCommand::Add { service, flags } => {
            if flags.netmask.is_some() && flags.persistent.is_none() {
                bail!(Usage("service add: -M goes with -p"));
            }
            let family = service.parse().ok().map(ServiceId::family);
            let mut body = service_body(flags, family)?;
            body.insert("service".into(), service.into());
            print_made(&client.post("/v1/services", &body.into()).await?, json)
        }
        ServiceCommand::Edit { service, flags } => {
            let family = family_of(client, &service, &flags).await?;
            let body = service_body(flags, family)?;
            if body.is_empty() {
                bail!(Usage("service edit: nothing to change; name a flag"));
            }
            print_made(
                &client.patch(&service_path(&service), &body.into()).await?,
                json,
            )
        }
        ServiceCommand::Delete { service, now } => {
            client
                .delete(&format!("{}{}", service_path(&service), now_query(now)))
                .await?;
            Ok(())
        }
        ServiceCommand::List => {
            let answer = client.get("/v1/services").await?;
            print(&answer, json, |services: &Vec<wire::Service>| {
                Ok(pages::service_list(services))
            })
        }
        ServiceCommand::Show { service } => {
            let answer = client.get(&service_path(&service)).await?;
            print(&answer, json, |service: &wire::Service| {
                Ok(pages::service(service))
            })
        }
    }
}

async fn real(client: &Client, command: RealCommand, json: bool) -> Result<()> {
    match command {
        RealCommand::Add {
            service,
            real,
            flags,
        } => {
            let mut body = real_body(&flags);
            body.insert("real".into(), real.into());
            print_made(
                &client.post(&reals_path(&service), &body.into()).await?,
                json,
            )
        }
        RealCommand::Edit {
            service,
            real,
            flags,
        } => {
            let body = real_body(&flags);
            if body.is_empty() {
                bail!(Usage("real edit: nothing to change; name a flag"));
            }
            print_made(
                &client
                    .patch(&real_path(&service, &real), &body.into())
                    .await?,
                json,
            )
        }
        RealCommand::State {
            service,
            real,
            state,
        } => {
            let path = real_path(&service, &real);
            print_made(&client.patch(&path, &json!({"state": state})).await?, json)
        }
        RealCommand::Delete { service, real, now } => {
            client
                .delete(&format!("{}{}", real_path(&service, &real), now_query(now)))
                .await?;
            Ok(())
        }
    }
}

async fn list(client: &Client, flags: ListFlags, json: bool) -> Result<()> {
    let answer = client.get("/v1/services").await?;
    if json {
        return write(&format!("{}\n", answer.text()));
    }
    let services: Vec<wire::Service> = answer.parse()?;
    let status: wire::Status = client.get("/v1/status").await?.parse()?;
    let mut names = if flags.numeric {
        Names::Numeric
    } else {
        Names::Resolved(HashMap::new())
    };
    write(&list::render(&status, &services, flags, &mut names)?)
}

/// `family` is the service's, where it is known.
fn service_body(flags: ServiceFlags, family: Option<IpFamily>) -> Result<Map<String, Value>> {
    let persistence = persistence::body(flags.persistent, flags.netmask, family)?;
    let one_packet = (flags.ops || flags.no_ops).then_some(flags.ops);
    Ok(given([
        ("name", flags.name.map(Value::from)),
        ("scheduler", flags.scheduler.map(Value::from)),
        (
            "scheduler_flags",
            words(flags.scheduler_flags, "-b: off stands alone")?,
        ),
        ("mh_table_size", flags.mh_table_size.map(Value::from)),
        ("slow_start_s", flags.slow_start.map(slow_start)),
        ("forward", flags.forward.map(Value::from)),
        (
            "masquerade",
            words(flags.masquerade, "--masquerade: off stands alone")?,
        ),
        ("persistence", persistence),
        ("one_packet", one_packet.map(Value::from)),
        ("on_down", flags.on_down.map(Value::from)),
        ("rate_limit", flags.rate_limit.map(rate_limit)),
    ]))
}

/// Of which family a service is, where a netmask leaves it open: its name does
/// not tell.
async fn family_of(
    client: &Client,
    service: &str,
    flags: &ServiceFlags,
) -> Result<Option<IpFamily>> {
    let id = match service.parse() {
        Ok(id) => Some(id),
        Err(_) if flags.netmask.is_none() => None,
        Err(_) => {
            let shown: wire::Service = client.get(&service_path(service)).await?.parse()?;
            Some(shown.service.parse().map_err(anyhow::Error::msg)?)
        }
    };
    Ok(id.map(ServiceId::family))
}

fn rate_limit(flag: RateLimitFlag) -> Value {
    match flag {
        RateLimitFlag::Off => Value::Null,
        RateLimitFlag::On { rate, burst: None } => json!({"connections": rate}),
        RateLimitFlag::On {
            rate,
            burst: Some(burst),
        } => json!({"connections": rate, "burst": burst}),
    }
}

fn slow_start(flag: SlowStartFlag) -> Value {
    match flag {
        SlowStartFlag::Off => Value::Null,
        SlowStartFlag::Seconds(seconds) => seconds.into(),
    }
}

/// The words of a flag that takes several; `off`, or an empty one, for none.
fn words(words: Vec<String>, contradiction: &'static str) -> Result<Option<Value>> {
    let is_none = |word: &String| word == OFF || word.is_empty();
    if !words.iter().any(is_none) {
        return Ok(Some(words)
            .filter(|words| !words.is_empty())
            .map(Value::from));
    }
    if words.len() > 1 {
        bail!(Usage(contradiction));
    }
    Ok(Some(json!([])))
}

fn real_body(flags: &RealFlags) -> Map<String, Value> {
    given([
        ("forward", flags.forward.clone().map(Value::from)),
        ("weight", flags.weight.map(Value::from)),
        ("upper_threshold", flags.upper_threshold.map(Value::from)),
        ("lower_threshold", flags.lower_threshold.map(Value::from)),
        ("tunnel", tunnel(flags)),
    ])
}

fn tunnel(flags: &RealFlags) -> Option<Value> {
    let checksum = (flags.tun_csum || flags.tun_nocsum).then_some(flags.tun_csum);
    let fields = given([
        ("type", flags.tun_type.clone().map(Value::from)),
        ("port", flags.tun_port.map(Value::from)),
        ("checksum", checksum.map(Value::from)),
    ]);
    (!fields.is_empty()).then(|| fields.into())
}

/// The fields that have a value.
pub(super) fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let present = fields
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), value?)));
    present.collect()
}

fn now_query(now: bool) -> &'static str {
    if now { "?now=true" } else { "" }
}

/// The made object as JSON; people need no more than the exit code.
pub(super) fn print_made(answer: &Answer, json: bool) -> Result<()> {
    if json {
        write(&format!("{}\n", answer.text()))
    } else {
        Ok(())
    }
}

pub(super) fn print<T: serde::de::DeserializeOwned>(
    answer: &Answer,
    json: bool,
    page: impl FnOnce(&T) -> Result<String>,
) -> Result<()> {
    let text = if json {
        format!("{}\n", answer.text())
    } else {
        page(&answer.parse()?)?
    };
    write(&text)
}

/// To standard output; a reader that has seen enough (`| head`) is no error.
pub(super) fn write(text: &str) -> Result<()> {
    write_some(text).map(drop)
}

/// As [`write`]; a break: the reader has seen enough.
pub(super) fn write_some(text: &str) -> Result<ControlFlow<()>> {
    let mut output = std::io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        Err(_) => Ok(ControlFlow::Break(())),
        Ok(()) => Ok(ControlFlow::Continue(())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parsed(line: &str) -> Command {
        Args::try_parse_from(line.split(' ')).unwrap().command
    }

    fn service_flags(line: &str) -> ServiceFlags {
        match parsed(line) {
            Command::Service(
                ServiceCommand::Add { flags, .. } | ServiceCommand::Edit { flags, .. },
            ) => flags,
            other => panic!("{other:?}"),
        }
    }

    fn real_flags(line: &str) -> RealFlags {
        match parsed(line) {
            Command::Real(RealCommand::Add { flags, .. } | RealCommand::Edit { flags, .. }) => {
                flags
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_named_is_sent() {
        let flags = service_flags("lbctl service edit web -s rr -b sh-port,sh-fallback");
        assert_eq!(
            Value::from(service_body(flags, None).unwrap()),
            json!({"scheduler": "rr", "scheduler_flags": ["sh-port", "sh-fallback"]})
        );
        let flags = real_flags("lbctl real edit web 10.0.0.2 -w 0 -f tun --tun-type ipip");
        assert_eq!(
            Value::from(real_body(&flags)),
            json!({"weight": 0, "forward": "tun", "tunnel": {"type": "ipip"}})
        );
        let flags = real_flags("lbctl real edit web 10.0.0.2 --tun-port 7000 --tun-csum");
        assert_eq!(
            Value::from(real_body(&flags)),
            json!({"tunnel": {"port": 7000, "checksum": true}})
        );
        let flags = real_flags("lbctl real edit web 10.0.0.2 --tun-nocsum");
        assert_eq!(
            Value::from(real_body(&flags)),
            json!({"tunnel": {"checksum": false}})
        );
        for (addresses, sent) in [
            ("10.0.0.250,10.0.0.251", json!(["10.0.0.250", "10.0.0.251"])),
            ("off", json!([])),
        ] {
            let flags = service_flags(&format!("lbctl service edit web --masquerade {addresses}"));
            assert_eq!(service_body(flags, None).unwrap()["masquerade"], sent);
        }
        assert!(real_body(&real_flags("lbctl real add web 10.0.0.2")).is_empty());
    }

    #[test]
    fn what_can_be_off_and_what_is_0_is_sent() {
        for (flags, expected) in [
            (
                "-p 60 -M 24 --ops",
                json!({"persistence": {"timeout_s": 60, "netmask": 24}, "one_packet": true}),
            ),
            (
                "-p off --no-ops --on-down reset",
                json!({"persistence": null, "one_packet": false, "on_down": "reset"}),
            ),
            (
                "--rate-limit 10,30",
                json!({"rate_limit": {"connections": 10, "burst": 30}}),
            ),
            (
                "--rate-limit 10",
                json!({"rate_limit": {"connections": 10}}),
            ),
            ("--rate-limit off", json!({"rate_limit": null})),
            ("-b off", json!({"scheduler_flags": []})),
            ("-b ", json!({"scheduler_flags": []})),
            (
                "-s mh --mh-table-size 251",
                json!({"scheduler": "mh", "mh_table_size": 251}),
            ),
            ("--slow-start 2m", json!({"slow_start_s": 120})),
            ("--slow-start off", json!({"slow_start_s": null})),
        ] {
            let flags = service_flags(&format!("lbctl service edit web {flags}"));
            assert_eq!(Value::from(service_body(flags, None).unwrap()), expected);
        }
        let flags = real_flags("lbctl real edit web 10.0.0.2 -x 100 -y 0");
        assert_eq!(
            Value::from(real_body(&flags)),
            json!({"upper_threshold": 100, "lower_threshold": 0})
        );
    }
}
