//! The cursor of a cron trigger: what its next run starts with.

use std::io::Read;

use crate::{
    args::{ById, Cursor},
    client::{Client, item, refused},
    failure::Failure,
    print::Printer,
};

/// Shows it, sets it or clears it, and prints what it is then.
pub fn cursor(client: &Client, deed: &Cursor, out: &mut Printer) -> Result<(), Failure> {
    let path = |id: &str| format!("/api/triggers/{id}/cursor");
    let answer = match deed {
        Cursor::Show(ById { id }) => client.read(&path(id), &[])?,
        Cursor::Clear(ById { id }) => client.delete(&path(id))?,
        Cursor::Set { id, state } => {
            let state = if state == "-" { from_stdin()? } else { state.clone().into_bytes() };
            match client.put(&path(id), "application/json", &state)? {
                (200, document) => document,
                (status, document) => return Err(refused(status, &document)),
            }
        }
    };
    out.show(&item(answer)?)?;
    out.flush()
}

fn from_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}
