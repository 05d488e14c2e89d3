//! The command line: every command, every flag, its unit and its default.
//!
//! Invariant: every flag can also be set as `KEYWAY_<FLAG>`; the command line wins over the environment.

pub mod bench;
mod list;
mod offline;
mod replay;
pub mod serve;

use std::path::PathBuf;

use clap::{
    ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand, builder::BoolishValueParser,
    parser::ValueSource,
};

pub use bench::Bench;
pub use list::{BlockedKey, ById, Cut, EventId, ListEvents, ListHistory, ShowRun, ShowWorkOrder, TailEvents};
pub use offline::{Completions, ExportEvents, ImportEvents, Man, Rebuild, Reshard, Verify, What};
pub use replay::{
    BeginReplay, Cancel, DiscardDeadLetters, ListDeadLetters, Many, Replay, ReplayDeadLetters, ReplayDeed,
    Rerun, ShowDeadLetter,
};
pub use serve::Serve;

/// High-throughput, event-sourced trigger engine: webhooks, cron ticks and Kafka messages start workflows.
#[derive(Debug, Parser)]
#[command(name = "keyway", version, after_help = AFTER_HELP)]
pub struct Args {
    /// What holds for every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "Every flag can also be set in the environment: --api-listen is KEYWAY_API_LISTEN.
KEYWAY_API_TOKEN is the API's bearer token; KAFKA_TRIGGERS_ENABLED=yes switches Kafka triggers on.
Exit codes: 0 done, 1 failed, 2 usage, 3 invalid project file, 4 server unreachable, 5 data dir in use, 6 damage found.";

/// Flags of every command.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Print JSON: lists one object a line, everything else one document.
    #[arg(long, global = true)]
    pub json: bool,
    /// The API to talk to.
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:4001")]
    pub server: String,
    /// The data dir, for `serve` and for work without a server [default for serve: keyway-data].
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Whether `--data-dir` stands on the command line, not only in the environment.
    #[arg(skip)]
    pub data_dir_given: bool,
}

/// What keyway can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the engine on a project file.
    Serve(Serve),
    /// Check a project file, name every mistake with its line and column.
    Validate(ProjectFile),
    /// Put a project file into force on a running server.
    Apply(ProjectFile),
    /// Show how the server is: shards, work orders, runs.
    Status,
    /// Look at the log: the facts, in the order in which they were accepted.
    #[command(subcommand)]
    Events(Events),
    /// Look at work orders: one for each accepted input.
    #[command(subcommand)]
    WorkOrders(WorkOrders),
    /// Look at runs: the attempts to carry out a work order.
    #[command(subcommand)]
    Runs(Runs),
    /// Look at triggers, switch them.
    #[command(subcommand)]
    Triggers(Triggers),
    /// Look at inputs that could not become work orders, let them go through again.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Check a data dir that no server has open: every byte, every event, every row.
    Verify(Verify),
    /// Derive anew what was derived from the log: views on a server, everything with --data-dir.
    Rebuild(Rebuild),
    /// Give a data dir that no server has open another number of shards; every id stays what it is.
    Reshard(Reshard),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Print the man page, or write those of all commands.
    Man(Man),
    /// Let dead letters or past events go through again, as new work orders in the order in which they came.
    Replay(Replay),
    /// Measure how fast it is: webhooks, Kafka, storage; compare two reports.
    #[command(subcommand)]
    Bench(Bench),
}

/// A project file.
#[derive(Debug, clap::Args)]
pub struct ProjectFile {
    /// The project file, YAML or JSON.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// What can be done with events.
#[derive(Debug, Subcommand)]
pub enum Events {
    /// List events, oldest first.
    List(ListEvents),
    /// Follow the log: print each event as it is accepted, until ctrl-c.
    Tail(TailEvents),
    /// Show one event.
    Show {
        /// Its id: SHARD-OFFSET, such as 0-42.
        #[arg(value_name = "SHARD-OFFSET")]
        event: EventId,
    },
    /// Write the log to a file, of a server or with --data-dir of a data dir: backup, or something to read.
    Export(ExportEvents),
    /// Fill a data dir with what was exported; it is made if it is not there.
    Import(ImportEvents),
}

/// What can be done with work orders.
#[derive(Debug, Subcommand)]
pub enum WorkOrders {
    /// List work orders, newest first.
    List(ListHistory),
    /// Show one work order.
    Show(ShowWorkOrder),
    /// Give a work order, or all that fit, another run.
    Rerun(Rerun),
}

/// What can be done with runs.
#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List runs, newest first.
    List(ListHistory),
    /// Show one run with its steps.
    Show(ShowRun),
    /// Print what a run's jobs logged.
    Logs(ById),
    /// Cancel a run, or all that fit.
    Cancel(Cancel),
}

