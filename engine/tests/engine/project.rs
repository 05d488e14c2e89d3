//! Project files that are read: graphs, ids, secrets, and what OpenFn writes.

use crate::reading::{BellSettings, read, read_again, read_with, shown};
use keyway_engine::project::{Condition, OnFailure, Ordering, Retention, Retry, workflow_id};
use keyway_storage::event::{Content, JobId, MadeId, TriggerId};

const WHOLE: &str = "
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: clinic
concurrency: 20
bell_tower: north
notifications:
  email: {to: [ops@example.org, Ops <more@example.org>], from: keyway@example.org, smtp_url: {env: URL}}
  webhook: {url: 'https://chat.example.org/hook'}
credentials:
  fhir: {name: fhir, owner: ops@example.org, body: {file: fhir.json}}
  unused: {name: unused}
workflows:
  ring:
    name: Ring
    concurrency: 1
    retry: {attempts_max: 3, backoff_initial_ms: 10, backoff_max_ms: 20}
    at_most_once: true
    run_timeout_ms: 1234
    jobs:
      first: {name: First, adaptor: '@openfn/language-common@2', body: 'fn(s => s)', credential: fhir}
      second: {body: {path: second.js, content: 'fn(s => s);'}, credential: null}
      third: {body: ''}
    triggers:
      bell:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01
        type: bell
        enabled: false
        tone: low
        after: second
        ordering: key
        on_failure: block_key
        in_flight_max: 7
    edges:
      bell->first: {source_trigger: bell, target_job: first, condition_type: always}
      first->second:
        source_job: first
        target_job: second
        condition_type: js_expression
        condition_expression: state.data.ok
      first->third: {source_job: first, target_job: third, condition_type: on_job_failure}
      second->third: {source_job: second, target_job: third, enabled: false}
";

#[test]
fn everything_in_a_file_is_in_its_project() {
    let project = read(WHOLE).expect("it has no mistakes").project;
    assert_eq!(project.name, "clinic");
    assert_eq!(project.id[..2], [0x3f, 0x1b]);
    assert_eq!(project.concurrency, Some(20));
    let email = project.notifications.email.as_ref().expect("there is one");
    assert_eq!(email.to.len(), 2);
    let hook = project.notifications.webhook.clone().expect("there is one").expect("it stands in the file");
    assert_eq!(hook.0, "https://chat.example.org/hook");

    let workflow = project.workflow_by_key("ring").expect("there is one");
    assert_eq!(workflow.id, workflow_id("ring"));
    assert_eq!((workflow.name.as_str(), workflow.concurrency), ("Ring", Some(1)));
    assert_eq!(workflow.retry, Retry { attempts_max: 3, backoff_initial_ms: 10, backoff_max_ms: 20 });
    assert!(workflow.at_most_once);
    assert_eq!(workflow.run_timeout_ms, 1234);

    let [first, second, third] = workflow.jobs.as_slice() else { panic!("there are three") };
    let secret = first.credential.as_ref().expect("it has one");
    assert_eq!(secret.0, r#"{"path": "/etc/keyway/fhir.json"}"#);
    assert_eq!(format!("{secret:?}"), "[REDACTED]");
    assert_eq!((first.name.as_str(), first.adaptor.as_str()), ("First", "@openfn/language-common@2"));
    assert_eq!((second.name.as_str(), second.body.as_str()), ("second", "fn(s => s);"));
    assert_eq!(third.adaptor, "@openfn/language-common@latest");

    let (_, trigger) = project.triggers().next().expect("there is one");
    assert_eq!(project.trigger(trigger.id).expect("it is found by its id").1.key, "bell");
    assert!(!trigger.enabled);
    assert_eq!(
        (trigger.kind, trigger.ordering, trigger.on_failure),
        ("bell", Ordering::Key, OnFailure::BlockKey)
    );
    assert_eq!(trigger.in_flight_max, Some(7));
    let settings = trigger.settings::<BellSettings>().expect("the type returned them");
    let tower = Some("north".to_owned());
    assert_eq!(*settings, BellSettings { tone: "low", after: Some(JobId(1)), tower });

    let targets = |edges: &[keyway_engine::project::Edge]| -> Vec<_> {
        edges.iter().map(|edge| (edge.target.0, edge.condition.clone())).collect()
    };
    let graph = &workflow.graph;
    assert_eq!(targets(&graph.from_trigger[0]), [(0, Condition::Always)]);
    let expression = Condition::Expression("state.data.ok".to_owned());
    assert_eq!(targets(&graph.from_job[0]), [(1, expression), (2, Condition::OnJobFailure)]);
    assert!(graph.from_job[1].is_empty(), "an edge that is disabled is left out");
}

#[test]
fn json_is_read_like_yaml() {
    let json = r#"{
	"name": "smile \ud83d\ude00 \\ud83d",
	"workflows":{"w":{"jobs":{"a":{"body":"fn(s => s)\n"}},"triggers":{}}}
}"#;
    let project = read(json).expect("it has no mistakes").project;
    assert_eq!(project.name, "smile \u{1f600} \\ud83d");
    assert_eq!(project.workflows[0].jobs[0].body, "fn(s => s)\n");
    let mistakes = read(&json.replace("triggers", "trigers")).expect_err("a key is unknown");
    assert_eq!(shown(&mistakes), "f.yaml:3:57: unknown key `trigers` (did you mean `triggers`?)\n");
}

