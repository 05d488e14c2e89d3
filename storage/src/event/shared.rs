//! Bodies without a copy: a decoded event's bytes are a slice of its block.

use bytes::Bytes;
use rkyv::{
    Archive, Place, Serialize,
    rancor::{Fallible, Source},
    ser::{Allocator, Writer},
    vec::{ArchivedVec, VecResolver},
    with::{ArchiveWith, DeserializeWith, SerializeWith},
};

/// A deserializer that knows the block its archive lies in.
pub trait SharedSource {
    /// The same bytes as `slice`, sharing the block's memory.
    fn share(&mut self, slice: &[u8]) -> Bytes;
}

/// Archives `Bytes` like a `Vec<u8>`, and takes them back as a slice of the block.
pub struct Shared;

impl ArchiveWith<Bytes> for Shared {
    type Archived = ArchivedVec<u8>;
    type Resolver = VecResolver;

    fn resolve_with(field: &Bytes, resolver: Self::Resolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_slice(field.as_ref(), resolver, out);
    }
}

impl<S: Fallible + Allocator + Writer + ?Sized> SerializeWith<Bytes, S> for Shared
where
    u8: Serialize<S> + Archive<Archived = u8>,
{
    fn serialize_with(field: &Bytes, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        ArchivedVec::serialize_from_slice(field.as_ref(), serializer)
    }
}

impl<D> DeserializeWith<ArchivedVec<u8>, Bytes, D> for Shared
where
    D: Fallible + SharedSource + ?Sized,
    D::Error: Source,
{
    fn deserialize_with(field: &ArchivedVec<u8>, deserializer: &mut D) -> Result<Bytes, D::Error> {
        Ok(deserializer.share(field.as_slice()))
    }
}