/// What can be done with triggers.
#[derive(Debug, Subcommand)]
pub enum Triggers {
    /// List triggers, in the order of the project file.
    List(Cut),
    /// Show one trigger.
    Show {
        /// Id of the trigger.
        #[arg(value_parser = list::id)]
        id: String,
    },
    /// Let a trigger take inputs.
    Enable {
        /// Id of the trigger.
        #[arg(value_parser = list::id)]
        id: String,
    },
    /// Stop a trigger from taking inputs.
    Disable {
        /// Id of the trigger.
        #[arg(value_parser = list::id)]
        id: String,
    },
    /// Look at what the next run of a cron trigger starts with, set it, clear it.
    #[command(subcommand)]
    Cursor(Cursor),
    /// Let a blocked key go on with the work order that failed.
    RetryKey(BlockedKey),
    /// Let a blocked key go on behind the work order that failed.
    SkipKey(BlockedKey),
}

/// What can be done with what the next run of a cron trigger starts with.
#[derive(Debug, Subcommand)]
pub enum Cursor {
    /// Show it.
    Show(ById),
    /// Set it.
    Set {
        /// Id of the trigger.
        #[arg(value_parser = list::id)]
        id: String,
        /// A JSON object; `-` reads it from stdin.
        #[arg(value_name = "STATE")]
        state: String,
    },
    /// Let the next run start with {}.
    Clear(ById),
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// List dead letters, newest first.
    List(ListDeadLetters),
    /// Show one dead letter, whole.
    Show(ShowDeadLetter),
    /// Let a dead letter, or all that fit, go through again.
    Replay(ReplayDeadLetters),
    /// Close a dead letter, or all that fit, without replaying it.
    Discard(DiscardDeadLetters),
}

impl Args {
    /// Reads the command line and the environment; on a mistake says so and exits with code 2.
    pub fn read() -> Self {
        let matches = command().get_matches();
        let mut args = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let mut deepest = &matches;
        while let Some((_, inner)) = deepest.subcommand() {
            deepest = inner;
        }
        args.common.data_dir_given = deepest.value_source("data_dir") == Some(ValueSource::CommandLine);
        args
    }
}

/// The whole command line, with a variable for each flag.
pub fn command() -> clap::Command {
    with_variables(Args::command())
}

fn with_variables(command: clap::Command) -> clap::Command {
    let with_variable = |argument: clap::Arg| {
        let Some(name) = argument.get_long().filter(|name| !["help", "version"].contains(name)) else {
            return argument;
        };
        let variable = format!("KEYWAY_{}", name.replace('-', "_").to_uppercase());
        let argument = argument.env(variable).hide_env_values(true);
        match argument.get_action() {
            // In the environment, where a flag cannot stand alone, `1` and `yes` mean it too.
            ArgAction::SetTrue => argument.value_parser(BoolishValueParser::new()),
            _ => argument,
        }
    };
    command.mut_args(with_variable).mut_subcommands(with_variables)
}

