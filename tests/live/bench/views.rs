//! A server that leaves its views as they are, so that it can be measured what they cost.

use std::fs;

use super::{PROJECT, TRIGGER};
use crate::common::keyway::{Keyway, eventually};

#[test]
fn what_views_lack_is_made_up_for_at_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let listed = |server: &Keyway| server.get("/api/work_orders").1["data"].as_array().unwrap().len();
    let server = Keyway::start(home.path(), &["--executors", "0", "--no-views"]);
    for _ in 0..3 {
        let (status, answer) = server.post(&format!("/i/{TRIGGER}"), "{}");
        assert_eq!(status, 200);
        let id = answer["work_order_id"].as_str().unwrap();
        assert_eq!(
            server.get(&format!("/api/work_orders/{id}")).0,
            200,
            "what is durable is found by its id"
        );
    }
    assert_eq!(listed(&server), 0);
    assert!(server.trace().contains("--no-views is for measuring"), "{}", server.trace());
    assert_eq!(server.stop().code(), Some(0));
    let server = Keyway::start(home.path(), &["--executors", "0"]);
    eventually("the lists have what they lacked", || listed(&server) == 3);
}
