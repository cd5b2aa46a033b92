//! Reads a document into a type, by serde; an error keeps the place of the value that it is about.

use super::{
    diagnostic::{Diagnostic, Span},
    document::{Data, Entry, Node},
};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use std::{fmt, slice};

/// The value of a document. After a validation without errors this should succeed; what serde finds beyond the schema
/// is reported with its place.
pub fn read<T: DeserializeOwned>(root: &Node) -> Result<T, Diagnostic> {
    T::deserialize(Reader(root)).map_err(|e| Diagnostic::error(e.message, e.span))
}

#[derive(Debug)]
struct ReadError {
    message: String,
    span: Option<Span>,
}

impl ReadError {
    fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        ReadError { message: message.to_string(), span: None }
    }
}

struct Reader<'a>(&'a Node);

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.data {
            Data::Text(text) => visitor.visit_str(text),
            Data::Integer(n) => match (i64::try_from(*n), u64::try_from(*n)) {
                (Ok(n), _) => visitor.visit_i64(n),
                (_, Ok(n)) => visitor.visit_u64(n),
                _ => Err(ReadError::invalid_value(Unexpected::Other("a huge integer"), &visitor)),
            },
            Data::Float(x) => visitor.visit_f64(*x),
            Data::Bool(b) => visitor.visit_bool(*b),
            Data::Date(date) => visitor.visit_str(date),
            Data::List(items) => visitor.visit_seq(Items(items.iter())),
            Data::Table(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
        }
        .map_err(|e| e.at(self.0.span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.0.data {
            Data::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Data::Table(entries) => match entries.as_slice() {
                [one] => visitor.visit_enum(Tagged(one)),
                _ => Err(ReadError::custom("expected a table with a single key")),
            },
            _ => Err(ReadError::custom("expected a string or a table with a single key")),
        }
        .map_err(|e| e.at(self.0.span))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a>(slice::Iter<'a, Node>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        self.0.next().map(|node| seed.deserialize(Reader(node)).map_err(|e| e.at(node.span))).transpose()
    }
}

struct Entries<'a> {
    entries: slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.value = self.entries.next();
        let Some(entry) = self.value else { return Ok(None) };
        seed.deserialize(entry.key.as_str().into_deserializer())
            .map(Some)
            .map_err(|e: ReadError| e.at(entry.span))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let entry = self.value.take().ok_or_else(|| ReadError::custom("a value was read before its key"))?;
        seed.deserialize(Reader(&entry.node)).map_err(|e| e.at(entry.node.span))
    }
}

struct Tagged<'a>(&'a Entry);

impl<'de, 'a> EnumAccess<'de> for Tagged<'a> {
    type Error = ReadError;
    type Variant = Content<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'a>), ReadError> {
        let name = self.0.key.as_str().into_deserializer();
        let variant = seed.deserialize(name).map_err(|e: ReadError| e.at(self.0.span))?;
        Ok((variant, Content(&self.0.node)))
    }
}

struct Content<'a>(&'a Node);

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.0.entries() {
            [] if matches!(self.0.data, Data::Table(_)) => Ok(()),
            _ => Err(ReadError::custom("expected an empty table").at(self.0.span)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(Reader(self.0)).map_err(|e| e.at(self.0.span))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        Reader(self.0).deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        Reader(self.0).deserialize_any(visitor)
    }
}
