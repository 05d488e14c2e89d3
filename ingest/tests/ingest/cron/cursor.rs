//! What the runs of a cron trigger start with, on a real executor.

use bytes::Bytes;
use keyway_engine::{
    command::{Answer, Command, Refusal, Rerun, SetCursor},
    view::{
        begin::{current, state_at},
        run::initial_state_of,
    },
};
use keyway_storage::{
    event::{Concern, CursorFate, CursorSet, EventKind, FinalState, Received, RunState, StepInput},
    place::{Offset, RunKey},
};

use super::{TRIGGER, at, project_with, world::World};

const EVERY_MINUTE: &str = "cron_expression: '* * * * *', catch_up: all";
const COUNT: &str = "fn(state => ({ n: (state.n || 0) + 1 }))";

fn counting(settings: &str) -> World {
    World::with_executor("10:00:30", &project_with(&format!("{EVERY_MINUTE}, {settings}"), COUNT, ""))
}

/// A job that leaves a state of so many bytes.
fn leaving(bytes: usize) -> String {
    format!("fn(() => ({{ s: \"x\".repeat({}) }}))", bytes - "{\"s\":\"\"}".len())
}

/// The same, of characters that take two bytes each.
fn leaving_accents(bytes: usize) -> String {
    let bytes = bytes - "{\"s\":\"\"}".len();
    format!("fn(() => ({{ s: \"\u{e9}\".repeat({}) + \"x\".repeat({}) }}))", bytes / 2, bytes % 2)
}

fn sized(bytes: usize) -> String {
    project_with(EVERY_MINUTE, &leaving(bytes), "")
}

/// How each run ended, in the order of the log.
fn ends(world: &World) -> Vec<RunState> {
    let end = |kind| match kind {
        EventKind::RunFinished(end) => Some(end.state),
        _ => None,
    };
    world.events().into_iter().filter_map(|event| end(event.kind)).collect()
}

/// What each run began with, in the order of the log.
fn begun(world: &World) -> Vec<String> {
    let reader = world.reader();
    let state = |kind| match kind {
        EventKind::RunStarted(started) => Some(match started.cursor {
            Some(set) => state_at(&reader, set).unwrap().unwrap(),
            None => Bytes::from_static(b"{}"),
        }),
        _ => None,
    };
    let states = world.events().into_iter().filter_map(|event| state(event.kind));
    states.map(|state| String::from_utf8(state.to_vec()).unwrap()).collect()
}

/// What the next run would begin with.
fn next(world: &World) -> String {
    let reader = world.reader();
    let state = current(&reader, TRIGGER).unwrap().map(|set| state_at(&reader, set).unwrap().unwrap());
    state.map_or_else(|| "{}".to_owned(), |state| String::from_utf8(state.to_vec()).unwrap())
}

fn sets(world: &World) -> Vec<CursorSet> {
    let set = |kind| match kind {
        EventKind::CursorSet(set) => Some(set),
        _ => None,
    };
    world.events().into_iter().filter_map(|event| set(event.kind)).collect()
}

/// One more minute, and the end of its run.
fn tick(world: &mut World) {
    let before = ends(world).len();
    world.pass_minutes(1);
    world.until("the run ends", |world| ends(world).len() > before);
}

fn work_orders(world: &World) -> Vec<(Offset, Received)> {
    let order = |event: keyway_storage::event::Event| match event.kind {
        EventKind::Received(received) => Some((event.place.offset, received)),
        _ => None,
    };
    world.events().into_iter().filter_map(order).collect()
}

#[test]
fn a_run_starts_with_what_the_last_one_left_and_the_first_with_nothing() {
    let mut world = counting("");
    for _ in 0..3 {
        tick(&mut world);
    }
    assert_eq!(begun(&world), ["{}", "{\"n\":1}", "{\"n\":2}"]);
    assert_eq!(next(&world), "{\"n\":3}");
    let run = RunKey { work_order: work_orders(&world)[2].0, n: 1 };
    let shown = initial_state_of(&world.reader().settled(), run).unwrap().unwrap();
    assert_eq!(shown, "{\"n\":2}");
    world.kill();
    world.start();
    tick(&mut world);
    assert_eq!(begun(&world)[3], "{\"n\":3}");
}

