//! Hostile project files: they are refused quickly, and nothing panics.

use crate::reading::{read, shown};
use keyway_storage::limits::{
    JOB_BYTES_MAX, JOBS_PER_WORKFLOW_MAX, MADE_ID_BYTES, MADE_IDS_BYTES_MAX, MADE_IDS_MAX, PROJECT_BYTES_MAX,
    PROJECT_DEPTH_MAX, PROJECT_MISTAKES_MAX, PROJECT_TEXT_BYTES_MAX, TRIGGERS_MAX,
};
use proptest::prelude::*;

fn refusal(text: &str) -> String {
    shown(&read(text).expect_err("it is refused"))
}

#[test]
fn a_file_over_the_limit_is_refused_unread() {
    let text = format!("workflows: {{}}\n#{}", " ".repeat(PROJECT_BYTES_MAX));
    assert!(refusal(&text).contains("67108864 is the most"));
}

#[test]
fn nesting_over_the_limit_is_refused() {
    let fits = format!("{}{}", "[".repeat(PROJECT_DEPTH_MAX - 1), "]".repeat(PROJECT_DEPTH_MAX - 1));
    assert!(!refusal(&format!("workflows: {fits}")).contains("deeper"));
    assert!(refusal(&format!("workflows: [{fits}]")).contains("nested deeper than 64 levels"));
    assert!(refusal(&"[".repeat(100_000)).contains("recursion limit"));
    let stairs: String = (0..1_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert!(refusal(&stairs).contains("nested deeper than 64 levels"));
}

#[test]
fn aliases_that_name_billions_of_values_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(refusal(&text).contains("more than 6000000 values, aliases written out"));
}

#[test]
fn more_mistakes_than_anyone_reads_are_counted() {
    let text: String = (0..PROJECT_MISTAKES_MAX + 5).map(|n| format!("k{n}: 1\n")).collect();
    let mistakes = read(&text).expect_err("no key is known");
    assert_eq!(mistakes.len(), PROJECT_MISTAKES_MAX);
    assert!(mistakes[PROJECT_MISTAKES_MAX - 1].hint.contains("of 1006 or more"), "{}", mistakes[999].hint);
}

#[test]
fn text_that_aliases_repeat_is_bounded() {
    let repeats = vec!["*a"; PROJECT_TEXT_BYTES_MAX >> 20].join(", ");
    let text = format!("a: &a '{}'\nb: [{repeats}]\n", "x".repeat(1 << 20));
    assert!(refusal(&text).contains("more than 67108864 bytes of text, aliases written out"));
}

#[test]
fn more_triggers_than_a_project_may_have_are_refused_before_they_are_read() {
    // Each workflow has the same thousand, which a file of a few lines can say.
    let triggers: String = (0..1_000).map(|n| format!("t{n}: 1, ")).collect();
    let mut text = format!("workflows:\n  w: {{triggers: &all {{{triggers}}}}}\n");
    (0..TRIGGERS_MAX / 1_000).for_each(|n| text.push_str(&format!("  w{n}: {{triggers: *all}}\n")));
    assert!(refusal(&text).contains("the project has 251000 triggers; 250000 is the most"));
}

#[test]
fn ids_that_are_made_under_endless_names_are_bounded() {
    let (workflow, trigger) = ("w".repeat(255), "t".repeat(249));
    let crowd = |count: usize| -> String {
        let triggers: String = (0..count).map(|n| format!("{trigger}{n:06}: {{type: bell}}, ")).collect();
        format!("workflows: {{{workflow}: {{triggers: {{{triggers}}}}}}}")
    };
    let most = MADE_IDS_BYTES_MAX / (255 + 1 + 255 + MADE_ID_BYTES);
    let message = refusal(&crowd(most + 1));
    assert!(message.contains("with their names, have more than 33554432 bytes"), "{message}");
    assert_eq!(message.lines().count(), 1, "it is said once");
}

#[test]
fn many_workflows_are_read_whole_with_each_mistake_at_its_place() {
    let workflow = |n: usize, kind: &str| {
        format!(
            "  w{n}:\n    jobs: {{pull: {{body: 'fn(state => state)'}}}}\n    triggers: {{t: {{type: {kind}}}}}\n    \
             edges: {{e: {{source_trigger: t, target_job: pull}}}}\n"
        )
    };
    let mut text = "workflows:\n".to_owned();
    (0..10_000).for_each(|n| text.push_str(&workflow(n, "bell")));
    let reading = read(&text).expect("it has no mistakes");
    assert_eq!(reading.project.by_trigger.len(), 10_000);
    text.push_str(&workflow(10_000, "bel"));
    text.push_str(&workflow(77, "bell"));
    let message = refusal(&text);
    assert!(message.contains("f.yaml:40004:26: there is no trigger type `bel`"), "{message}");
    assert!(
        message.contains("f.yaml:40006:3: the key `w77` is there twice (the first one is in line 310)"),
        "{message}"
    );
}

