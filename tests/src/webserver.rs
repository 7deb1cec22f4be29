//! nginx on a real: its pages name the real, it takes uploads and serves files,
//! and its access log tells who asked.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::certificate::Certificate;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait;

/// A running web server. `/` answers with its name and a new line, `/files/NAME`
/// with a file that was published, and `PUT /upload/NAME` keeps a file.
#[derive(Debug)]
pub struct WebServer {
    name: String,
    process: Process,
    directory: PathBuf,
}

impl WebServer {
    /// Starts nginx in `namespace` on every address and `port`, with its files
    /// in a new directory `name` under `scratch`; returns when it listens.
    pub fn start(namespace: &Namespace, name: &str, port: u16, scratch: &Path) -> Result<Self> {
        Self::launch(namespace, name, port, None, scratch)
    }

    /// As [`Self::start`], by TLS.
    pub fn start_secure(
        namespace: &Namespace,
        name: &str,
        port: u16,
        certificate: &Certificate,
        scratch: &Path,
    ) -> Result<Self> {
        Self::launch(namespace, name, port, Some(certificate), scratch)
    }

    fn launch(
        namespace: &Namespace,
        name: &str,
        port: u16,
        certificate: Option<&Certificate>,
        scratch: &Path,
    ) -> Result<Self> {
        let directory = scratch.join(format!("{name}-{port}"));
        for part in ["files", "upload", "temp"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let configuration = directory.join("nginx.conf");
        fs::write(
            &configuration,
            nginx_conf(name, port, certificate, &directory),
        )?;
        let mut command = namespace.command("nginx");
        command
            .arg("-p")
            .arg(&directory)
            .arg("-c")
            .arg(&configuration);
        command.args(["-e", "stderr"]);
        let mut process = Process::spawn(
            &format!("nginx on {name}"),
            &mut command,
            &directory.join("nginx.log"),
        )?;
        wait::try_until(
            &format!("nginx on {name} to listen"),
            wait::START_LIMIT,
            || {
                process.check_running()?;
                namespace.enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
            },
        )?;
        Ok(Self {
            name: name.to_owned(),
            process,
            directory,
        })
    }

    /// The name that its pages give.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets `/files/NAME` answer with `file`, without copying it.
    pub fn publish(&self, name: &str, file: &Path) -> Result<()> {
        let link = self.directory.join("files").join(name);
        symlink(file, &link).with_context(|| format!("publishing {}", file.display()))
    }

    /// Lets `/files/NAME` answer with 404 again.
    pub fn withdraw(&self, name: &str) -> Result<()> {
        let link = self.directory.join("files").join(name);
        fs::remove_file(&link).with_context(|| format!("withdrawing {}", link.display()))
    }

    /// Where `PUT /upload/NAME` has put the file.
    pub fn uploaded(&self, name: &str) -> PathBuf {
        self.directory.join("upload").join(name)
    }

    /// One line for each request that has been answered: client address and
    /// port, method, path, status, bytes of the body.
    pub fn requests(&self) -> Vec<String> {
        fs::read_to_string(self.directory.join("access.log"))
            .map(|log| log.lines().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    /// The process: to stop it, kill it, look at its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// One process, all files in our directory, nothing of the machine's own nginx.
fn nginx_conf(
    name: &str,
    port: u16,
    certificate: Option<&Certificate>,
    directory: &Path,
) -> String {
    let directory = directory.display();
    let (ssl, files) = match certificate {
        None => ("", String::new()),
        Some(Certificate { certificate, key }) => (
            "ssl ",
            format!(
                "ssl_certificate {}; ssl_certificate_key {};",
                certificate.display(),
                key.display()
            ),
        ),
    };
    format!(
        r#"daemon off;
master_process off;
pid {directory}/nginx.pid;
events {{ worker_connections 900; }}
http {{
    log_format request "$remote_addr $remote_port $request_method $uri $status $body_bytes_sent";
    access_log {directory}/access.log request;
    client_body_temp_path {directory}/temp/body;
    proxy_temp_path {directory}/temp/proxy;
    fastcgi_temp_path {directory}/temp/fastcgi;
    uwsgi_temp_path {directory}/temp/uwsgi;
    scgi_temp_path {directory}/temp/scgi;
    client_max_body_size 0;
    default_type application/octet-stream;
    server {{
        listen {port} {ssl}backlog=1024;
        listen [::]:{port} {ssl}backlog=1024;
        {files}
        location / {{ default_type text/plain; return 200 "{name}\n"; }}
        location /files/ {{ root {directory}; }}
        location /upload/ {{ root {directory}; dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"#
    )
}
