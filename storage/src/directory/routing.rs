//! The file `routes`: who owns what in a data dir whose number of shards was changed.
//!
//! Invariant: it counts when the manifest says so. It is written whole or not at all, and before the manifest says so.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use crate::{disk, error::OpenError, routes::Routes};

const NAME: &str = "routes";

/// Reads the file.
pub fn read(data: &Path) -> Result<Routes, OpenError> {
    let path = data.join(NAME);
    let damaged = |how: String| OpenError::Damaged { path: path.clone(), how };
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("the manifest says that it is there, and it is not".to_owned()));
        }
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    Routes::from_bytes(&bytes).map_err(|how| damaged(how.to_owned()))
}

/// Writes the file anew.
pub fn write(data: &Path, routes: &Routes) -> io::Result<()> {
    replace(data, NAME, &routes.to_bytes())
}

/// Puts a file in the place of another, whole or not at all.
pub fn replace(data: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = data.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, data.join(name))?;
    disk::sync_directory(data)
}