#[cfg(test)]
mod tests {
    use super::{Args, Command, command};
    use clap::{Parser, error::ErrorKind};

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_of_every_command_has_its_variable() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let Some(long) = argument.get_long().filter(|long| !["help", "version"].contains(long))
                else {
                    continue;
                };
                let variable = argument.get_env().expect(long).to_str().expect("our names are UTF-8");
                assert_eq!(variable, format!("KEYWAY_{}", long.to_uppercase().replace('-', "_")));
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }

    #[test]
    fn every_command_and_every_flag_says_what_it_does() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let help = argument.get_help().expect("a help text").to_string();
                assert!(!help.ends_with('.'), "{help}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }

    #[test]
    fn the_readme_names_every_flag_of_serve() {
        let readme = include_str!("../../README.md");
        let serve = command();
        let serve = serve.find_subcommand("serve").expect("serve is a command");
        for argument in serve.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let flag = format!("| `--{}", argument.get_long().expect("serve has flags only"));
            let is_named = [" ", "`"].iter().any(|end| readme.contains(&format!("{flag}{end}")));
            assert!(is_named, "{flag}");
        }
    }

    #[test]
    fn serve_has_a_default_for_everything() {
        let args = Args::parse_from(["keyway", "serve"]);
        let Command::Serve(serve) = args.command else { panic!("that was serve") };
        assert_eq!(serve.listen.to_string(), "127.0.0.1:4000");
        assert_eq!(serve.api_listen.to_string(), "127.0.0.1:4001");
        assert_eq!(serve.body_bytes_max, 10_000_000);
        assert_eq!(serve.drain_seconds, 10);
        assert_eq!(serve.cors_origins, ["*"]);
        assert_eq!(serve.executors, None);
    }

    #[test]
    fn a_global_flag_may_stand_anywhere() {
        for line in [
            ["keyway", "--json", "runs", "list"],
            ["keyway", "runs", "--json", "list"],
            ["keyway", "runs", "list", "--json"],
        ] {
            assert!(Args::parse_from(line).common.json);
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        let cases: &[(&[&str], ErrorKind)] = &[
            (&["keyway", "serve", "--runtime", "threads"], ErrorKind::InvalidValue),
            (&["keyway", "serve", "--shards", "0"], ErrorKind::ValueValidation),
            (&["keyway", "serve", "--shards", "257"], ErrorKind::ValueValidation),
            (&["keyway", "serve", "--listen", "4000"], ErrorKind::ValueValidation),
            (&["keyway", "serve", "--body-bytes-max", "10000001"], ErrorKind::ValueValidation),
            (&["keyway", "serve", "--body", "1"], ErrorKind::UnknownArgument),
            (&["keyway", "serve", "--tls-cert", "a.pem"], ErrorKind::MissingRequiredArgument),
            (&["keyway", "serve", "--tls-key", "a.key"], ErrorKind::MissingRequiredArgument),
            (&["keyway", "serve", "--cors-origins", "https://a.org/"], ErrorKind::ValueValidation),
            (&["keyway", "serve", "--cors-origins", "https://a.org,b.org"], ErrorKind::ValueValidation),
            (&["keyway", "serve", "--idle-timeout-seconds", "0"], ErrorKind::ValueValidation),
            (&["keyway", "runs", "show"], ErrorKind::MissingRequiredArgument),
            (&["keyway", "runs", "show", "../status"], ErrorKind::ValueValidation),
            (&["keyway", "events", "show", "42"], ErrorKind::ValueValidation),
            (&["keyway", "runs", "list", "--limit", "5", "--all"], ErrorKind::ArgumentConflict),
            (&["keyway", "dead-letters", "discard", "a"], ErrorKind::MissingRequiredArgument),
            (&["keyway", "dead-letters", "replay", "a", "--all"], ErrorKind::ArgumentConflict),
            (&["keyway", "dead-letters", "replay", "--body", "f"], ErrorKind::MissingRequiredArgument),
            (&["keyway", "replay", "--from", "letters"], ErrorKind::InvalidValue),
            (&["keyway", "replay", "--dry-run", "list"], ErrorKind::ArgumentConflict),
            (&["keyway", "work-orders", "rerun", "a", "--state", "failed"], ErrorKind::ArgumentConflict),
            (&["keyway", "runs", "cancel", "a", "--dry-run"], ErrorKind::ArgumentConflict),
        ];
        for (line, kind) in cases {
            let error = Args::try_parse_from(*line).expect_err("it makes no sense");
            assert_eq!(error.kind(), *kind, "{line:?}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
