//! The rules, in one list.
//!
//! Invariant: a rule says what is wrong at which line, and nothing else; it never mends a file.

pub mod docs;
pub mod imports;
pub mod layout;
pub mod numbers;
pub mod purity;
pub mod size;
pub mod words;

use crate::source::{Source, Tree};

/// A line and what is wrong there.
pub type Complaint = (usize, String);

/// One rule of the style.
pub struct Rule {
    pub name: &'static str,
    pub check: fn(&Source, &Tree) -> Vec<Complaint>,
}

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule { name: "top", check: layout::top },
    Rule { name: "file-size", check: size::file },
    Rule { name: "file-length", check: size::file_length },
    Rule { name: "function-length", check: size::function_length },
    Rule { name: "arrow", check: imports::arrow },
    Rule { name: "glob", check: imports::glob },
    Rule { name: "prelude", check: imports::prelude },
    Rule { name: "re-export", check: imports::re_export },
    Rule { name: "runtime", check: imports::runtime },
    Rule { name: "clock", check: purity::clock },
    Rule { name: "disk", check: purity::disk },
    Rule { name: "network", check: purity::network },
    Rule { name: "random", check: purity::random },
    Rule { name: "sleep", check: purity::sleep },
    Rule { name: "pure", check: purity::pure },
    Rule { name: "unwrap", check: words::unwrap },
    Rule { name: "unfinished", check: words::unfinished },
    Rule { name: "print", check: words::print },
    Rule { name: "split-assert", check: words::split_assert },
    Rule { name: "safety", check: words::safety },
    Rule { name: "names", check: words::names },
    Rule { name: "test-sentence", check: words::test_sentence },
    Rule { name: "numbers", check: numbers::once },
    Rule { name: "limits", check: numbers::limits },
    Rule { name: "header", check: docs::header },
    Rule { name: "doc-sentence", check: docs::sentence },
    Rule { name: "comment-sentence", check: docs::comment },
    Rule { name: "dependency", check: layout::dependency },
];
