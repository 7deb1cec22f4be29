//! curl on a client: single requests, many at once, and transfers in the
//! background.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::certificate::Certificate;
use crate::namespace::Namespace;
use crate::process::{self, Process};

/// How long one request may take, in seconds.
pub(crate) const REQUEST_LIMIT: &str = "5";

/// Who answered how often. Which real that was is told by the page itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Answers by the name in the page.
    pub answers: BTreeMap<String, usize>,
    /// Requests that got no answer, or an error for one.
    pub failures: usize,
}

impl Tally {
    /// The answers of one real.
    pub fn of(&self, name: &str) -> usize {
        self.answers.get(name).copied().unwrap_or(0)
    }

    /// The answers of `real1`, `real2` and so on up to `reals`.
    pub fn by_real(&self, reals: usize) -> Vec<usize> {
        (1..=reals).map(|n| self.of(&format!("real{n}"))).collect()
    }

    /// Adds another client's tally.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.answers {
            *self.answers.entry(name.clone()).or_default() += count;
        }
        self.failures += other.failures;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.answers {
            write!(f, "{name} {count}, ")?;
        }
        write!(f, "failed {}", self.failures)
    }
}

/// The page at `url`; an error if there is none.
pub fn get(client: &Namespace, url: &str) -> Result<String> {
    let mut command = curl(client);
    command.args(["--max-time", REQUEST_LIMIT, url]);
    Ok(process::output(&mut command)?.trim_end().to_owned())
}

/// As [`get`], by TLS with a server that has this certificate.
pub fn get_secure(client: &Namespace, url: &str, certificate: &Certificate) -> Result<String> {
    let mut command = curl(client);
    command.arg("--cacert").arg(&certificate.certificate);
    command.args(["--max-time", REQUEST_LIMIT, url]);
    Ok(process::output(&mut command)?.trim_end().to_owned())
}

/// Asks for `url` so many times, one after the other, each over a connection of its own.
pub fn get_many(client: &Namespace, url: &str, times: usize) -> Result<Tally> {
    if times == 0 {
        return Ok(Tally::default());
    }
    let mut command = curl(client);
    command
        .args(["--max-time", REQUEST_LIMIT, "--header", "Connection: close"])
        .arg(format!("{url}?request=[1-{times}]"));
    let output = process::capture(&mut command)?;
    let mut tally = Tally::default();
    for name in String::from_utf8_lossy(&output.stdout).lines() {
        *tally.answers.entry(name.to_owned()).or_default() += 1;
    }
    let answered: usize = tally.answers.values().sum();
    tally.failures = times
        .checked_sub(answered)
        .with_context(|| format!("{answered} answers to {times} requests"))?;
    Ok(tally)
}

/// Starts a download of `url` into `file`, at most `rate` (curl's `--limit-rate`:
/// "2M") if given.
pub fn download(client: &Namespace, url: &str, file: &Path, rate: Option<&str>) -> Result<Process> {
    let mut command = curl(client);
    command.arg("--output").arg(file).arg(url);
    transfer("download", command, file, rate)
}

/// Starts an upload of `file` to `url`, which the path's last part must name.
pub fn upload(client: &Namespace, file: &Path, url: &str, rate: Option<&str>) -> Result<Process> {
    let mut command = curl(client);
    // Without waiting for "100 Continue", which nginx answers only once it reads.
    command.args(["--header", "Expect:", "--upload-file"]);
    command.arg(file).arg(url);
    transfer("upload", command, file, rate)
}

/// Makes a file of random bytes.
pub fn random_file(directory: &Path, name: &str, bytes: u64) -> Result<PathBuf> {
    let path = directory.join(name);
    let mut source = File::open("/dev/urandom")?.take(bytes);
    io::copy(&mut source, &mut File::create(&path)?)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// A file's SHA-256, in hexadecimal.
pub fn sha256(file: &Path) -> Result<String> {
    let output = process::output(Command::new("sha256sum").arg(file))?;
    match output.split_whitespace().next() {
        Some(digest) => Ok(digest.to_owned()),
        None => bail!("sha256sum said nothing about {}", file.display()),
    }
}

/// curl as all requests use it: no settings of the user's, no proxy, silent but
/// for errors, and an HTTP error is an error.
pub(crate) fn curl(client: &Namespace) -> Command {
    let mut command = client.command("curl");
    command.args(["--disable", "--silent", "--show-error", "--fail"]);
    command.args(["--noproxy", "*"]);
    command
}

fn transfer(name: &str, mut command: Command, file: &Path, rate: Option<&str>) -> Result<Process> {
    // Bounded, but long enough for 100 MB at 1 MB/s.
    command.args(["--max-time", "150"]);
    if let Some(rate) = rate {
        command.args(["--limit-rate", rate]);
    }
    let mut log = file.as_os_str().to_owned();
    log.push(format!(".{name}.log"));
    Process::spawn(name, &mut command, Path::new(&log))
}

/// How long a test waits for a transfer of 100 MB.
pub const TRANSFER_LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut sum = Tally::default();
        let one = Tally {
            answers: BTreeMap::from([("real1".to_owned(), 2), ("real2".to_owned(), 1)]),
            failures: 1,
        };
        sum.add(&one);
        sum.add(&one);
        assert_eq!(sum.by_real(3), [4, 2, 0]);
        assert_eq!(sum.to_string(), "real1 4, real2 2, failed 2");
    }
}
