//! Project files as users write them, read with the real trigger types.

use crate::reading::{example, example_names, read, read_again, shown};
use keyway_engine::project::{Cursor, OnFailure, Ordering, Project, Trigger};
use keyway_ingest::trigger::{
    cron::settings::{CatchUp, CronSettings, Overlap},
    kafka::settings::{Initial, KafkaSettings, Mechanism, OnGap, Payload},
    webhook::settings::{Accept, OrderingKey, Proof, RateLimit, Reply, Scheme, WebhookSettings},
};
use keyway_storage::event::JobId;

/// The big example of the documentation.
const BIG: &str = include_str!("reading/big.yaml");
/// An OpenFn v1 file as it comes out of OpenFn.
const OPENFN_V1: &str = include_str!("reading/openfn_v1.yaml");
/// An OpenFn v2 workflow as it comes out of OpenFn.
const OPENFN_V2: &str = include_str!("reading/openfn_v2.yaml");

fn project(text: &str) -> Project {
    read(text).unwrap_or_else(|mistakes| panic!("{}", shown(&mistakes))).project
}

fn trigger<'a>(project: &'a Project, key: &str) -> &'a Trigger {
    project.triggers().find(|(_, trigger)| trigger.key == key).expect("the file has it").1
}

#[test]
fn every_example_reads_without_mistakes_and_without_warnings() {
    let names = example_names();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let reading = example(&name);
        assert!(reading.warnings.is_empty(), "{name}: {}", shown(&reading.warnings));
        assert!(!reading.project.workflows.is_empty(), "{name}");
    }
}

#[test]
fn v1_and_v2_of_the_same_workflow_are_the_same_project() {
    let (old, new) = (example("nightly").project, example("nightly-v2").project);
    assert_eq!(format!("{:?}", old.workflows), format!("{:?}", new.workflows));
    let settings = |project: &Project| format!("{:?}", trigger(project, "cron").settings::<CronSettings>());
    assert_eq!(settings(&old), settings(&new));
    assert_eq!(old.name, new.name);
}

#[test]
fn what_openfn_writes_is_read_as_it_is() {
    let old = project(OPENFN_V1);
    assert_eq!(old.workflows.len(), 2);
    assert_eq!(old.workflows[0].graph.from_job[0].len(), 2);
    let cron = trigger(&old, "cron");
    assert_eq!(cron.cursor, Some(Cursor { job: Some(JobId(0)), warn_bytes: 10_000, bytes_max: 50_000 }));
    let settings = cron.settings::<CronSettings>().expect("it is a cron trigger");
    assert_eq!((settings.catch_up, settings.overlap), (CatchUp::Latest, Overlap::Allow));

    let new = project(OPENFN_V2);
    let workflow = new.workflow_by_key("nightly").expect("its key is made of its name");
    assert_eq!(workflow.jobs.len(), 2);
    assert_eq!(trigger(&new, "cron").cursor.expect("cron has one").job, Some(JobId(0)));
}

#[test]
fn the_webhook_of_the_big_example_has_every_setting() {
    let project = project(BIG);
    let trigger = trigger(&project, "webhook");
    let settings = trigger.settings::<WebhookSettings>().expect("it is a webhook");
    let (success_code, error_code) = (Some(200), Some(422));
    assert_eq!(settings.reply, Reply::AfterCompletion { success_code, error_code, timeout_seconds: 30 });
    assert_eq!(settings.custom_path.as_deref(), Some("clinic-intake-001"));
    assert_eq!(settings.accept, Accept::default());
    assert_eq!(settings.idempotency_window_seconds, 86_400);
    assert_eq!(settings.rate_limit, Some(RateLimit { requests_per_second: 50, burst: 100 }));
    assert_eq!(trigger.ordering, Ordering::None);
    assert_eq!(settings.ordering_key, Some(OrderingKey::Pointer("/patient/id".to_owned())));
    let [office, github] = settings.auth.as_slice() else { panic!("it names two") };
    assert_eq!((office.key.as_str(), github.key.as_str()), ("office-key", "github"));
    assert!(matches!(&office.proof, Proof::ApiKey(Ok(_))));
    assert!(matches!(&github.proof, Proof::Hmac { scheme: Scheme::GitHub, secret: Ok(_) }));
}

