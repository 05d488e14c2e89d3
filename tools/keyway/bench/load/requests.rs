//! The requests of a load: written into a connection's buffer, one after the other.
//!
//! Invariant: each thread has its own; numbers and ids of requests are unique over all threads.

use std::sync::Arc;

use super::{
    random::{Random, Zipf},
    signer::Signer,
    template::{Filling, Template, write_number},
};

/// What all requests of a load have in common.
pub struct Recipe {
    /// Host and port, for the header.
    pub authority: String,
    /// Paths that take turns.
    pub paths: Vec<String>,
    /// What is posted; without it the requests are GETs.
    pub body: Option<Body>,
    /// Further headers, without their line ends.
    pub headers: Vec<String>,
    /// Tells the ids of this load from those of another one.
    pub name: String,
    /// Seed of all chance.
    pub seed: u64,
}

/// Bodies, and what goes with them.
pub struct Body {
    /// How they look.
    pub template: Template,
    /// How long they are; the lengths take turns.
    pub bytes: Vec<usize>,
    /// Keys, when they have some.
    pub keys: Option<Zipf>,
    /// Signs them.
    pub signer: Option<Signer>,
    /// Whether each has an idempotency key.
    pub idempotency: bool,
    /// Percentage of requests that repeat the one before.
    pub repeats: u8,
}

impl Recipe {
    /// Requests of the same stack that does nothing.
    pub fn hello(authority: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            paths: vec!["/hello".to_owned()],
            body: None,
            headers: Vec::new(),
            name: String::new(),
            seed: 0,
        }
    }
}

/// The requests of one thread.
pub struct Requests {
    recipe: Arc<Recipe>,
    random: Random,
    next: u64,
    step: u64,
    key: String,
    id: String,
    scratch: Vec<u8>,
}

impl Requests {
    /// The requests of thread number `thread` of `threads`.
    pub fn new(recipe: Arc<Recipe>, thread: usize, threads: usize) -> Self {
        let random = Random::new(recipe.seed.wrapping_mul(0x1_0000_0001).wrapping_add(thread as u64));
        let (key, id, scratch) = (String::new(), String::new(), Vec::new());
        Self { recipe, random, next: thread as u64, step: threads as u64, key, id, scratch }
    }

    /// Whether the next request of a connection is the last one again.
    pub fn repeats(&mut self) -> bool {
        let percent = self.recipe.body.as_ref().map_or(0, |body| body.repeats);
        percent > 0 && self.random.below(100) < usize::from(percent)
    }

    /// Writes the next request, at this time since 1970.
    pub fn write(&mut self, seconds: u64, out: &mut Vec<u8>) {
        out.clear();
        let number = self.next;
        self.next += self.step;
        let recipe = &self.recipe;
        let path = &recipe.paths[number as usize % recipe.paths.len()];
        let text = |out: &mut Vec<u8>, parts: &[&str]| {
            parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        };
        let method = if recipe.body.is_some() { "POST " } else { "GET " };
        text(out, &[method, path, " HTTP/1.1\r\nhost: ", &recipe.authority, "\r\n"]);
        for header in &recipe.headers {
            text(out, &[header, "\r\n"]);
        }
        let Some(body) = &recipe.body else {
            text(out, &["\r\n"]);
            return;
        };
        self.key.clear();
        if let Some(keys) = &body.keys {
            write_text("k-", keys.next(&mut self.random) as u64, &mut self.key);
        }
        let bytes = body.bytes[number as usize / recipe.paths.len() % body.bytes.len()];
        body.template.fill(&Filling { number, key: &self.key, bytes }, &mut self.scratch);
        self.id.clear();
        write_text(&recipe.name, number, &mut self.id);
        if let Some(signer) = &body.signer {
            signer.write(&self.id, seconds, &self.scratch, out);
        }
        if body.idempotency {
            text(out, &["idempotency-key: ", &self.id, "\r\n"]);
        }
        text(out, &["content-type: application/json\r\ncontent-length: "]);
        write_number(self.scratch.len() as u64, out);
        text(out, &["\r\n\r\n"]);
        out.extend_from_slice(&self.scratch);
    }
}

fn write_text(prefix: &str, number: u64, out: &mut String) {
    let mut digits = Vec::with_capacity(20);
    write_number(number, &mut digits);
    out.push_str(prefix);
    out.push_str(std::str::from_utf8(&digits).expect("digits are text"));
}

#[cfg(test)]
mod tests {
    use super::{Body, Recipe, Requests};
    use crate::bench::load::{random::Zipf, template::Template};
    use std::sync::Arc;

    fn recipe() -> Arc<Recipe> {
        let body = Body {
            template: Template::standard(),
            bytes: vec![300, 1_000],
            keys: Some(Zipf::new(10, 1.0)),
            signer: None,
            idempotency: true,
            repeats: 0,
        };
        let paths = vec!["/i/a".to_owned(), "/i/b".to_owned()];
        let headers = vec!["x-api-key: abc".to_owned()];
        let name = "run-".to_owned();
        Arc::new(Recipe { authority: "h:1".to_owned(), paths, body: Some(body), headers, name, seed: 1 })
    }

    fn texts(requests: &mut Requests, count: usize) -> Vec<String> {
        let mut out = Vec::new();
        let mut text = || {
            requests.write(0, &mut out);
            String::from_utf8(out.clone()).expect("these requests are text")
        };
        (0..count).map(|_| text()).collect()
    }

    #[test]
    fn paths_and_lengths_take_turns() {
        let texts = texts(&mut Requests::new(recipe(), 0, 1), 4);
        let found = texts.iter().map(|text| {
            let (head, body) = text.split_once("\r\n\r\n").expect("there is a head");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            assert!(head.contains("x-api-key: abc\r\n"), "{head}");
            (head.split(' ').nth(1).unwrap_or_default(), body.len())
        });
        let found: Vec<_> = found.collect();
        assert_eq!(found, [("/i/a", 300), ("/i/b", 300), ("/i/a", 1_000), ("/i/b", 1_000)]);
    }

    #[test]
    fn no_two_threads_send_the_same_id() {
        let mut ids: Vec<String> = Vec::new();
        for thread in 0..3 {
            for text in texts(&mut Requests::new(recipe(), thread, 3), 50) {
                let id = text.lines().find(|line| line.starts_with("idempotency-key: run-"));
                ids.push(id.expect("each has one").to_owned());
            }
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 150);
    }

    #[test]
    fn a_hello_is_a_bare_get() {
        let mut requests = Requests::new(Arc::new(Recipe::hello("h:1")), 0, 1);
        assert_eq!(texts(&mut requests, 1), ["GET /hello HTTP/1.1\r\nhost: h:1\r\n\r\n"]);
    }
}
