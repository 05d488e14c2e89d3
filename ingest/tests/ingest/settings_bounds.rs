//! Project files that went wrong in any way: nothing panics, and every mistake has a place inside the file.

use crate::reading::{example_names, example_text, read};
use proptest::prelude::*;

/// What is put where something was taken out.
const SCRAPS: [&str; 22] = [
    "",
    " ",
    "  ",
    "\n",
    ":",
    "-",
    "- ",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "#",
    "|",
    "&a ",
    "*a",
    "null",
    "-1",
    "é",
    "\t",
    "type: cron\n",
];

/// Where a cut begins as a part of the whole, how many characters it takes, and what is put there.
fn cuts() -> impl Strategy<Value = Vec<(f64, usize, &'static str)>> {
    prop::collection::vec((0.0..1.0, 0_usize..40, prop::sample::select(&SCRAPS[..])), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_example_with_anything_cut_out_is_read_or_refused_at_a_place(name in prop::sample::select(example_names()), cuts in cuts()) {
        let mut text: Vec<char> = example_text(&name).chars().collect();
        for (at, length, scrap) in cuts {
            let at = (at * text.len() as f64) as usize;
            let end = (at + length).min(text.len());
            text.splice(at..end, scrap.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(mistakes) = read(&text) {
            prop_assert!(!mistakes.is_empty());
            let lines = text.lines().count() as u32;
            for mistake in mistakes {
                prop_assert!((1..=lines + 1).contains(&mistake.line), "{mistake}");
                prop_assert!(mistake.column >= 1, "{mistake}");
            }
        }
    }
}