#[test]
fn aliases_stand_for_what_they_name() {
    let text = "
x-none: &none null
workflows:
  v: &flow {jobs: {a: {body: &body 'fn(s => s)'}, b: {body: *body}}}
  w: *flow
";
    let project = read(&text.replace("x-none: &none null\n", "")).expect("it has no mistakes").project;
    assert_eq!(project.workflows[1].jobs[1].body, "fn(s => s)");
}

#[test]
fn ids_that_are_made_are_kept_for_their_names() {
    let text = "workflows: {w: {triggers: {t: {type: bell}, u: {type: bell}}}}";
    let first = read(text).expect("it has no mistakes");
    let names: Vec<_> = first.made.iter().map(|it| (&*it.name, it.id[0])).collect();
    assert_eq!(names, [("project", 1), ("w/t", 2), ("w/u", 3)]);
    assert_eq!(first.project.workflows[0].triggers[1].id, TriggerId([3; 16]));

    let old = [MadeId { name: "w/u".into(), id: [9; 16] }, MadeId { name: "w/gone".into(), id: [8; 16] }];
    let again = read_with(text, &old).expect("it has no mistakes");
    assert_eq!(again.project.workflows[0].triggers[1].id, TriggerId([9; 16]));
    let names: Vec<_> = again.made.iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["w/u", "w/gone", "project", "w/t"], "a trigger that comes back has its id again");
}

#[test]
fn a_secret_that_is_gone_is_kept_as_missing_when_the_file_is_in_force() {
    let text = "
credentials: {c: {body: {env: GONE}}, d: {body: {env: TEXT}}}
workflows: {w: {jobs: {a: {body: '', credential: c}, b: {body: '', credential: d}, c: {body: ''}}}}
";
    assert_eq!(read(text).expect_err("the secrets are needed").len(), 2);
    let reading = read_again(text).expect("it is in force already");
    let jobs = &reading.project.workflows[0].jobs;
    let why = jobs[0].credential_missing.as_ref().expect("it is missing");
    assert_eq!(why.0, "the environment variable `GONE` is not set");
    assert!(jobs[0].credential.is_none());
    assert!(jobs[1].credential_missing.is_some());
    assert!(jobs[2].credential_missing.is_none());
    assert_eq!(reading.warnings.len(), 2);
}