#[test]
fn a_run_after_one_with_several_leaves_starts_with_the_states_of_all_of_them_by_job() {
    let jobs = "      send: {name: Send, body: 'fn(s => ({ sent: s.n }))'}\n      \
                keep: {name: Keep, body: 'fn(s => ({ kept: s.n }))'}\n    triggers:";
    let edges = ["send", "keep"].map(|job| {
        format!("{job}: {{source_job: pull, target_job: {job}, condition_type: always, enabled: true}}, ")
    });
    let pull = "fn(state => ({ n: (state.keep?.kept ?? 0) + 1 }))";
    let file = project_with(EVERY_MINUTE, pull, "")
        .replace("    triggers:", jobs)
        .replace("edges: {e:", &format!("edges: {{{}e:", edges.concat()));
    let mut world = World::with_executor("10:00:30", &file);
    for _ in 0..3 {
        tick(&mut world);
    }
    assert_eq!(ends(&world), [RunState::Success; 3]);
    let state = |n| format!("{{\"send\":{{\"sent\":{n}}},\"keep\":{{\"kept\":{n}}}}}");
    assert_eq!(begun(&world), ["{}".to_owned(), state(1), state(2)]);
    assert_eq!(next(&world), state(3));
    world.kill();
    world.start();
    assert_eq!(next(&world), state(3));
}

#[test]
fn a_failed_run_leaves_the_cursor_where_it_was() {
    let mut world = counting("");
    tick(&mut world);
    let failing = "fn(state => { throw new Error(\"no\"); })";
    world.apply(&project_with(EVERY_MINUTE, failing, ""));
    tick(&mut world);
    world.apply(&project_with(EVERY_MINUTE, COUNT, ""));
    tick(&mut world);
    assert_eq!(ends(&world), [RunState::Success, RunState::Failed, RunState::Success]);
    assert_eq!(begun(&world), ["{}", "{\"n\":1}", "{\"n\":1}"]);
}

#[test]
fn the_cursor_is_read_when_a_run_starts_not_when_its_tick_is_made() {
    for overlap in ["allow", "queue"] {
        let mut world = counting(&format!("overlap: {overlap}"));
        world.go_to("10:05:00");
        assert_eq!(world.made(TRIGGER).len(), 5, "{overlap}: all in one turn");
        world.until("all runs end", |world| ends(world).len() == 5);
        assert_eq!(next(&world), "{\"n\":5}", "{overlap}");
    }
}

#[test]
fn a_state_over_a_limit_warns_or_is_not_kept_and_one_at_the_limit_is() {
    let mut world = World::with_executor("10:00:30", &sized(10_000));
    tick(&mut world);
    for bytes in [10_001, 50_000, 50_001, 60_000] {
        world.apply(&sized(bytes));
        tick(&mut world);
    }
    assert_eq!(ends(&world), [RunState::Success; 5], "a state that is too large fails no run");
    let fates: Vec<_> = sets(&world).iter().map(|set| (set.bytes, set.fate, set.limit_bytes)).collect();
    let expected = [
        (10_000, CursorFate::Kept, 0),
        (10_001, CursorFate::Warned, 10_000),
        (50_000, CursorFate::Warned, 10_000),
        (50_001, CursorFate::TooLarge, 50_000),
        (60_000, CursorFate::TooLarge, 50_000),
    ];
    assert_eq!(fates, expected);
    let begun: Vec<_> = begun(&world).iter().map(String::len).collect();
    assert_eq!(begun, [2, 10_000, 10_001, 50_000, 50_000], "the last state that fitted is inherited");
    assert_eq!(next(&world).len(), 50_000);
}