#[test]
fn the_kafka_trigger_of_the_big_example_has_every_setting() {
    let project = project(BIG);
    let trigger = trigger(&project, "kafka");
    let settings = trigger.settings::<KafkaSettings>().expect("it is a Kafka trigger");
    assert_eq!(
        (settings.hosts.as_slice(), settings.topics.as_slice()),
        (&["localhost:9092".into()][..], &["orders".into()][..])
    );
    let login = settings.login.as_ref().expect("it logs in");
    assert_eq!(login.mechanism, Mechanism::ScramSha256);
    assert_eq!(login.username.as_ref().map(|it| it.0.as_str()), Ok("orders"));
    assert_eq!((settings.initial, settings.connect_timeout_seconds), (Initial::Earliest, 30));
    assert_eq!(settings.group_id, "keyway-orders");
    assert_eq!((settings.payload, settings.on_gap), (Payload::Json, OnGap::Continue));
    assert_eq!(settings.librdkafka, [("fetch.min.bytes".to_owned(), "1".to_owned())]);
    assert_eq!((trigger.ordering, trigger.on_failure), (Ordering::Key, OnFailure::BlockKey));
    assert_eq!(trigger.in_flight_max, Some(1000));
}

#[test]
fn defaults_are_those_of_openfn_and_of_the_documentation() {
    let project = project(
        "workflows:
  w:
    triggers:
      hook: {type: webhook, webhook_reply: custom, custom_path: '  ', webhook_response_config: {success_code: 299}}
      wait: {type: webhook, webhook_reply: after_completion}
      tick: {type: cron, cron_expression: '@hourly', overlap: queue}
      topic: {type: kafka, id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01,
              kafka_configuration: {hosts: [[localhost, 9092]], topics: [a], initial_offset_reset_policy: 1721889238000}}
",
    );
    let hook = trigger(&project, "hook").settings::<WebhookSettings>().expect("it is a webhook");
    assert_eq!(hook.reply, Reply::BeforeStart, "codes are dropped where nobody waits");
    assert_eq!((&hook.custom_path, hook.auth.len(), hook.allow_get), (&None, 0, false));
    assert_eq!(hook.rate_limit, None);
    assert_eq!((hook.idempotency_window_seconds, hook.accept), (86_400, Accept::default()));
    let wait = trigger(&project, "wait").settings::<WebhookSettings>().expect("it is a webhook");
    let (success_code, error_code) = (None, None);
    assert_eq!(wait.reply, Reply::AfterCompletion { success_code, error_code, timeout_seconds: 30 });
    assert_eq!(trigger(&project, "tick").ordering, Ordering::All);
    let topic = trigger(&project, "topic").settings::<KafkaSettings>().expect("it is a Kafka trigger");
    assert_eq!(topic.group_id, "keyway-0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01");
    assert_eq!(
        (topic.hosts[0].as_str(), topic.initial),
        ("localhost:9092", Initial::Time(1_721_889_238_000))
    );
    assert_eq!(trigger(&project, "topic").ordering, Ordering::Key);
    assert!(topic.login.is_none());
}

#[test]
fn a_signature_is_as_old_as_five_minutes_unless_the_file_says_otherwise() {
    let project = project(
        "webhook_auth_methods:
  stripe: {type: hmac, scheme: stripe, secret: {env: SECRET}}
  standard: {type: hmac, scheme: standard_webhooks, secret: {env: SECRET}}
  short: {type: hmac, scheme: stripe, secret: {env: SECRET}, tolerance_seconds: 1}
workflows: {w: {triggers: {t: {type: webhook, webhook_auth_methods: [stripe, standard, short]}}}}
",
    );
    let settings = trigger(&project, "t").settings::<WebhookSettings>().expect("it is a webhook");
    let schemes = settings.auth.iter().map(|method| match &method.proof {
        Proof::Hmac { scheme, .. } => *scheme,
        other => panic!("{other:?}"),
    });
    let expected = [
        Scheme::Stripe { tolerance_seconds: 300 },
        Scheme::StandardWebhooks { tolerance_seconds: 300 },
        Scheme::Stripe { tolerance_seconds: 1 },
    ];
    assert_eq!(schemes.collect::<Vec<_>>(), expected);
}

#[test]
fn a_webhook_whose_secret_is_gone_stays_closed() {
    let text = "
webhook_auth_methods: {key: {type: api, api_key: {env: GONE}}}
workflows: {w: {triggers: {t: {type: webhook, webhook_auth_methods: [key]}}}}
";
    let reading = read_again(text).expect("the file is in force already");
    let settings = trigger(&reading.project, "t").settings::<WebhookSettings>().expect("it is a webhook");
    assert!(matches!(&settings.auth[0].proof, Proof::ApiKey(Err(_))));
}
