//! What each of ipvsadm's commands asks of lbd, what it says where lbd or IPVS
//! would refuse it, and how it exits.

use std::{io::BufRead, net::SocketAddr, process::ExitCode};

use anyhow::{Context, Result};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{
        client::{Client, Refused, real_path, reals_path, service_path},
        commands::write_some,
        timeouts,
    },
    bodies, help, print,
};
use crate::{
    api::wire,
    config::model::{RealId, Scheduler, ServiceId},
    ipvsadm::{
        Command, Usage,
        command::{Real, Service},
        parse, words,
    },
    state::handle::ObjectKind,
};

/// The kernel's refusals are -1.
const REFUSED: u8 = 255;
/// ipvsadm without its kernel module.
const NO_DAEMON: u8 = 2;
/// A list that cannot be had.
const NO_LIST: u8 = 1;

const NO_MODULE: &str = "Scheduler or persistence engine not found";
/// ERANGE: a lower threshold above the upper.
const OUT_OF_RANGE: &str = "Numerical result out of range";

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    status: u8,
    /// `-R` goes on to the next line.
    goes_on: bool,
}

impl End {
    const DONE: Self = Self::returns(0);

    const fn returns(status: u8) -> Self {
        Self {
            status,
            goes_on: true,
        }
    }

    const fn exits(status: u8) -> Self {
        Self {
            status,
            goes_on: false,
        }
    }
}

/// Runs what stands behind `lbctl ipvsadm`.
pub(in crate::lbctl) async fn run(client: &Client, arguments: &[String]) -> ExitCode {
    let end = match parse(arguments) {
        Ok(Command::Restore) => restore(client).await,
        parsed => end_of(client, parsed, Existing::IsAnError).await,
    };
    ExitCode::from(end.status)
}

/// Each line of standard input as a command line; how the last ended.
async fn restore(client: &Client) -> End {
    let mut end = End::DONE;
    for line in std::io::stdin().lock().lines() {
        let arguments = match line {
            Ok(line) => words(&line),
            Err(error) => {
                eprintln!("cannot read the rules: {error}");
                return End::exits(REFUSED);
            }
        };
        if arguments.is_empty() {
            continue;
        }
        end = match parse(&arguments) {
            Ok(Command::Restore) => {
                end_of(client, Err(Usage::try_help()), Existing::IsAnError).await
            }
            parsed => end_of(client, parsed, Existing::IsEdited).await,
        };
        if !end.goes_on {
            break;
        }
    }
    end
}

/// What becomes of a command that adds what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    IsAnError,
    /// It becomes what is asked for: restoring onto the table that was saved succeeds.
    IsEdited,
}

async fn end_of(client: &Client, parsed: Result<Command, Usage>, existing: Existing) -> End {
    let command = match parsed {
        Ok(command) => command,
        Err(usage) => {
            eprintln!("{usage}");
            return End {
                status: usage.status,
                goes_on: usage.restore_goes_on,
            };
        }
    };
    match act(client, &command).await {
        Ok(end) => end,
        Err(error) => {
            let Some(refused) = error.downcast_ref::<Refused>() else {
                return unable(&error);
            };
            if existing == Existing::IsEdited
                && refused.status == StatusCode::CONFLICT
                && let Some(edit) = edit_of(&command)
            {
                return Box::pin(end_of(client, Ok(edit), Existing::IsAnError)).await;
            }
            eprintln!("{}", complaint(&command, refused));
            match command {
                Command::List(_) | Command::Save { .. } => End::exits(NO_LIST),
                _ => End::returns(REFUSED),
            }
        }
    }
}

/// The edit that makes what is there be what a command would have added.
fn edit_of(command: &Command) -> Option<Command> {
    match command {
        Command::AddService(service) => Some(Command::EditService(service.clone())),
        Command::AddReal(of, real) => Some(Command::EditReal(*of, *real)),
        _ => None,
    }
}

/// What ipvsadm says where there is no IPVS, and what lbctl says of lbd.
fn unable(error: &anyhow::Error) -> End {
    if let Some(impossible) = error.downcast_ref::<Impossible>() {
        eprintln!("{impossible}");
        return End::returns(REFUSED);
    }
    eprintln!("Can't initialize ipvs: {error:#}");
    End::exits(NO_DAEMON)
}