#[test]
fn the_limits_count_bytes_not_characters() {
    let of = |bytes| project_with(EVERY_MINUTE, &leaving_accents(bytes), "");
    let mut world = World::with_executor("10:00:30", &of(10_000));
    tick(&mut world);
    for bytes in [10_001, 50_000, 50_001] {
        world.apply(&of(bytes));
        tick(&mut world);
    }
    let fates: Vec<_> = sets(&world).iter().map(|set| (set.bytes, set.fate)).collect();
    let expected = [
        (10_000, CursorFate::Kept),
        (10_001, CursorFate::Warned),
        (50_000, CursorFate::Warned),
        (50_001, CursorFate::TooLarge),
    ];
    assert_eq!(fates, expected);
    assert!(next(&world).contains('\u{e9}'));
}

#[test]
fn a_warning_names_workflow_trigger_work_order_size_and_limit_once_in_an_embargo() {
    let mut world = World::with_executor("10:00:30", &sized(10_001));
    tick(&mut world);
    tick(&mut world);
    world.apply(&sized(50_001));
    tick(&mut world);
    let warning = |kind| match kind {
        EventKind::Warned(warned) => Some((warned.concern, warned.work_order, String::from(warned.message))),
        _ => None,
    };
    let warned: Vec<_> = world.events().into_iter().filter_map(|event| warning(event.kind)).collect();
    let orders = work_orders(&world);
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert_eq!((warned[0].0, warned[0].1), (Concern::CursorLarge, Some(orders[0].0)));
    assert_eq!((warned[1].0, warned[1].1), (Concern::CursorTooLarge, Some(orders[2].0)));
    for part in ["`nightly`", "`cron`", "50001 bytes", "50000 bytes", "not kept"] {
        assert!(warned[1].2.contains(part), "{}", warned[1].2);
    }
}

#[test]
fn a_first_state_that_is_too_large_leaves_nothing() {
    let mut world = World::with_executor("10:00:30", &sized(50_001));
    tick(&mut world);
    tick(&mut world);
    assert_eq!(begun(&world), ["{}", "{}"]);
}

#[test]
fn the_limits_are_those_of_the_file() {
    let settings = format!("{EVERY_MINUTE}, cursor_warn_bytes: 20, cursor_bytes_max: 30");
    let of = |bytes| project_with(&settings, &leaving(bytes), "");
    let mut world = World::with_executor("10:00:30", &of(20));
    tick(&mut world);
    for bytes in [21, 30, 31] {
        world.apply(&of(bytes));
        tick(&mut world);
    }
    let fates: Vec<_> = sets(&world).iter().map(|set| set.fate).collect();
    assert_eq!(fates, [CursorFate::Kept, CursorFate::Warned, CursorFate::Warned, CursorFate::TooLarge]);
}

/// Two jobs, the first of which is the cursor's; the second one ends as its body says.
fn two_jobs(second: &str) -> String {
    two_jobs_of(COUNT, second)
}

fn two_jobs_of(first: &str, second: &str) -> String {
    project_with(&format!("{EVERY_MINUTE}, cron_cursor_job: pull"), first, "")
        .replace("    triggers:", &format!("      send: {{name: Send, body: '{second}'}}\n    triggers:"))
        .replace(
            "edges: {e:",
            "edges: {f: {source_job: pull, target_job: send, condition_type: always, enabled: true}, e:",
        )
}

#[test]
fn the_last_good_step_of_the_cursor_job_counts_whatever_became_of_its_run() {
    let mut world = World::with_executor("10:00:30", &two_jobs("fn(() => ({ other: true }))"));
    tick(&mut world);
    world.apply(&two_jobs("fn(() => { throw new Error(\"no\"); })"));
    tick(&mut world);
    tick(&mut world);
    assert_eq!(ends(&world), [RunState::Success, RunState::Failed, RunState::Failed]);
    assert_eq!(begun(&world), ["{}", "{\"n\":1}", "{\"n\":2}"]);
}