#[test]
fn no_mistake_quotes_a_secret() {
    let text =
        "credentials: {c: {body: {env: TEXT}}}\nworkflows: {}\nnotifications: {webhook: {url: {env: TEXT}}}";
    let mistakes = read(text).expect_err("neither fits");
    assert_eq!(mistakes.len(), 2);
    assert!(!shown(&mistakes).contains("hunter2"));
}

#[test]
fn what_is_allowed_and_perhaps_not_meant_is_a_warning() {
    let text = "workflows: {w: {triggers: {t: {type: bell, on_failure: block_key}}}}";
    let warnings = shown(&read(text).expect("it has no mistakes").warnings);
    assert!(warnings.contains("f.yaml:1:28: no enabled edge leads from this trigger"), "{warnings}");
    let retry = shown(&read(&text.replace("block_key", "retry")).expect("it has no mistakes").warnings);
    assert!(retry.contains("f.yaml:1:28: `on_failure: retry` retries nothing"), "{retry}");
    assert!(warnings.contains("f.yaml:1:28: `on_failure: block_key` has nothing to block"), "{warnings}");
}

#[test]
fn a_workflow_keeps_what_it_does_not_say_like_its_project() {
    let text = "
dataclip_retention_period: 30
log_retention_period: 7
workflows:
  a: {}
  b: {dataclip_retention_period: 2}
  c: {dataclip_retention_period: null, log_retention_period: 0}
  d: {zero_persistence: true}
  e: {zero_persistence: false}
";
    let project = read(text).expect("it has no mistakes").project;
    let kept: Vec<_> =
        project.workflows.iter().map(|it| (it.retention.dataclip_days, it.retention.log_days)).collect();
    let like_project = (Some(30), Some(7));
    let own = [(Some(2), Some(7)), (None, Some(0)), (Some(0), Some(7))];
    assert_eq!(kept, [like_project, own[0], own[1], own[2], like_project]);
    let erased = read("retention_policy: erase_all\nworkflows: {a: {}, b: {dataclip_retention_period: 2}}");
    let erased = erased.expect("it has no mistakes").project;
    let days: Vec<_> = erased.workflows.iter().map(|it| it.retention.dataclip_days).collect();
    assert_eq!(days, [Some(0), Some(2)]);
    let kept = read("history_retention_period: 90\nhistory_retention_bytes: 5000000\nworkflows: {}");
    let kept = kept.expect("it has no mistakes").project.retention;
    assert_eq!((kept.history_days, kept.history_bytes), (Some(90), Some(5_000_000)));
    let text = "history_retention_period: 90\nworkflows: {a: {}, b: {history_retention_period: 2}}";
    let workflows = read(text).expect("it has no mistakes").project.workflows;
    let days: Vec<_> = workflows.iter().map(|it| it.retention.history_days).collect();
    assert_eq!(days, [Some(90), Some(2)]);
}

#[test]
fn a_limit_of_the_project_is_not_one_of_each_workflow() {
    let text = "
history_retention_bytes: 5000000
dataclip_retention_bytes: 2000000
workflows:
  a: {}
  b: {dataclip_retention_bytes: 1048576, log_retention_bytes: 18446744073709551615, history_retention_bytes: 3000000}
";
    let project = read(text).expect("it has no mistakes").project;
    let bytes = |retention: &Retention| Content::ALL.map(|content| retention.bytes(content));
    assert_eq!(bytes(&project.retention), [Some(2_000_000), None, Some(5_000_000)]);
    let workflows: Vec<_> = project.workflows.iter().map(|it| bytes(&it.retention)).collect();
    assert_eq!(workflows, [[None; 3], [Some(1_048_576), Some(u64::MAX), Some(3_000_000)]]);
    let lone = "{name: w, log_retention_bytes: 2000000, steps: [{id: a, expression: ''}]}";
    let lone = read(lone).expect("it has no mistakes").project;
    assert_eq!(bytes(&lone.retention), [None; 3]);
    assert_eq!(bytes(&lone.workflows[0].retention), [None, Some(2_000_000), None]);
}

