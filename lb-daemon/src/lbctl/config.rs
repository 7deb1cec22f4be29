//! What is about everything that runs: reload, diff, save, restore, apply, flush,
//! zero; and `check`, which needs no daemon.

use std::{fs, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    client::{Answer, Client},
    commands::{print, write},
};
use crate::{
    api::wire::{Checked, Diff},
    config::file,
    state::handle::ReloadReport,
};

pub(super) async fn reload(client: &Client, json: bool) -> Result<()> {
    let answer = client
        .post("/v1/reload", &json!({}))
        .await
        .context("reload refused")?;
    report(&answer, json)
}

/// What has changed, and what there is to say about it.
fn report(answer: &Answer, json: bool) -> Result<()> {
    if !json {
        for warning in &answer.parse::<ReloadReport>()?.warnings {
            eprintln!("lbctl: warning: {warning}");
        }
    }
    print(answer, json, |report: &ReloadReport| {
        Ok(lines(&report.changes))
    })
}

fn lines(changes: &[String]) -> String {
    if changes.is_empty() {
        return "nothing changed\n".into();
    }
    changes.iter().map(|change| format!("{change}\n")).collect()
}

/// The file against what runs, as diff(1) has its exit codes.
pub(super) async fn diff(client: &Client, json: bool) -> Result<ExitCode> {
    let answer = client.get("/v1/config/diff").await?;
    let changes = answer.parse::<Diff>()?.changes;
    print(&answer, json, |_: &Diff| {
        Ok(changes.iter().map(|line| format!("{line}\n")).collect())
    })?;
    Ok(ExitCode::from(u8::from(!changes.is_empty())))
}

pub(super) async fn save(client: &Client) -> Result<()> {
    write(&client.get("/v1/config").await?.text())
}

/// `restore`, and `apply` with a time.
pub(super) async fn replace(
    client: &Client,
    path: &Path,
    confirm_within: Option<Duration>,
    json: bool,
) -> Result<()> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // Mistakes are told with the file's name.
    file::parse(&text, path)?;
    let query = confirm_within.map_or_else(String::new, |time| {
        format!("?confirm_within_s={}", time.as_secs())
    });
    let answer = client.put(&format!("/v1/config{query}"), text).await?;
    report(&answer, json)
}

pub(super) async fn confirm(client: &Client, json: bool) -> Result<()> {
    let answer = client.post("/v1/config/confirm", &json!({})).await?;
    print(&answer, json, |_: &Value| Ok(String::new()))
}

pub(super) async fn undo(client: &Client, json: bool) -> Result<()> {
    let answer = client.post("/v1/config/undo", &json!({})).await?;
    print(&answer, json, |diff: &Diff| Ok(lines(&diff.changes)))
}

pub(super) async fn flush(client: &Client) -> Result<()> {
    client.delete("/v1/services").await.map(drop)
}

pub(super) async fn zero(client: &Client, service: Option<String>, json: bool) -> Result<()> {
    let body = service.map_or_else(|| json!({}), |service| json!({ "service": service }));
    let answer = client.post("/v1/zero", &body).await?;
    print(&answer, json, |_: &Value| Ok(String::new()))
}

pub(super) fn check(path: &Path, json: bool) -> Result<()> {
    let config = file::load(path)?;
    let checked = Checked::from(&config);
    let Checked {
        services, reals, ..
    } = checked;
    write(&if json {
        format!("{}\n", serde_json::to_string(&checked)?)
    } else {
        format!(
            "{}: valid, services: {services}, reals: {reals}\n",
            path.display()
        )
    })
}
