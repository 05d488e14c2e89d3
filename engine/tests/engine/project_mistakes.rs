//! Every refusal of a project file that the engine makes, each at its exact place (`§`).

use crate::reading::all_refused;

/// A workflow with the jobs a, b and c, a bell, and whatever is added.
macro_rules! workflow {
    ($edges:literal) => {
        concat!(
            "workflows:\n  w:\n    jobs:\n      a: {body: ''}\n      b: {body: ''}\n      c: {body: ''}\n",
            "    triggers:\n      t: {type: bell}\n    edges:\n",
            "      t->a: {source_trigger: t, target_job: a}\n",
            $edges
        )
    };
}

#[test]
fn what_is_not_yaml_or_not_one_mapping_is_refused() {
    all_refused(&[
        ("§", &["the file is empty"]),
        ("§# only a comment\n", &["the file is empty"]),
        ("a: [1, 2\nb§: 3\n", &["this is not YAML"]),
        ("workflows:\n\t§w: {}\n", &["this is not YAML: tabs disallowed"]),
        (
            "workflows:\n  a: {}\n §b: {}\n",
            &["this is not YAML: while parsing a block mapping, did not find expected key"],
        ),
        ("name: §'open\n", &["this is not YAML"]),
        ("§- a\n- b\n", &["a project file must be a mapping, not a list"]),
        ("§just words\n", &["a project file must be a mapping, not text"]),
        ("workflows: {}\n§---\nworkflows: {}\n", &["a second document begins here"]),
        ("§name: clinic\n", &["`workflows` is missing"]),
        ("§workflows:\n", &["`workflows` is missing"]),
        (
            "workflows: {}\n§workflows: {}\n",
            &["the key `workflows` is there twice (the first one is in line 1)"],
        ),
        ("workflows: {}\n? §[a]\n: b\n", &["a key must be text, not a list"]),
        ("workflows: §!secret {}\n", &["the tag `!secret` is not read"]),
        ("name: &x a\nworkflows: {w: {§<<: *x}}\n", &["merge keys (`<<`) are not read"]),
        (
            "workflows: &x {§w: §*x}\n",
            &["this must be a mapping, not nothing", "this alias stands inside the value that it names"],
        ),
    ]);
}

#[test]
fn a_wrong_retention_is_refused() {
    all_refused(&[
        (
            "dataclip_retention_period: §0\nworkflows: {}\n",
            &[
                "0 is not a whole number of days from 1 on (0 days is `zero_persistence: true` of the workflow)",
            ],
        ),
        (
            "dataclip_retention_period: §36501\nworkflows: {}\n",
            &["36501 is not a whole number in the allowed range (from 1 to 36500)"],
        ),
        ("log_retention_period: §-1\nworkflows: {}\n", &["from 0 to 36500"]),
        ("log_retention_period: §1.5\nworkflows: {}\n", &["1.5 is not a whole number"]),
        ("history_retention_period: §ever\nworkflows: {}\n", &["this must be a whole number, not text"]),
        ("history_retention_period: §0\nworkflows: {}\n", &["0 is not a whole number of days from 1 on"]),
        ("history_retention_bytes: §5\nworkflows: {}\n", &["5 is not a whole number in the allowed range"]),
        (
            "dataclip_retention_bytes: §0\nworkflows: {}\n",
            &["0 is not a whole number in the allowed range (from 1048576)"],
        ),
        ("log_retention_bytes: §-1\nworkflows: {}\n", &["-1 is not a whole number in the allowed range"]),
        ("workflows: {w: {history_retention_bytes: §1048575}}\n", &["allowed range (from 1048576)"]),
        ("workflows: {w: {dataclip_retention_bytes: §1.5}}\n", &["1.5 is not a whole number"]),
        ("workflows: {w: {log_retention_bytes: §much}}\n", &["this must be a whole number, not text"]),
        (
            "workflows: {w: {§log_retention_byte: 5000000}}\n",
            &["unknown key `log_retention_byte` (did you mean `log_retention_bytes`?)"],
        ),
        ("workflows: {w: {jobs: {j: {body: x, §history_retention_bytes: 5000000}}}}\n", &["unknown key"]),
        ("retention_policy: §erase\nworkflows: {}\n", &["`erase` is not a word that is known here"]),
        ("workflows: {w: {zero_persistence: §yes please}}\n", &["this must be true or false"]),
        (
            "workflows: {w: {zero_persistence: true, dataclip_retention_period: §7}}\n",
            &["`zero_persistence` keeps no bodies, so there is no time to keep them (name one of both)"],
        ),
        (
            "workflows: {w: {zero_persistence: true, dataclip_retention_bytes: §5000000}}\n",
            &["`zero_persistence` keeps no bodies, so there is nothing to limit (name one of both)"],
        ),
        ("workflows: {w: {§retention: 7}}\n", &["unknown key `retention`"]),
    ]);
}