#[test]
fn a_step_of_the_cursor_job_that_is_too_large_leaves_the_last_one_that_fitted() {
    let small = "fn(() => ({ other: true }))";
    let mut world = World::with_executor("10:00:30", &two_jobs_of(&leaving(50_000), small));
    tick(&mut world);
    world.apply(&two_jobs_of(&leaving(50_001), small));
    tick(&mut world);
    tick(&mut world);
    assert_eq!(ends(&world), [RunState::Success; 3]);
    let fates: Vec<_> = sets(&world).iter().map(|set| set.fate).collect();
    assert_eq!(fates, [CursorFate::Warned, CursorFate::TooLarge, CursorFate::TooLarge]);
    let begun: Vec<_> = begun(&world).iter().map(String::len).collect();
    assert_eq!(begun, [2, 50_000, 50_000]);
}

#[test]
fn a_rerun_starts_like_the_run_that_it_repeats_and_what_it_leaves_counts() {
    let mut world = counting("");
    tick(&mut world);
    tick(&mut world);
    let (work_order, received) = work_orders(&world).swap_remove(0);
    let rerun = Rerun {
        work_order,
        workflow: received.workflow,
        lane: received.lane,
        key: received.key,
        project: None,
        start: None,
        input: StepInput::Run,
        origin: 1,
    };
    assert!(matches!(world.ask(Command::Rerun(rerun)), Answer::Run(_)));
    world.until("the rerun ends", |world| ends(world).len() == 3);
    assert_eq!(begun(&world), ["{}", "{\"n\":1}", "{}"]);
    assert_eq!(next(&world), "{\"n\":1}");
}

#[test]
fn a_cursor_is_set_and_cleared_by_hand_and_the_log_says_so() {
    let mut world = counting("cursor_bytes_max: 12, cursor_warn_bytes: 10");
    let set = |state: Option<&'static str>| {
        Command::SetCursor(SetCursor {
            trigger: TRIGGER,
            state: state.map(|it| Bytes::from_static(it.as_bytes())),
        })
    };
    assert!(matches!(world.ask(set(Some("{\"n\":41}"))), Answer::Done));
    tick(&mut world);
    assert_eq!(begun(&world), ["{\"n\":41}"]);
    assert!(matches!(world.ask(set(Some("{\"n\":1234567}"))), Answer::Refused(Refusal::TooLarge)));
    assert_eq!(next(&world), "{\"n\":42}");
    assert!(matches!(world.ask(set(None)), Answer::Done));
    tick(&mut world);
    assert_eq!(begun(&world)[1], "{}");
    let by: Vec<_> = sets(&world).iter().map(|set| set.run.is_some()).collect();
    assert_eq!(by, [false, true, false, true]);
}

#[test]
fn a_state_whose_step_was_reported_before_the_end_of_its_run_is_kept_too() {
    // The condition takes longer than a run goes on unreported, and leads nowhere.
    let slow = "(() => { const t = Date.now(); while (Date.now() - t < 900) {} return false; })()";
    let file = two_jobs("fn(s => s)").replace(", cron_cursor_job: pull", "").replace(
        "source_job: pull, target_job: send, condition_type: always",
        &format!("source_job: pull, target_job: send, condition_type: js_expression, condition_expression: '{slow}'"),
    );
    let mut world = World::with_executor("10:00:30", &file);
    tick(&mut world);
    let ended = world.events().into_iter().find_map(|event| match event.kind {
        EventKind::RunFinished(end) => Some(end.final_state),
        _ => None,
    });
    assert_eq!(ended, Some(FinalState::Own(Bytes::from_static(b"{\"n\":1}"))));
    assert_eq!(next(&world), "{\"n\":1}");
    assert_eq!(world.made(TRIGGER), [at("10:01:00")]);
}
