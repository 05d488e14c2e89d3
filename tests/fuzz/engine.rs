//! Runs a target on its corpus, and on what chance makes of it.

use std::{
    collections::HashSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use crate::chance::Chance;

/// Most inputs that one run starts from: the corpus, and what brought a new answer.
const INPUTS_MAX: usize = 1_000;

/// Feeds a target; it gives the answer in words, and panics when a promise is broken.
pub fn fuzz(corpus: &str, rounds: usize, target: &dyn Fn(&[u8]) -> String) {
    let mut inputs = read_corpus(corpus);
    let mut seen = HashSet::new();
    for input in &inputs {
        seen.insert(shape(&feed(target, input)));
    }
    let mut chance = Chance(number("KEYWAY_FUZZ_SEED").unwrap_or(1));
    for _ in 0..rounds * number("KEYWAY_FUZZ_ROUNDS").unwrap_or(1) as usize {
        let input = chance.change(&inputs);
        if seen.insert(shape(&feed(target, &input))) && inputs.len() < INPUTS_MAX {
            inputs.push(input);
        }
    }
    println!("{corpus}: {} different answers", seen.len());
}

fn read_corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn feed(target: &dyn Fn(&[u8]) -> String, input: &[u8]) -> String {
    catch_unwind(AssertUnwindSafe(|| target(input))).unwrap_or_else(|panic| {
        let path = std::env::temp_dir().join(format!("keyway-fuzz-{}", std::process::id()));
        fs::write(&path, input).unwrap();
        eprintln!("it fails on {}, which is in {}", input.escape_ascii(), path.display());
        resume_unwind(panic)
    })
}

/// An answer without what only repeats the input: numbers, and what is quoted.
fn shape(answer: &str) -> String {
    let unquoted: String = answer.split('`').step_by(2).collect();
    unquoted.chars().filter(|character| !character.is_ascii_digit()).take(200).collect()
}