#[test]
fn a_wrong_key_at_the_top_of_the_file_is_refused() {
    all_refused(&[
        ("workflows: {}\n§workflow: {}\n", &["unknown key `workflow` (did you mean `workflows`?)"]),
        ("workflows: {}\n§zzz: 1\n", &["unknown key `zzz`"]),
        ("workflows: [§a]\n", &["this must be a mapping, not text"]),
        ("workflows: §a\n", &["this must be a mapping, not text"]),
        ("id: §abc\nworkflows: {}\n", &["`abc` is not a UUID (36 characters"]),
        ("id: §3f1b6c1e6a5e4c1e9b570f6f0f7f1a11\nworkflows: {}\n", &["is not a UUID"]),
        ("id: §17\nworkflows: {}\n", &["this must be text, not a number (put it in quotes)"]),
        ("name: §true\nworkflows: {}\n", &["this must be text, not true or false"]),
        ("name: §'  '\nworkflows: {}\n", &["this must not be empty"]),
        (
            "concurrency: §0\nworkflows: {}\n",
            &["0 is not a whole number in the allowed range (from 1 to 4294967295)"],
        ),
        ("concurrency: §-1\nworkflows: {}\n", &["-1 is not a whole number in the allowed range"]),
        ("concurrency: §1.5\nworkflows: {}\n", &["1.5 is not a whole number"]),
        ("concurrency: §many\nworkflows: {}\n", &["this must be a whole number, not text"]),
        ("concurrency: §'2'\nworkflows: {}\n", &["this must be a whole number, not text"]),
        ("bell_tower: §[1]\nworkflows: {}\n", &["this must be text, not a list"]),
    ]);
}

#[test]
fn a_wrong_notification_is_refused() {
    all_refused(&[
        ("workflows: {}\nnotifications: {§mail: {}}\n", &["unknown key `mail` (did you mean `email`?)"]),
        (
            "workflows: {}\nnotifications:\n  §§§email: {}\n",
            &["`to` is missing", "`from` is missing", "`smtp_url` is missing"],
        ),
        (
            "workflows: {}\nnotifications:\n  email: {to: §[], from: §nobody, smtp_url: §'smtp://u:p@h'}\n",
            &["at least one address", "`nobody` is not an e-mail address", "must be a reference to a secret"],
        ),
        (
            "workflows: {}\nnotifications:\n  email: {to: [a@b], from: a@b, smtp_url: §{env: TEXT}}\n",
            &["this is not a URL that begins with smtp:// or smtps://"],
        ),
        (
            "workflows: {}\nnotifications: {webhook: {url: §ftp://a}}\n",
            &["this is not a URL that begins with https://"],
        ),
        ("workflows: {}\nnotifications: {§webhook: {}}\n", &["`url` is missing"]),
        (
            "workflows: {}\nnotifications: {embargo_seconds: §2592001}\n",
            &["2592001 is not a whole number in the allowed range (from 0 to 2592000)"],
        ),
        ("workflows: {}\nnotifications: {embargo_seconds: §-1}\n", &["-1 is not a whole number"]),
        ("workflows: {}\nnotifications: {embargo_seconds: §1.5}\n", &["1.5 is not a whole number"]),
        (
            "workflows: {}\nnotifications: {embargo_seconds: §hour}\n",
            &["this must be a whole number, not text"],
        ),
        ("workflows: {}\nnotifications: {§embargo: 60}\n", &["unknown key `embargo`"]),
        ("workflows: {}\nnotifications: {webhook: §x}\n", &["this must be a mapping, not text"]),
    ]);
}

#[test]
fn a_secret_that_is_inline_or_does_not_resolve_is_refused() {
    all_refused(&[
        (
            "workflows: {}\ncredentials: {c: {body: §{env: GONE}}}\n",
            &["the environment variable `GONE` is not set"],
        ),
        (
            "workflows: {}\ncredentials: {c: {body: §{env: EMPTY}}}\n",
            &["the environment variable `EMPTY` is empty"],
        ),
        (
            "workflows: {}\ncredentials: {c: {body: §{file: gone.json}}}\n",
            &["the file `/etc/keyway/gone.json` is not there"],
        ),
        (
            "workflows: {}\ncredentials: {c: {body: §{env: TEXT}}}\n",
            &["the secret is not a JSON object (line 1, column 1 of it) (mend the secret itself"],
        ),
        ("workflows: {}\ncredentials: {c: {body: §'{\"a\": 1}'}}\n", &["must be a reference to a secret"]),
        ("workflows: {}\ncredentials: {c: {body: §{env: A, file: b}}}\n", &["either `env` or `file`"]),
        (
            "workflows: {}\ncredentials: {c: {body: {§envv: A}}}\n",
            &["unknown key `envv` (did you mean `env`?)"],
        ),
        (
            "workflows: {}\ncredentials: {c: {§boddy: {env: A}}}\n",
            &["unknown key `boddy` (did you mean `body`?)"],
        ),
        ("workflows: {}\ncredentials: {c: §x}\n", &["this must be a mapping, not text"]),
    ]);
}

