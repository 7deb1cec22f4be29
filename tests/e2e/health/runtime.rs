//! Checks, a quorum and a sorry server that are asked for over the API.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use lb_tests::daemon::Daemon;
use lb_tests::process;
use lb_tests::topology::{Method, PORT, Spec};
use serde_json::{Value, json};

use super::{await_healths, healths};
use crate::site::{Site, await_reals};

/// Who may open the socket, and who may not have lbd run commands.
const GROUP: &str = "nogroup";

/// What curl gets as `user`: the status and the body.
#[track_caller]
fn ask_as(
    user: &str,
    (site, daemon): (&Site, &Daemon<'_>),
    (method, path): (&str, &str),
    body: &Value,
) -> (u16, Value) {
    let mut curl = site.network.director.command("setpriv");
    curl.args(["--reuid", user, "--regid", GROUP, "--clear-groups"]);
    curl.args([
        "curl",
        "--disable",
        "--silent",
        "--write-out",
        "\n%{http_code}",
    ]);
    curl.arg("--unix-socket").arg(daemon.socket());
    curl.args(["--request", method, "--data", &body.to_string()]);
    curl.arg(format!("http://lbd/v1/services{path}"));
    let answer = process::output(&mut curl).unwrap();
    let (body, status) = answer.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap_or_default();
    (status.trim().parse().unwrap(), body)
}

#[track_caller]
fn change(at: (&Site, &Daemon<'_>), what: (&str, &str), body: &Value) -> Value {
    let (status, answer) = ask_as("nobody", at, what, body);
    assert!((200..300).contains(&status), "{what:?}: {answer}");
    answer
}

#[test]
fn made_over_the_api() {
    let spec = Spec {
        method: Method::Nat,
        native: true,
        reals: 3,
        ..Spec::default()
    };
    let Some(mut site) = Site::create(&spec) else {
        return;
    };
    let config = site.configuration(&[]);
    let with_group = format!("[director]\nsocket_group = \"{GROUP}\"");
    let config = config.replacen("[director]", &with_group, 1);
    drop(site.servers.remove(0));
    let open = Permissions::from_mode(0o755);
    fs::set_permissions(site.network.directory(), open).unwrap();
    let mut daemon = site.start_with(&config);
    let at = (&site, &daemon);

    let check = json!({"type": "http", "interval_ms": 200, "timeout_ms": 300, "fall": 2});
    let mut web = json!({
        "service": format!("tcp:{}:{PORT}", site.network.vip()), "name": "web",
        "scheduler": "rr", "forward": "nat", "health": [check], "require": "any",
        "quorum": {"up": 1, "notify_down": ["/bin/false"]},
        "sorry_server": {"real": "10.0.2.13"},
        "reals": [{"real": "10.0.2.11"}, {"real": "10.0.2.12"}],
    });
    let (status, problem) = ask_as("nobody", at, ("POST", ""), &web);
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert_eq!(status, 403, "{problem}");
    assert!(detail.contains("quorum.notify_down: only root"), "{detail}");
    assert_eq!(ask_as("root", at, ("GET", "/web"), &web).0, 404);
    let _ = web["quorum"].as_object_mut().unwrap().remove("notify_down");
    let made = change(at, ("POST", ""), &web);
    for (field, value) in [("interval_ms", 200), ("fall", 2), ("rise", 2)] {
        assert_eq!(made["health"][0][field], value, "{made}");
    }
    assert_eq!(made["quorum"]["up"], 1);
    assert_eq!(made["sorry_server"]["real"], "10.0.2.13:80");
    await_reals(&daemon);
    await_healths(&daemon, &["down", "up"]);
    site.expect(&[0, 4, 0]);

    // Its own check fails, and the quorum is lost.
    let closed = json!({"health": {"type": "tcp", "port": 9, "interval_ms": 200, "fall": 1}});
    let real = "/web/reals/10.0.2.12";
    let changed = change(at, ("PATCH", real), &closed);
    assert_eq!(changed["checks"][0]["port"], 9);
    await_healths(&daemon, &["down", "down"]);
    site.expect(&[0, 0, 4]);

    // It all is the runtime's, which a crash leaves alone.
    daemon.kill();
    daemon.restart().unwrap();
    let at = (&site, &daemon);
    assert_eq!(healths(&daemon), ["down", "down"]);
    site.expect(&[0, 0, 4]);

    change(at, ("PATCH", real), &json!({"health": null}));
    await_healths(&daemon, &["down", "up"]);
    site.expect(&[0, 4, 0]);
    change(at, ("PATCH", "/web"), &json!({"health": []}));
    assert_eq!(healths(&daemon), ["up", "up"]);
    let reset = change(at, ("PUT", "/web"), &json!({"forward": "nat"}));
    assert_eq!(
        (&reset["require"], &reset["sorry_server"]),
        (&json!("all"), &Value::Null)
    );
}