#[test]
fn a_message_quotes_no_more_than_a_person_reads() {
    let text =
        format!("workflows: {{w: {{triggers: {{t: {{type: bell, tone: {}}}}}}}}}", "x".repeat(100_000));
    assert!(refusal(&text).len() < 2_000);
    let text = format!("{}: 1", "k".repeat(601));
    assert!(refusal(&text).contains("this key is longer than 600 bytes"));
}

#[test]
fn a_crowd_of_wrong_references_is_refused_without_a_search_for_each() {
    let mut text = "workflows:\n  w:\n    jobs:\n".to_owned();
    for n in 0..1000 {
        text.push_str(&format!("      job-{n}: {{body: ''}}\n"));
    }
    text.push_str("    edges:\n");
    for n in 0..20_000 {
        text.push_str(&format!("      e{n}: {{source_job: jbo-{n}, target_job: jbo-{n}}}\n"));
    }
    assert!(refusal(&text).contains("of 10000 or more"));
}

#[test]
fn a_workflow_with_too_many_jobs_is_refused() {
    let jobs = |count: usize| -> String {
        let jobs: String = (0..count).map(|n| format!("      j{n}: {{body: ''}}\n")).collect();
        format!("workflows:\n  w:\n    jobs:\n{jobs}")
    };
    assert!(read(&jobs(JOBS_PER_WORKFLOW_MAX)).is_ok());
    assert!(
        refusal(&jobs(JOBS_PER_WORKFLOW_MAX + 1)).contains("f.yaml:1004:7: a workflow has at most 1000 jobs")
    );
}

#[test]
fn ids_of_triggers_that_are_gone_make_room() {
    let made = |n: usize| keyway_storage::event::MadeId { name: format!("w/{n}").into(), id: [7; 16] };
    let made: Vec<_> = (0..MADE_IDS_MAX).map(made).collect();
    let reading = crate::reading::read_with("workflows: {w: {triggers: {'0': {type: bell}}}}", &made);
    let made = reading.expect("it has no mistakes").made;
    assert_eq!(made.len(), MADE_IDS_MAX);
    assert_eq!((&*made[0].name, &*made[1].name), ("w/0", "w/2"), "one that is in use stays");
}

#[test]
fn a_long_chain_of_jobs_is_no_deep_recursion() {
    let mut text = "workflows:\n  w:\n    jobs:\n".to_owned();
    for n in 0..1000 {
        text.push_str(&format!("      j{n}: {{body: ''}}\n"));
    }
    text.push_str("    edges:\n");
    for n in 0..1000 {
        text.push_str(&format!("      e{n}: {{source_job: j{n}, target_job: j{}}}\n", (n + 1) % 1000));
    }
    assert!(refusal(&text).contains("jobs must not form a cycle: j0 -> j1 -> j2"));
}

#[test]
fn javascript_that_nests_without_end_is_read_or_refused_and_never_overflows_the_stack() {
    let opens = [
        "(",
        "[",
        "{",
        "!",
        "a=>",
        "`${",
        "a?",
        "new ",
        "a.b(",
        "-",
        "if(a)",
        "async()=>",
        "a**",
        "[!",
        "{a:",
    ];
    let closes = [("(", "1", ")"), ("fn(s=>{return fn(", "1", ")})"), ("", "1", "+1"), ("", "a", ".b()")];
    let opens = opens.map(|open| open.repeat(40_000 / open.len()));
    let closes = closes.map(|(before, inner, after)| {
        let levels = 40_000 / (before.len() + after.len());
        format!("{}{inner}{}", before.repeat(levels), after.repeat(levels))
    });
    for body in opens.into_iter().chain(closes) {
        let job = format!("{{body: {body:?}}}");
        let edge = format!(
            "{{source_job: a, target_job: b, condition_type: js_expression, condition_expression: {body:?}}}"
        );
        let _ = read(&format!("workflows: {{w: {{jobs: {{a: {job}, b: {job}}}, edges: {{e: {edge}}}}}}}"));
    }
    let long = format!("workflows: {{w: {{jobs: {{a: {{body: '{}'}}}}}}}}", " ".repeat(JOB_BYTES_MAX + 1));
    assert!(refusal(&long).contains("it has 524289 bytes, and 524288 is the most"));
}

/// Words and signs that project files are made of, so that random texts get far.
fn piece() -> impl Strategy<Value = String> {
    let words = "workflows jobs triggers edges steps w a b t bell type body id next openfn uuid source_job target_job \
        source_trigger condition_type js_expression condition_expression credential credentials env file null true 1 \
        -1 '' \" ' : - [ ] { } , & * ! | > # ? << ~ %";
    let mut pieces: Vec<String> = words.split(' ').map(str::to_owned).collect();
    pieces.extend(
        ["\n", "\n  ", "\n    ", "\n      ", ": ", " ", "\t", "\u{feff}", "é", "\r\n", "- "]
            .map(str::to_owned),
    );
    prop::sample::select(pieces)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_heap_of_pieces_makes_the_reader_panic(pieces in prop::collection::vec(piece(), 0..60)) {
        let _ = read(&pieces.concat());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(text) = keyway_engine::project::text(&bytes, &crate::reading::origin()) {
            let _ = read(text);
        }
    }
}
