//! What each command asks of the daemon, and what it prints.

use std::{
    collections::HashMap,
    io::{ErrorKind, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::{
    Usage,
    args::{
        Args, Command, ListFlags, MASQUERADE_OFF, RealCommand, RealFlags, ServiceCommand,
        ServiceFlags,
    },
    client::{Answer, Client, real_path, reals_path, service_path},
    list,
    names::Names,
    pages,
};
use crate::{
    api::wire,
    config::{file, vocabulary::NOT_SUPPORTED_YET},
    state::handle::ReloadReport,
};

/// Runs the command that `args` names.
pub(super) async fn run(args: Args) -> Result<()> {
    let client = Client::new(&args.socket);
    let json = args.json;
    match args.command {
        Command::Service(command) => service(&client, command, json).await,
        Command::Real(command) => real(&client, command, json).await,
        Command::List(flags) => list(&client, flags, json).await,
        Command::Status => {
            let answer = client.get("/v1/status").await?;
            print(&answer, json, |status: &wire::Status| {
                Ok(pages::status(status))
            })
        }
        Command::Reload => reload(&client, json).await,
        Command::Check { file } => check(&file, json),
    }
}

async fn service(client: &Client, command: ServiceCommand, json: bool) -> Result<()> {
    match command {
        ServiceCommand::Add { service, flags } => {
            let mut body = service_body(flags)?;
            body.insert("service".into(), service.into());
            print_made(&client.post("/v1/services", &body.into()).await?, json)
        }
        ServiceCommand::Edit { service, flags } => {
            let body = service_body(flags)?;
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
            let mut body = real_body(&flags)?;
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
            let body = real_body(&flags)?;
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
        RealCommand::Delete { service, real, now } => {
            client
                .delete(&format!("{}{}", real_path(&service, &real), now_query(now)))
                .await?;
            Ok(())
        }
    }
}

async fn list(client: &Client, flags: ListFlags, json: bool) -> Result<()> {
    refuse_later(&[
        ("--rate", flags.rate),
        ("--thresholds", flags.thresholds),
        ("--persistent-conn", flags.persistent_conn),
    ])?;
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

async fn reload(client: &Client, json: bool) -> Result<()> {
    let answer = client
        .post("/v1/reload", &json!({}))
        .await
        .context("reload refused")?;
    if !json {
        for warning in &answer.parse::<ReloadReport>()?.warnings {
            eprintln!("lbctl: warning: {warning}");
        }
    }
    print(&answer, json, |report: &ReloadReport| {
        Ok(if report.changes.is_empty() {
            "nothing changed\n".into()
        } else {
            report
                .changes
                .iter()
                .map(|change| format!("{change}\n"))
                .collect()
        })
    })
}

fn check(path: &Path, json: bool) -> Result<()> {
    let config = file::load(path)?;
    let services = config.services.len();
    let reals: usize = config
        .services
        .iter()
        .map(|service| service.reals.len())
        .sum();
    write(&if json {
        format!(
            "{}\n",
            json!({"valid": true, "services": services, "reals": reals})
        )
    } else {
        format!(
            "{}: valid, services: {services}, reals: {reals}\n",
            path.display()
        )
    })
}

fn service_body(flags: ServiceFlags) -> Result<Map<String, Value>> {
    refuse_later(&[
        ("-p", flags.persistent.is_some()),
        ("-M", flags.netmask.is_some()),
        ("--ops", flags.ops),
    ])?;
    let scheduler_flags = Some(flags.scheduler_flags).filter(|flags| !flags.is_empty());
    Ok(given([
        ("name", flags.name.map(Value::from)),
        ("scheduler", flags.scheduler.map(Value::from)),
        ("scheduler_flags", scheduler_flags.map(Value::from)),
        ("forward", flags.forward.map(Value::from)),
        ("masquerade", masquerade(flags.masquerade)?),
    ]))
}

fn masquerade(addresses: Vec<String>) -> Result<Option<Value>> {
    if !addresses.iter().any(|address| address == MASQUERADE_OFF) {
        return Ok(Some(addresses)
            .filter(|addresses| !addresses.is_empty())
            .map(Value::from));
    }
    if addresses.len() > 1 {
        bail!(Usage("--masquerade: off stands alone"));
    }
    Ok(Some(json!([])))
}

fn real_body(flags: &RealFlags) -> Result<Map<String, Value>> {
    refuse_later(&[
        ("-x", flags.upper_threshold.is_some_and(|upper| upper != 0)),
        ("-y", flags.lower_threshold.is_some_and(|lower| lower != 0)),
    ])?;
    Ok(given([
        ("forward", flags.forward.clone().map(Value::from)),
        ("weight", flags.weight.map(Value::from)),
        ("upper_threshold", flags.upper_threshold.map(Value::from)),
        ("lower_threshold", flags.lower_threshold.map(Value::from)),
        ("tunnel", tunnel(flags)),
    ]))
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
fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let present = fields
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), value?)));
    present.collect()
}