#[test]
fn a_workflow_alone_is_a_project_of_one_workflow() {
    let text = "
name: Night Watch
bell_tower: south
steps:
  - id: bell
    type: bell
    next: {watch: {condition: state.data.ok, disabled: false}, sleep: {condition: never}}
  - {id: watch, name: Watch, expression: 'fn(s => s)', configuration: somewhere, next: {sleep: true}}
  - {id: sleep, expression: ''}
";
    let reading = read(text).expect("it has no mistakes");
    let workflow = reading.project.workflow_by_key("night-watch").expect("its key is made of its name");
    assert_eq!((reading.project.name.as_str(), workflow.name.as_str()), ("Night Watch", "Night Watch"));
    assert_eq!(workflow.jobs[0].name, "Watch");
    assert!(workflow.jobs[0].credential_missing.is_some(), "its project may have the credential");
    let expression = Condition::Expression("state.data.ok".to_owned());
    assert_eq!(workflow.graph.from_trigger[0].len(), 1);
    assert_eq!(workflow.graph.from_trigger[0][0].condition, expression);
    assert_eq!(workflow.graph.from_job[0][0].condition, Condition::Always);
    let settings = workflow.triggers[0].settings::<BellSettings>().expect("the type returned them");
    assert_eq!(settings.tower.as_deref(), Some("south"));
}

#[test]
fn an_edge_that_v2_calls_disabled_is_not_followed_and_one_that_it_does_not_is() {
    let targets = |disabled: &str| {
        let text = format!(
            "
name: Night Watch
steps:
  - {{id: bell, type: bell, next: {{watch: {{condition: always{disabled}}}}}}}
  - {{id: watch, expression: 'fn(s => s)', next: {{sleep: {{condition: on_job_failure{disabled}}}}}}}
  - {{id: sleep, expression: ''}}
"
        );
        let project = read(&text).expect("it has no mistakes").project;
        let graph = &project.workflows[0].graph;
        (graph.from_trigger[0].len(), graph.from_job[0].len())
    };
    assert_eq!(targets(", disabled: true"), (0, 0));
    assert_eq!(targets(", disabled: false"), (1, 1));
    assert_eq!(targets(""), (1, 1));
}

#[test]
fn v2_may_list_workflows_and_credentials() {
    let text = "
id: my-project
credentials: [{name: My FHIR, owner: ops@example.org, body: {env: A}}]
collections: []
workflows:
  - {id: one, steps: [{id: a, expression: '', configuration: My FHIR}]}
  - {name: Two Steps, steps: [{id: a, expression: ''}, {id: b, expression: ''}]}
openfn: {project_id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11, endpoint: 'https://app.openfn.org'}
";
    let project = read(text).expect("it has no mistakes").project;
    assert_eq!(project.id[..2], [0x3f, 0x1b], "OpenFn's id of the project goes on being its id");
    assert!(project.workflow_by_key("one").expect("it has an id").jobs[0].credential.is_some());
    assert_eq!(project.workflow_by_key("two-steps").expect("it has a name").jobs.len(), 2);
}

#[test]
fn mistakes_of_v2_are_told_with_the_path_that_is_written() {
    let text = "workflows: {w: {steps: [{id: a, expression: 1, next: {b: {condition: 1}}}, {id: b, expression: ''}]}}";
    let mistakes = read(text).expect_err("there are two");
    let paths: Vec<_> = mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
    assert_eq!(paths, ["workflows.w.steps.a.expression", "workflows.w.steps.a.next.b.condition"]);
}

#[test]
fn a_file_that_is_not_utf8_is_refused_at_its_place() {
    let mistakes = keyway_engine::project::text(b"name: a\nb: \xc3\xa9\xff", &crate::reading::origin());
    let mistakes = mistakes.expect_err("the last byte is no UTF-8");
    assert_eq!(shown(&mistakes), "f.yaml:2:5: this is not UTF-8 (save the file as UTF-8)\n");
}
