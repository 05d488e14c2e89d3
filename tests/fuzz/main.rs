//! Fuzzing: every parser of bytes from outside, fed with what it should not get.
//!
//! Each target starts from the inputs in `corpus/<target>`, which are kept for ever, changes them, and keeps for the rest
//! of its run what brought an answer that was not seen before. It is bounded by rounds and draws the same inputs every
//! time; `KEYWAY_FUZZ_ROUNDS=100` makes it a hundred times as long, `KEYWAY_FUZZ_SEED=7` draws others. An input that a
//! parser fails on is printed and belongs into the corpus, in the same change that mends the parser.
//!
//! Why not libFuzzer, bolero or AFL: their engines need sanitizer flags of a nightly compiler, or a second build of all
//! dependencies; this runs on the stable compiler with every other test. New answers stand in for coverage.

#![allow(clippy::unwrap_used)]

mod chance;
mod engine;
mod targets;

use engine::fuzz;

#[test]
fn whatever_comes_as_a_body_becomes_json_within_its_bounds_or_is_refused() {
    for coding in ["", "gzip", "deflate"] {
        for kind in targets::KINDS {
            fuzz(kind.corpus, 600, &|input| targets::body(kind.content_type, coding, input));
        }
    }
    fuzz("compressed", 3_000, &targets::compressed);
    fuzz("content_type", 6_000, &targets::content_type);
}

#[test]
fn whatever_comes_as_a_head_is_described_as_json_or_refused() {
    fuzz("request", 4_000, &targets::request);
}

#[test]
fn no_signature_is_taken_for_one_that_it_is_not() {
    fuzz("signature", 6_000, &targets::signature);
}

#[test]
fn whatever_comes_as_an_idempotency_key_is_one_or_is_refused() {
    fuzz("idempotency_key", 6_000, &targets::idempotency_key);
}

#[test]
fn whatever_comes_as_an_ordering_key_gives_the_stored_input_the_same_key() {
    fuzz("json", 3_000, &targets::ordering_key);
}

#[test]
fn whatever_stands_in_a_project_file_is_read_or_named_with_its_place() {
    fuzz("project", 250, &targets::project);
}

#[test]
fn whatever_stands_for_a_cron_expression_is_one_or_is_refused() {
    fuzz("cron", 20_000, &targets::cron);
}