/// IPVS would refuse it too, or lbd cannot do it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Impossible(String);

/// libipvs's words for what the kernel refuses; lbd's own where it refuses
/// more.
fn complaint(command: &Command, refused: &Refused) -> String {
    let text = match (refused.status, refused.object) {
        (StatusCode::CONFLICT, Some(ObjectKind::Service)) => "Service already exists",
        (StatusCode::CONFLICT, Some(ObjectKind::Real)) => "Destination already exists",
        (StatusCode::NOT_FOUND, Some(ObjectKind::Real)) => "No such destination",
        (StatusCode::NOT_FOUND, Some(ObjectKind::Service)) => match command {
            Command::AddReal(..) | Command::EditReal(..) | Command::DeleteReal(..) => {
                "Service not defined"
            }
            _ => "No such service",
        },
        _ => return refused.to_string(),
    };
    text.to_owned()
}

async fn act(client: &Client, command: &Command) -> Result<End> {
    match command {
        Command::AddService(service) => add_service(client, service).await?,
        Command::EditService(service) => edit_service(client, service).await?,
        Command::DeleteService(id) => {
            client.delete(&service_path(&id.to_string())).await?;
        }
        Command::AddReal(of, real) => add_real(client, *of, real).await?,
        Command::EditReal(of, real) => edit_real(client, *of, real).await?,
        Command::DeleteReal(of, id) => delete_real(client, *of, *id).await?,
        Command::Flush => {
            client.delete("/v1/services").await?;
        }
        Command::Zero(id) => {
            let body = id.map_or(json!({}), |id| json!({"service": id.to_string()}));
            client.post("/v1/zero", &body).await?;
        }
        Command::SetTimeouts { tcp, tcp_fin, udp } => {
            let body = json!({"tcp_s": tcp, "tcp_fin_s": tcp_fin, "udp_s": udp});
            client.patch(timeouts::PATH, &body).await?;
        }
        Command::List(list) => write(&print::listing(client, *list).await?)?,
        Command::Save { numeric } => write(&print::saved(client, *numeric).await?)?,
        Command::StartDaemon => no_daemon(client, "lbd has no connection synchronisation").await?,
        Command::StopDaemon => no_daemon(client, "No daemon is running").await?,
        Command::Help => {
            write(help::VERSION)?;
            write(help::USAGE)?;
            return Ok(End::exits(0));
        }
        Command::Version => {
            write(help::VERSION)?;
            return Ok(End::exits(0));
        }
        // The caller's.
        Command::Restore => {}
    }
    Ok(End::DONE)
}

fn write(text: &str) -> Result<()> {
    write_some(text).map(drop)
}

fn impossible(why: impl Into<String>) -> Result<()> {
    Err(Impossible(why.into()).into())
}

/// Of synchronisation; without lbd there is another reason.
async fn no_daemon(client: &Client, why: &str) -> Result<()> {
    client.get(timeouts::PATH).await?;
    impossible(why)
}

async fn add_service(client: &Client, service: &Service) -> Result<()> {
    let id = service.id.to_string();
    if lacks_module(service) {
        // The kernel looks for the service first.
        return match client.get(&service_path(&id)).await {
            Ok(_) => impossible("Service already exists"),
            Err(error) if error.is::<Refused>() => impossible(NO_MODULE),
            Err(error) => Err(error),
        };
    }
    let mut body = bodies::service(service).map_err(Impossible)?;
    body["service"] = id.into();
    client.post("/v1/services", &body).await?;
    Ok(())
}

async fn edit_service(client: &Client, service: &Service) -> Result<()> {
    let path = service_path(&service.id.to_string());
    if lacks_module(service) {
        client.get(&path).await?;
        return impossible(NO_MODULE);
    }
    let body = bodies::service(service).map_err(Impossible)?;
    client.patch(&path, &body).await?;
    Ok(())
}

/// No module has such a scheduler, and none is a persistence engine.
fn lacks_module(service: &Service) -> bool {
    service.engine.is_some() || Scheduler::from_name(&service.scheduler).is_none()
}

async fn add_real(client: &Client, of: ServiceId, real: &Real) -> Result<()> {
    let mut body = real_body(client, of, real).await?;
    body["real"] = bodies::real_name(of, real).into();
    client.post(&reals_path(&of.to_string()), &body).await?;
    Ok(())
}

