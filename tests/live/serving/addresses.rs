//! What can be asked at which address.

use std::net::TcpListener;

use serde_json::Value;

use super::{HOOK, PROJECT, home};
use crate::common::{
    keyway::Keyway,
    wire::{ask, on_both_runtimes, request},
};

#[test]
fn the_public_address_says_that_it_lives_and_nothing_else_of_the_server() {
    on_both_runtimes(PROJECT, &["--shards", "2"], |server| {
        let get = |path: &str| ask(server, &request("GET", path, "connection: close\r\n", b""));
        let (status, head, body) = get("/health/live");
        assert_eq!((status, body.as_str()), (200, r#"{"status":"live"}"#));
        assert!(head.contains("content-type: application/json"), "{head}");
        for path in ["/health/ready", "/health", "/metrics", "/api/status", "/api/openapi.json", "/"] {
            let (status, _, body) = get(path);
            assert_eq!((status, body.as_str()), (404, r#"{"error":"Not Found"}"#), "{path}");
        }
        assert_eq!(server.get("/health/live").0, 200);
        assert_eq!(server.get("/health/ready").0, 200);
        let webhook = server.get(HOOK);
        assert_eq!(webhook.0, 404, "no webhooks at the API's address: {}", webhook.1);
    });
}

#[test]
fn one_address_for_both_serves_webhooks_and_api_by_every_door() {
    for runtime in ["io_uring", "epoll"] {
        let home = home();
        // A port that the system had just chosen for someone else; nobody else gets it as soon as this.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let flags = ["--listen", &address, "--api-listen", &address, "--shards", "2", "--runtime", runtime];
        let server = Keyway::start(home.path(), &flags);
        assert_eq!(server.url, server.api);
        // Each connection is a new one, and the kernel deals them out to the doors.
        for n in 1..=16 {
            assert_eq!(server.post(HOOK, "{}").0, 200);
            let (status, shown) = server.get("/api/status");
            assert_eq!((status, &shown["data"]["work_orders"]["rejected"]), (200, &Value::from(0)), "{n}");
            assert_eq!(server.get("/health/ready").0, 200);
        }
        assert!(server.text("/metrics").contains("keyway_webhook_requests_total"));
        assert_eq!(server.stop().code(), Some(0));
    }
}