#[test]
fn a_wrong_workflow_or_setting_of_one_is_refused() {
    all_refused(&[
        ("workflows:\n  §w:\n", &["this must be a mapping, not nothing"]),
        ("workflows: {w: §x}\n", &["this must be a mapping, not text"]),
        ("workflows: {§'': {}}\n", &["the key of a workflow has 1 to 255 characters"]),
        ("workflows: {§a/b: {}}\n", &["the key of a workflow has no `/`"]),
        ("workflows: {w: {§steps: [], jobs: {}}}\n", &["unknown key `steps`"]),
        ("workflows: {w: {jobs: {}, §job: {}}}\n", &["unknown key `job` (did you mean `jobs`?)"]),
        ("workflows: {w: {jobs: §[]}}\n", &["this must be a mapping, not a list"]),
        ("workflows: {w: {concurrency: §0}}\n", &["0 is not a whole number in the allowed range"]),
        ("workflows: {w: {run_timeout_ms: §0}}\n", &["(from 1 to 86400000)"]),
        ("workflows: {w: {at_most_once: §yes}}\n", &["this must be true or false, not text"]),
        ("workflows: {w: {retry: {attempts_max: §0}}}\n", &["(from 1 to 200)"]),
        ("workflows: {w: {retry: {attempts_max: §201}}}\n", &["(from 1 to 200)"]),
        (
            "workflows: {w: {retry: {§attempts: 2}}}\n",
            &["unknown key `attempts` (did you mean `attempts_max`?)"],
        ),
        (
            "workflows: {w: {retry: §{backoff_initial_ms: 20, backoff_max_ms: 10}}}\n",
            &["`backoff_initial_ms` is more than `backoff_max_ms`"],
        ),
    ]);
}

#[test]
fn a_wrong_job_is_refused() {
    all_refused(&[
        ("workflows: {w: {jobs: {§a: {}}}}\n", &["`body` is missing"]),
        ("workflows: {w: {jobs: {a: {§body: null}}}}\n", &["`body` is missing"]),
        ("workflows: {w: {jobs: {a: {body: §1}}}}\n", &["this must be text, not a number"]),
        ("workflows: {w: {jobs: {a: {§body: {path: a.js}}}}}\n", &["`content` is missing"]),
        (
            "workflows: {w: {jobs: {a: {body: {content: '', §pat: 1}}}}}\n",
            &["unknown key `pat` (did you mean `path`?)"],
        ),
        ("workflows: {w: {jobs: {a: {body: '', adaptor: §1}}}}\n", &["this must be text, not a number"]),
        (
            "workflows: {w: {jobs: {a: {body: '', §adapter: x}}}}\n",
            &["unknown key `adapter` (did you mean `adaptor`?)"],
        ),
        (
            "workflows: {w: {jobs: {a: {body: '', credential: §c}}}}\n",
            &["there is no credential `c` in this file"],
        ),
        (
            "credentials: {fhir: {}}\nworkflows: {w: {jobs: {a: {body: '', credential: §fihr}}}}\n",
            &["there is no credential `fihr` in this file (did you mean `fhir`?)"],
        ),
        ("workflows: {w: {jobs: {a: §x}}}\n", &["this must be a mapping, not text"]),
        ("workflows: {w: {jobs: {§a/b: {body: ''}}}}\n", &["the key of a job has no `/`"]),
    ]);
}

