//! Who may ask.

use hyper::{
    Method,
    header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN},
};
use keyway_ingest::api::Access;

use super::world::{World, request};

fn ask(world: &World, headers: &[(HeaderName, &str)], peer: &str) -> u16 {
    let mut request = request(Method::GET, "/api/status", "");
    for (name, value) in headers {
        request.headers.insert(name.clone(), HeaderValue::from_str(value).unwrap());
    }
    request.peer = peer.parse().unwrap();
    world.send(request).status
}

const HERE: &str = "127.0.0.1:50000";

#[test]
fn without_a_token_only_this_machine_is_answered() {
    let world = World::new(1);
    assert_eq!(ask(&world, &[], HERE), 200);
    assert_eq!(ask(&world, &[], "[::1]:50000"), 200);
    assert_eq!(ask(&world, &[], "[::ffff:127.0.0.1]:50000"), 200);
    assert_eq!(ask(&world, &[], "192.0.2.7:50000"), 403);
    assert_eq!(ask(&world, &[], "[2001:db8::7]:50000"), 403);
}

#[test]
fn without_a_token_no_page_of_another_site_is_answered() {
    let world = World::new(1);
    for host in ["127.0.0.1:4001", "localhost:4001", "localhost", "[::1]:4001", "LOCALHOST:4001"] {
        assert_eq!(ask(&world, &[(HOST, host)], HERE), 200, "{host}");
    }
    for host in ["evil.example:4001", "127.0.0.1.evil.example", "localhost.evil.example:4001", "192.0.2.7"] {
        assert_eq!(ask(&world, &[(HOST, host)], HERE), 403, "{host}");
    }
    assert_eq!(ask(&world, &[(ORIGIN, "http://127.0.0.1:4001")], HERE), 200);
    let own = [(HOST, "localhost:4001"), (ORIGIN, "http://localhost:4001")];
    assert_eq!(ask(&world, &own, HERE), 200);
    let other_port = [(HOST, "localhost:4001"), (ORIGIN, "http://localhost:3000")];
    assert_eq!(ask(&world, &other_port, HERE), 403);
    for origin in
        ["https://evil.example", "null", "http://localhost.evil.example", "http://evil.example//localhost"]
    {
        assert_eq!(ask(&world, &[(ORIGIN, origin)], HERE), 403, "{origin}");
    }
}

#[test]
fn with_a_token_its_bearer_is_answered_wherever_he_is() {
    let mut world = World::new(1);
    world.api.access = Access { token: Some("s3cret".to_owned()) };
    let far = "192.0.2.7:50000";
    assert_eq!(ask(&world, &[(AUTHORIZATION, "Bearer s3cret"), (HOST, "keyway.example")], far), 200);
    assert_eq!(ask(&world, &[(AUTHORIZATION, "bearer s3cret")], far), 200);
    for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer ", "Bearer", "s3cret", "Basic s3cret"] {
        assert_eq!(ask(&world, &[(AUTHORIZATION, wrong)], HERE), 401, "{wrong}");
    }
    assert_eq!(ask(&world, &[], HERE), 401);
    let told = world.call(Method::GET, "/api/nothing", "");
    assert_eq!(told.status, 401);
    assert_eq!(told.headers, [("www-authenticate".to_owned(), "Bearer".to_owned())]);
    assert_eq!(world.call(Method::GET, "/health/ready", "").status, 200);
    assert_eq!(world.call(Method::GET, "/metrics", "").status, 200);
}
