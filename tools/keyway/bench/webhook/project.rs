//! The project of a server that is started for a load.
//!
//! Invariant: it asks of the server what the flags of the load say, and nothing more.

use std::fmt::Write;

use crate::args::bench::{Signing, Webhook};

/// The secret of signed webhooks: base64 for those that want it.
pub const SECRET: &str = "whsec_a2V5d2F5LWJlbmNoLWtleXdheS1iZW5jaC0=";
/// The variable that the project reads it from.
pub const SECRET_VARIABLE: &str = "BENCH_SECRET";

/// The path of a webhook of the project, by its number.
pub fn path(number: u16) -> String {
    format!("/i/{}", trigger_id(number))
}

fn trigger_id(number: u16) -> String {
    format!("0c9f1f9e-60a4-4f0c-8a4a-{number:012x}")
}

/// The project file: one workflow, of one trivial job, for each webhook.
pub fn project_file(flags: &Webhook) -> String {
    let mut text = "name: bench\n".to_owned();
    let mut line = |depth: usize, line: &str| {
        writeln!(text, "{:1$}{line}", "", 2 * depth).expect("writing to a string does not fail");
    };
    if let Some(sign) = flags.content.sign {
        let scheme = match sign {
            Signing::Github => "github",
            Signing::Stripe => "stripe",
            Signing::StandardWebhooks => "standard_webhooks",
        };
        line(0, "webhook_auth_methods:");
        line(1, &format!("sender: {{type: hmac, scheme: {scheme}, secret: {{env: {SECRET_VARIABLE}}}}}"));
    }
    line(0, "workflows:");
    for number in 0..flags.target.triggers {
        line(1, &format!("intake-{number}:"));
        line(
            2,
            "jobs: {noop: {name: Noop, adaptor: '@openfn/language-common@latest', body: \"fn(state => state)\"}}",
        );
        line(2, "triggers:");
        line(3, "webhook:");
        line(4, &format!("id: {}", trigger_id(number)));
        line(4, "type: webhook");
        line(4, "enabled: true");
        if flags.target.sync {
            line(4, "webhook_reply: after_completion");
        }
        if flags.content.sign.is_some() {
            line(4, "webhook_auth_methods: [sender]");
        }
        if flags.content.keys.is_some() {
            line(4, "ordering: key");
            line(4, "ordering_key: /key");
        }
        line(
            2,
            "edges: {e: {source_trigger: webhook, target_job: noop, condition_type: always, enabled: true}}",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::project_file;
    use crate::args::{Args, Bench, Command};
    use clap::Parser;
    use keyway_engine::project::{Origin, Reference, SecretSource, read};
    use keyway_ingest::trigger::types;

    struct Secrets;

    impl SecretSource for Secrets {
        fn resolve(&self, _: &Reference) -> Result<String, String> {
            Ok(super::SECRET.to_owned())
        }
    }

    #[test]
    fn the_project_of_every_load_is_valid() {
        for flags in [
            "",
            "--sync",
            "--keys 10 --triggers 3",
            "--sign github",
            "--sign stripe",
            "--sign standard_webhooks",
        ] {
            let line = ["keyway", "bench", "webhook"].into_iter().chain(flags.split_whitespace());
            let Command::Bench(Bench::Webhook(flags)) = Args::parse_from(line).command else {
                panic!("that was a bench")
            };
            let text = project_file(&flags);
            let origin = Origin { file: "bench".into(), folder: "/".into() };
            let reading = read(&text, &origin, &types(), &Secrets, &[], &mut || [1; 16]);
            let reading = reading.unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:?}"));
            assert_eq!(reading.project.triggers().count(), usize::from(flags.target.triggers));
        }
    }
}