async fn edit_real(client: &Client, of: ServiceId, real: &Real) -> Result<()> {
    let body = real_body(client, of, real).await?;
    let path = real_path(&of.to_string(), &bodies::real_name(of, real));
    client.patch(&path, &body).await?;
    Ok(())
}

async fn real_body(client: &Client, of: ServiceId, real: &Real) -> Result<Value> {
    if real.lower_threshold > real.upper_threshold {
        // The kernel looks for the service first.
        client.get(&service_path(&of.to_string())).await?;
        impossible(OUT_OF_RANGE)?;
    }
    Ok(bodies::real(real).map_err(Impossible)?)
}

/// A mark's real may have been given a port that it does not have here
/// ([`bodies::real_name`]).
async fn delete_real(client: &Client, of: ServiceId, mut id: RealId) -> Result<()> {
    if of.port().is_none() && id.port != 0 {
        let service: wire::Service = client.get(&service_path(&of.to_string())).await?.parse()?;
        if !has(&service, id)? {
            id.port = 0;
        }
    }
    client
        .delete(&real_path(&of.to_string(), &id.to_string()))
        .await?;
    Ok(())
}

fn has(service: &wire::Service, id: RealId) -> Result<bool> {
    for real in &service.reals {
        let socket: SocketAddr = real
            .real
            .parse()
            .with_context(|| format!("real {}", real.real))?;
        if socket.ip() == id.address && socket.port() == id.port {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(line: &str, status: StatusCode, object: Option<ObjectKind>) -> String {
        let command = parse(&words(line)).unwrap();
        complaint(&command, &Refused::new(status, object, "lbd's own words"))
    }

    #[test]
    fn refusals_are_libipvss() {
        use ObjectKind::{Real, Service};
        let (exists, unknown) = (StatusCode::CONFLICT, StatusCode::NOT_FOUND);
        for (line, status, object, text) in [
            ("-A -f 1", exists, Service, "Service already exists"),
            ("-E -f 1", unknown, Service, "No such service"),
            ("-D -f 1", unknown, Service, "No such service"),
            ("-Z -f 1", unknown, Service, "No such service"),
            ("-L -f 1", unknown, Service, "No such service"),
            (
                "-a -f 1 -r 10.0.0.1",
                exists,
                Real,
                "Destination already exists",
            ),
            (
                "-a -f 1 -r 10.0.0.1",
                unknown,
                Service,
                "Service not defined",
            ),
            (
                "-e -f 1 -r 10.0.0.1",
                unknown,
                Service,
                "Service not defined",
            ),
            (
                "-d -f 1 -r 10.0.0.1",
                unknown,
                Service,
                "Service not defined",
            ),
            ("-e -f 1 -r 10.0.0.1", unknown, Real, "No such destination"),
            ("-d -f 1 -r 10.0.0.1", unknown, Real, "No such destination"),
        ] {
            assert_eq!(says(line, status, Some(object)), text, "{line}");
        }
        let other = StatusCode::UNPROCESSABLE_ENTITY;
        assert_eq!(says("-A -f 1", other, None), "lbd's own words");
    }

    #[test]
    fn only_modules_that_there_are_can_be_used() {
        for (line, lacks) in [
            ("-A -f 1", false),
            ("-A -f 1 -s twos", false),
            ("-A -f 1 -s nosuch", true),
            ("-A -f 1 --pe sip", true),
        ] {
            match parse(&words(line)).unwrap() {
                Command::AddService(service) => assert_eq!(lacks_module(&service), lacks, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    /// As ipvsadm without IPVS in the kernel: nothing is done, and scripts see 2.
    #[tokio::test]
    async fn without_a_daemon_it_is_as_without_ipvs() {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(&dir.path().join("lbd.sock"));
        for (line, status) in [
            ("-Ln", 2),
            ("-Sn", 2),
            ("-C", 2),
            ("-A -f 1", 2),
            ("-A -f 1 -s nosuch", 2),
            ("-A", 2),
            ("--bogus", 255),
        ] {
            let end = end_of(&client, parse(&words(line)), Existing::IsAnError).await;
            assert_eq!(end.status, status, "{line}");
        }
    }
}
