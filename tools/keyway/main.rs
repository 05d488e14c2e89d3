//! The binary `keyway`: parses the command line, calls one function, turns its result into an exit code.
//!
//! Invariant: what a command is for stands in its own file; here is only which one.

mod apply;
mod args;
mod bench;
mod client;
mod cursor;
mod describe;
mod events;
mod failure;
mod history;
mod item;
mod letter;
mod offline;
mod print;
mod progress;
mod replay;
mod request;
mod serve;
mod signals;
mod status;
mod table;
mod validate;

use std::process::ExitCode;

use args::{Args, Command, DeadLetters, Events, Replay, Runs, Triggers, WorkOrders};
use client::Client;
use failure::Failure;
use print::Printer;

fn main() -> ExitCode {
    let args = Args::read();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(args: Args) -> Result<(), Failure> {
    let Args { common, command } = args;
    let mut out = Printer::new(common.json);
    let client = || Client::new(&common.server, common.data_dir_given);
    match command {
        Command::Serve(flags) => serve::serve(&flags, common.data_dir.as_deref()),
        Command::Validate(file) => validate::validate(&file.file, &mut out),
        Command::Apply(file) => apply::apply(&client()?, &file.file, &mut out),
        Command::Status => status::status(&client()?, &mut out),
        Command::Events(Events::List(which)) => events::list(&client()?, &which, &mut out),
        Command::Events(Events::Tail(which)) => events::tail(&client()?, &which, &mut out),
        Command::Events(Events::Show { event }) => events::show(&client()?, event, &mut out),
        Command::Events(Events::Export(flags)) => {
            let path = common.data_dir.as_deref().filter(|_| common.data_dir_given);
            offline::export::export(&flags, path, client)
        }
        Command::Events(Events::Import(flags)) => {
            offline::import::import(&flags, common.data_dir.as_deref(), &mut out)
        }
        Command::WorkOrders(WorkOrders::List(which)) => history::work_orders(&client()?, &which, &mut out),
        Command::WorkOrders(WorkOrders::Show(which)) => history::work_order(&client()?, &which, &mut out),
        Command::WorkOrders(WorkOrders::Rerun(which)) => request::rerun(&client()?, &which, &mut out),
        Command::Runs(Runs::List(which)) => history::runs(&client()?, &which, &mut out),
        Command::Runs(Runs::Show(which)) => history::run(&client()?, &which, &mut out),
        Command::Runs(Runs::Logs(which)) => history::logs(&client()?, &which, &mut out),
        Command::Runs(Runs::Cancel(which)) => request::cancel(&client()?, &which, &mut out),
        Command::Triggers(Triggers::List(which)) => history::triggers(&client()?, &which, &mut out),
        Command::Triggers(Triggers::Show { id }) => history::trigger(&client()?, &id, &mut out),
        Command::Triggers(Triggers::Enable { id }) => request::switch(&client()?, &id, "enable", &mut out),
        Command::Triggers(Triggers::Disable { id }) => request::switch(&client()?, &id, "disable", &mut out),
        Command::Triggers(Triggers::Cursor(deed)) => cursor::cursor(&client()?, &deed, &mut out),
        Command::Triggers(Triggers::RetryKey(key)) => request::release(&client()?, &key, "retry", &mut out),
        Command::Triggers(Triggers::SkipKey(key)) => request::release(&client()?, &key, "skip", &mut out),
        Command::DeadLetters(DeadLetters::List(which)) => history::dead_letters(&client()?, &which, &mut out),
        Command::DeadLetters(DeadLetters::Show(which)) => letter::show(&client()?, &which, &mut out),
        Command::DeadLetters(DeadLetters::Replay(which)) => {
            replay::dead_letters(&client()?, &which, &mut out)
        }
        Command::DeadLetters(DeadLetters::Discard(which)) => request::discard(&client()?, &which, &mut out),
        Command::Verify(flags) => offline::verify::verify(&flags, common.data_dir.as_deref(), &mut out),
        Command::Reshard(flags) => offline::reshard::reshard(&flags, common.data_dir.as_deref(), &mut out),
        Command::Rebuild(flags) if common.data_dir_given => {
            offline::rebuild::rebuild(&flags, common.data_dir.as_deref(), &mut out)
        }
        Command::Rebuild(flags) => request::rebuild(&client()?, &flags, &mut out),
        Command::Completions(which) => describe::completions(&which),
        Command::Man(which) => describe::man(&which),
        Command::Replay(Replay { deed: Some(deed), .. }) => replay::deed(&client()?, &deed, &mut out),
        Command::Replay(Replay { deed: None, begin }) => replay::begin(&client()?, &begin, &mut out),
        Command::Bench(which) => bench::bench(&which, &common, &mut out),
    }
}