#[test]
fn a_wrong_trigger_is_refused() {
    all_refused(&[
        ("workflows: {w: {triggers: {§t: {}}}}\n", &["`type` is missing"]),
        (
            "workflows: {w: {triggers: {t: {type: §bel}}}}\n",
            &["there is no trigger type `bel` (did you mean `bell`?)"],
        ),
        (
            "workflows: {w: {triggers: {t: {type: §nats}}}}\n",
            &["there is no trigger type `nats` (one of bell)"],
        ),
        (
            "workflows: {w: {triggers: {t: {type: bell, §tune: low}}}}\n",
            &["unknown key `tune` (did you mean `tone`?)"],
        ),
        (
            "workflows: {w: {triggers: {t: {type: bell, tone: §loud}}}}\n",
            &["`loud` is not a word that is known here (one of high, low)"],
        ),
        ("workflows: {w: {triggers: {t: {type: bell, tone: §7}}}}\n", &["this must be a word, not a number"]),
        (
            "workflows: {w: {triggers: {t: {type: bell, enabled: §'true'}}}}\n",
            &["this must be true or false, not text"],
        ),
        ("workflows: {w: {triggers: {t: {type: bell, ordering: §keys}}}}\n", &["(one of none, key)"]),
        (
            "workflows: {w: {triggers: {t: {type: bell, on_failure: §stop}}}}\n",
            &["(one of continue, retry, block_key)"],
        ),
        ("workflows: {w: {triggers: {t: {type: bell, in_flight_max: §0}}}}\n", &["(from 1 to 1000000)"]),
        ("workflows: {w: {triggers: {t: {type: bell, id: §x}}}}\n", &["`x` is not a UUID"]),
        (
            "workflows:\n  w:\n    triggers:\n      t: {type: bell, id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01}\n      \
             u: {type: bell, id: §0C9F1F9E-60a4-4f0c-8a4a-3f3c9f1d9f01}\n",
            &["this is already the id of another trigger (see `workflows.w.triggers.t.id`)"],
        ),
        ("workflows: {w: {triggers: {§a/b: {type: bell}}}}\n", &["the key of a trigger has no `/`"]),
        (
            "workflows: {w: {triggers: {t: {type: bell, after: §a}}}}\n",
            &["there is no job `a` in this workflow"],
        ),
        (
            "workflows: {v: {jobs: {a: {body: ''}}}, w: {triggers: {t: {type: bell, after: §a}}}}\n",
            &["there is no job `a` in this workflow (it is a job of workflow `v`, and must be of this one)"],
        ),
    ]);
}

#[test]
fn a_wrong_edge_or_a_cycle_is_refused() {
    all_refused(&[
        (workflow!("      §x: {target_job: a}\n"), &["an edge needs `source_trigger` or `source_job`"]),
        (workflow!("      §x: {source_job: a}\n"), &["`target_job` is missing"]),
        (
            workflow!("      x: {source_trigger: t, §source_job: a, target_job: b}\n"),
            &["at a trigger or at a job, not at both"],
        ),
        (
            workflow!("      x: {source_trigger: §u, target_job: b}\n"),
            &["there is no trigger `u` in this workflow"],
        ),
        (workflow!("      x: {source_job: §d, target_job: b}\n"), &["there is no job `d` in this workflow"]),
        (workflow!("      x: {source_job: a, target_job: §t}\n"), &["there is no job `t` in this workflow"]),
        (
            workflow!("      x: {source_job: a, target_job: b, condition_type: §on_failure}\n"),
            &["(one of always, on_job_success, on_job_failure, js_expression"],
        ),
        (
            workflow!("      §x: {source_job: a, target_job: b, condition_type: js_expression}\n"),
            &["`condition_expression` is missing"],
        ),
        (
            workflow!("      §x: {source_trigger: t, target_job: b, condition_type: on_job_failure}\n"),
            &["no job comes before this edge"],
        ),
        (
            workflow!("      x: {source_job: a, target_job: b}\n      §y: {source_job: a, target_job: b}\n"),
            &["another edge joins the same two already"],
        ),
        (workflow!("      x: {source_job: a, target_job: b, §conditon: x}\n"), &["unknown key `conditon`"]),
        (workflow!("      §x: {source_job: a, target_job: a}\n"), &["jobs must not form a cycle: a -> a"]),
        (
            workflow!(
                "      x: {source_job: a, target_job: b}\n      y: {source_job: b, target_job: c}\n      \
                 §z: {source_job: c, target_job: a}\n"
            ),
            &["jobs must not form a cycle: a -> b -> c -> a"],
        ),
    ]);
}

