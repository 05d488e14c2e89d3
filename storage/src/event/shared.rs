//! Bodies without a copy: a decoded event's bytes are a slice of its block. Names that many events share.

use std::sync::Arc;

use bytes::Bytes;
use rkyv::{
    Archive, Place, Serialize, SerializeUnsized,
    boxed::{ArchivedBox, BoxResolver},
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

/// Archives an `Arc<str>` like a `Box<str>`: each event has its own copy of the name, those in memory share it.
pub struct Named;

impl ArchiveWith<Arc<str>> for Named {
    type Archived = ArchivedBox<str>;
    type Resolver = BoxResolver;

    fn resolve_with(field: &Arc<str>, resolver: Self::Resolver, out: Place<Self::Archived>) {
        ArchivedBox::resolve_from_ref(&**field, resolver, out);
    }
}

impl<S: Fallible + ?Sized> SerializeWith<Arc<str>, S> for Named
where
    str: SerializeUnsized<S>,
{
    fn serialize_with(field: &Arc<str>, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        ArchivedBox::serialize_from_ref(&**field, serializer)
    }
}

impl<D: Fallible + ?Sized> DeserializeWith<ArchivedBox<str>, Arc<str>, D> for Named {
    fn deserialize_with(field: &ArchivedBox<str>, _: &mut D) -> Result<Arc<str>, D::Error> {
        Ok(Arc::from(&**field))
    }
}
