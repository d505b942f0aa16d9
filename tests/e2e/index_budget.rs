//! The memory budget of the index: entries beyond the budget are refused, and the server keeps
//! serving and reports its limit.

use serde_json::json;

use crate::harness::server_with;
use crate::native::Native;

fn files(of: usize) -> serde_json::Value {
    (0..400)
        .map(|number| json!({"name": format!("{of} {number} {}", "x".repeat(200)), "size": 1}))
        .collect()
}

#[test]
fn a_full_index_refuses_new_entries_and_keeps_serving() {
    let server = server_with(&["--memory", "6MiB"]);
    // One peer may use at most half of the budget.
    let mut greedy = Native::open(server.at);
    let mut part = 0;
    let refused = loop {
        let outcome = greedy.outcome(json!({"method": "JOIN", "port": 4000, "part": part, "more": true, "files": files(part)}));
        if outcome != "JOIN_MORE" {
            break outcome;
        }
        part += 1;
        assert!(part < 1_000, "it takes whatever comes");
    };
    assert_eq!(refused, "too_large");
    assert!(part > 2, "{part}");
    // A refused JOIN frees its entries; together these peers fill the index.
    let mut conns = Vec::new();
    let refused = loop {
        let mut conn = Native::open(server.at);
        let port = 4001 + conns.len();
        let outcome = conn.outcome(json!({"method": "JOIN", "port": port, "files": files(port)}));
        if outcome != "JOIN_OK" {
            break outcome;
        }
        conns.push(conn);
        assert!(conns.len() < 200, "it takes whatever comes");
    };
    assert_eq!(refused, "busy");
    assert!(conns.len() > 5, "{}", conns.len());
    let mut requester = Native::open(server.at);
    assert_eq!(requester.outcome(json!({"method": "SEARCH", "contains": "4001 99"})), "SEARCH_OK");
    let status = requester.request(json!({"method": "STATUS"}));
    let figures = status["figures"].as_array().expect("figures");
    let sum = |name: &str| {
        figures
            .iter()
            .filter(|figure| figure["name"] == name)
            .map(|figure| figure["value"].as_u64().unwrap_or(0))
            .sum::<u64>()
    };
    assert_eq!(sum("index_limit"), 6 << 20);
    assert!(sum("index") <= 6 << 20, "{}", sum("index"));
    // A leaving peer frees its share.
    let left = conns.len() / 2;
    conns.truncate(left);
    let outcome = crate::harness::wait_until("room", || {
        let mut conn = Native::open(server.at);
        let outcome = conn.outcome(json!({"method": "JOIN", "port": 9000, "files": files(9000)}));
        (outcome != "busy").then_some(outcome)
    });
    assert_eq!(outcome, "JOIN_OK");
}