#[test]
fn a_wrong_step_of_v2_is_refused_in_words_of_v2() {
    all_refused(&[
        ("workflows: {w: {steps: §x}}\n", &["this must be a list, not text"]),
        ("workflows: {w: {steps: [§x]}}\n", &["a step must be a mapping, not text"]),
        ("workflows: {w: {steps: [§{expression: ''}]}}\n", &["`id` is missing (a step's `id` is its name)"]),
        ("workflows: {w: {steps: [{id: §7, expression: ''}]}}\n", &["this must be text, not a number"]),
        (
            "workflows: {w: {steps: [{id: a, expression: ''}, {id: §a, expression: ''}]}}\n",
            &["there are two steps `a` (the first one is in line 1)"],
        ),
        ("workflows: {w: {steps: [{id: §a}]}}\n", &["`expression` is missing"]),
        (
            "workflows: {w: {steps: [{id: a, expression: '', §body: ''}]}}\n",
            &["unknown key `body` (in a file with `steps` it is called `expression`)"],
        ),
        (
            "workflows: {w: {steps: [{id: a, expression: '', §expresion: ''}]}}\n",
            &["unknown key `expresion` (did you mean `expression`?)"],
        ),
        (
            "workflows: {w: {steps: [{id: a, expression: '', next: §b}]}}\n",
            &["there is no job `b` in this workflow"],
        ),
        (
            "workflows: {w: {steps: [{id: a, expression: '', next: {§b: {}}}]}}\n",
            &["there is no job `b` in this workflow"],
        ),
        ("workflows: {w: {steps: [{id: a, expression: '', next: §[b]}]}}\n", &["not a list"]),
        (
            "workflows: {w: {steps: [{id: a, expression: '', next: §a}]}}\n",
            &["jobs must not form a cycle: a -> a"],
        ),
        (
            "workflows: {w: {steps: [{id: a, expression: '', next: {b: {§expresion: x}}}, {id: b, expression: ''}]}}\n",
            &["unknown key `expresion` (did you mean `expression`?)"],
        ),
        (
            "workflows: {w: {steps: [{id: t, type: bell, openfn: §x}]}}\n",
            &["this must be a mapping, not text"],
        ),
        ("workflows: {w: {steps: [{id: t, type: bell, openfn: {uuid: §x}}]}}\n", &["`x` is not a UUID"]),
        (
            "workflows: {w: {steps: [{id: t, type: bell, tone: low, openfn: {§tone: low}}]}}\n",
            &["`openfn.tone` says the same thing twice"],
        ),
    ]);
}

#[test]
fn javascript_that_does_not_parse_is_refused_in_its_line() {
    all_refused(&[
        (
            "workflows:\n  w:\n    jobs:\n      a:\n        body: |\n          // é\n          fn(state => {\n            return state.§.data;\n          })\n",
            &["this is not JavaScript: "],
        ),
        (
            "workflows:\n  w:\n    jobs:\n      a:\n        body: |\n          fn(state => {§\n\n\n      b: {body: ''}\n",
            &["this is not JavaScript: "],
        ),
        (
            "workflows:\r\n  w:\r\n    jobs:\r\n      a:\r\n        body: |2-\r\n\r\n          fn(1 §2)\r\n",
            &["this is not JavaScript: "],
        ),
        ("workflows: {w: {jobs: {a: {body: 'fn(1 §2)'}}}}\n", &["this is not JavaScript: "]),
        ("workflows: {w: {jobs: {a: {body: fn(1 §2)}}}}\n", &["this is not JavaScript: "]),
        (
            "{\"workflows\": {\"w\": {\"jobs\": {\"a\": {\"body\": \"fn(1 §2)\"}}}}}\n",
            &["this is not JavaScript: "],
        ),
        (
            "workflows: {w: {jobs: {a: {body: {path: a.js, content: 'fn(1 §2)'}}}}}\n",
            &["this is not JavaScript: "],
        ),
        ("workflows: {w: {steps: [{id: a, expression: 'fn(1 §2)'}]}}\n", &["this is not JavaScript: "]),
        // Where the file does not show the source as it is, its beginning stands for it.
        ("workflows: {w: {jobs: {a: {body: §\"\\tfn(1 2)\"}}}}\n", &["this is not JavaScript: "]),
        ("workflows: {w: {jobs: {a: {body: §'fn(\n      1 2)'}}}}\n", &["this is not JavaScript: "]),
        (
            "workflows:\n  w:\n    jobs:\n      a:\n        body: >\n          §fn(\n          1 2)\n",
            &["this is not JavaScript: "],
        ),
        (
            workflow!(
                "      x: {source_job: a, target_job: b, condition_type: js_expression, condition_expression: '!state.§.a'}\n"
            ),
            &["this is not JavaScript: "],
        ),
        (
            "workflows: {w: {steps: [{id: a, expression: '', next: {b: {condition: 'a §b'}}}, {id: b, expression: ''}]}}\n",
            &["this is not JavaScript: "],
        ),
        (
            workflow!(
                "      x: {source_job: a, target_job: b, condition_type: js_expression, condition_expression: '§a) ; (b'}\n"
            ),
            &["this is not JavaScript: it is not one expression"],
        ),
    ]);
}