fn refuse_later(flags: &[(&str, bool)]) -> Result<()> {
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => bail!("{flag}: {NOT_SUPPORTED_YET}"),
        None => Ok(()),
    }
}

fn now_query(now: bool) -> &'static str {
    if now { "?now=true" } else { "" }
}

/// The made object as JSON; people need no more than the exit code.
fn print_made(answer: &Answer, json: bool) -> Result<()> {
    if json {
        write(&format!("{}\n", answer.text()))
    } else {
        Ok(())
    }
}

fn print<T: serde::de::DeserializeOwned>(
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
fn write(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(()),
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
            Value::from(service_body(flags).unwrap()),
            json!({"scheduler": "rr", "scheduler_flags": ["sh-port", "sh-fallback"]})
        );
        let flags = real_flags("lbctl real edit web 10.0.0.2 -w 0 -f tun --tun-type ipip");
        assert_eq!(
            Value::from(real_body(&flags).unwrap()),
            json!({"weight": 0, "forward": "tun", "tunnel": {"type": "ipip"}})
        );
        let flags = real_flags("lbctl real edit web 10.0.0.2 --tun-port 7000 --tun-csum");
        assert_eq!(
            Value::from(real_body(&flags).unwrap()),
            json!({"tunnel": {"port": 7000, "checksum": true}})
        );
        let flags = real_flags("lbctl real edit web 10.0.0.2 --tun-nocsum");
        assert_eq!(
            Value::from(real_body(&flags).unwrap()),
            json!({"tunnel": {"checksum": false}})
        );
        for (addresses, sent) in [
            ("10.0.0.250,10.0.0.251", json!(["10.0.0.250", "10.0.0.251"])),
            ("off", json!([])),
        ] {
            let flags = service_flags(&format!("lbctl service edit web --masquerade {addresses}"));
            assert_eq!(service_body(flags).unwrap()["masquerade"], sent);
        }
        assert!(
            real_body(&real_flags("lbctl real add web 10.0.0.2"))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn flags_of_later_versions_are_refused_by_name() {
        for (line, flag) in [
            ("lbctl service add tcp:192.0.2.10:80 -p 300", "-p"),
            ("lbctl service add tcp:192.0.2.10:80 -p", "-p"),
            ("lbctl service edit web -M 255.255.255.0", "-M"),
            ("lbctl service edit web --ops", "--ops"),
        ] {
            let error = service_body(service_flags(line)).unwrap_err().to_string();
            assert_eq!(error, format!("{flag}: not supported yet by this version"));
        }
        for (line, flag) in [
            ("lbctl real add web 10.0.0.2 -x 100", "-x"),
            ("lbctl real add web 10.0.0.2 -y 50", "-y"),
        ] {
            let error = real_body(&real_flags(line)).unwrap_err().to_string();
            assert_eq!(error, format!("{flag}: not supported yet by this version"));
        }
    }
}
