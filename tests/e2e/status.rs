//! The status of a process: `cardume status`, and `/metrics` for Prometheus.

use std::net::SocketAddr;

use crate::harness::{Dir, own_ip, peer_with, run, run_tool, server_with, unreachable};
use crate::web;

/// The value of the line that starts with `name`.
fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))
        .unwrap_or_else(|| panic!("no {name} in {text}"));
    line[name.len()..].trim().parse().expect("a number")
}

/// The metrics as seen from this machine.
fn metrics(at: SocketAddr) -> web::Answer {
    let mut conn = web::Web::open(at);
    conn.send(&["GET /metrics HTTP/1.1", &format!("Host: {at}")]);
    conn.receive(false)
}

#[test]
fn servers_and_peers_report_their_status() {
    let server = server_with(&["--listen", "127.0.0.1:0"]);
    let here = Dir::with("a.mp4", b"all of it");
    let peer = peer_with(server.at, &here, &[]);
    let at = server.at.to_string();
    run(["search", "a.mp4", "--server", &at]).succeeded();
    let received = run(["status", "--server", &at]).succeeded().out.join("\n");
    let memory = run(["status", "--memory", "--server", &at]).succeeded().out.clone();
    assert!(
        memory.len() == 9 && memory.iter().all(|line| line.starts_with("index ")),
        "{memory:?}"
    );
    for line in ["peers\t1", "names\t1", "entries\t1", "requests join\t1", "requests search\t1"] {
        assert!(received.lines().any(|received| received == line), "{line}: {received}");
    }
    assert!(received.contains("loop_iteration_quantile p99\t"), "{received}");
    let received =
        run(["status", "--peer", &peer.at.to_string(), "--json"]).succeeded().out.join("\n");
    assert!(
        received.contains(r#""name":"files""#) && received.contains(r#""unit":"ns""#),
        "{received}"
    );
}

#[test]
fn prometheus_parses_the_metrics() {
    let server = server_with(&["--listen", "127.0.0.1:0"]);
    let here = Dir::with("a.mp4", b"all of it");
    let peer = peer_with(server.at, &here, &[]);
    for at in [server.at, peer.at] {
        let answer = metrics(at);
        assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let text = String::from_utf8(answer.body).expect("text");
        assert!(value(&text, "cardume_loop_iterations_total") >= 1.0, "{text}");
        let longest = value(&text, "cardume_loop_iteration_quantile_seconds{of=\"max\"}");
        assert!(longest > 0.0 && longest < 60.0, "{text}");
        // The histogram holds every iteration, and the process shows its own resources.
        let all = value(&text, "cardume_loop_iteration_seconds_count");
        assert!(
            all >= 1.0 && value(&text, "cardume_loop_iteration_seconds_bucket{le=\"+Inf\"}") == all,
            "{text}"
        );
        assert!(value(&text, "cardume_loop_iteration_seconds_sum") > 0.0, "{text}");
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_start_time_seconds",
        ] {
            assert!(value(&text, name) > 0.0, "{name}: {text}");
        }
        let mut helped = "";
        for line in text.lines() {
            let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
            assert!(name.starts_with("cardume_") || name.starts_with("process_"), "{line}");
            match line.strip_prefix("# TYPE ") {
                Some(typed) => assert_eq!(
                    typed.split(' ').next(),
                    Some(helped),
                    "every metric has a help line"
                ),
                None => {
                    helped = line
                        .strip_prefix("# HELP ")
                        .and_then(|line| line.split(' ').next())
                        .unwrap_or(helped)
                }
            }
        }
    }
    // DNS rebinding: a foreign name that resolves to this machine is refused.
    let mut conn = web::Web::open(server.at);
    conn.send(&["GET /metrics HTTP/1.1", "Host: evil.example"]);
    assert_eq!(conn.receive(false).status, 403);
    if let Some(output) = run_tool("curl", &["-sf", &format!("http://{}/metrics", server.at)]) {
        assert!(output.stdout.starts_with(b"# HELP cardume_loop_iterations_total "));
    }
}

#[test]
fn metrics_are_remote_only_when_open() {
    let ip = own_ip();
    let on = |options: &[&str]| {
        let listen = format!("{ip}:0");
        server_with(&[&["--listen", &listen], options].concat())
    };
    let (closed, open) = (on(&[]), on(&["--metrics", "open"]));
    if ip.is_loopback() {
        return;
    }
    run(["status", "--server", &closed.at.to_string()]).failed(4, "this machine alone");
    assert_eq!(metrics(closed.at).status, 403);
    run(["status", "--server", &open.at.to_string()]).succeeded();
    assert_eq!(metrics(open.at).status, 200);
}

#[test]
fn an_unavailable_status_is_one_clear_line() {
    let (_kept, gone): (_, SocketAddr) = unreachable();
    run(["status", "--server", &gone.to_string()]).failed(5, "server");
    run(["status", "--server", "127.0.0.1:1", "--peer", "127.0.0.1:2"]).failed(2, "--peer");
    run(["status", "--peer", "nowhere"]).failed(2, "nowhere");
}

#[test]
fn the_dashboard_names_metrics_that_a_server_has() {
    let text = include_str!("../../contrib/grafana/cardume-server.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let server = crate::harness::server();
    let page = crate::web::get(server.at, "/metrics");
    let body = String::from_utf8_lossy(&page.body).into_owned();
    let known: std::collections::BTreeSet<&str> =
        body.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let mut count = 0;
    let panels = dashboard["panels"].as_array().expect("panels");
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets")) {
        let words = target["expr"].as_str().expect("an expression");
        let words = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let is_metric = |word: &&str| word.starts_with("cardume_") || word.starts_with("process_");
        for metric in words.filter(is_metric) {
            assert!(known.contains(metric), "no server has {metric}");
            count += 1;
        }
    }
    assert!(count > 12, "{count}");
}
