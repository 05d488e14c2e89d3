//! Work on a data dir without a server: verify, rebuild, export, import, reshard.
//!
//! Invariant: the data dir is locked while one of them works, so that no server changes it meanwhile.

pub mod export;
pub mod import;
pub mod progress;
pub mod rebuild;
pub mod reshard;
pub mod verify;

use std::path::{Path, PathBuf};

use keyway_storage::{
    directory::{DataDir, Durability, Store},
    error::OpenError,
    place::ShardId,
};

use crate::failure::Failure;

/// The data dir that was named, or the one that `serve` would take.
pub fn path(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| PathBuf::from("keyway-data"), Path::to_path_buf)
}

/// Opens a data dir that is there.
pub fn open(given: Option<&Path>) -> Result<DataDir, Failure> {
    DataDir::open_existing(&path(given)).map_err(refuse)
}

/// Opens one of its shards.
pub fn open_shard(data: &DataDir, shard: ShardId) -> Result<Store, Failure> {
    data.open_shard(shard, Durability::Fsync, None).map_err(refuse)
}

/// Why a data dir was not opened, as a failure with its exit code.
pub fn refuse(error: OpenError) -> Failure {
    match error {
        OpenError::InUse { .. } | OpenError::TooNew { .. } => Failure::Unusable(error.to_string()),
        OpenError::Damaged { .. } => Failure::Damaged(error.to_string()),
        other => Failure::Failed(other.to_string()),
    }
}
