//! Any value that can be deserialised, told in few bytes: each decides one thing, and most of the
//! possible decisions are plausible ones. It knows no message, so a new one needs nothing here.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor, value,
};
use wadi_core::session::SessionId;

/// How many elements a told list has at most.
const LONGEST: u8 = 6;

pub(crate) struct Terse<'a> {
    bytes: &'a [u8],
    ids: &'a [SessionId],
}

impl<'a> Terse<'a> {
    pub(crate) fn new(bytes: &'a [u8], ids: &'a [SessionId]) -> Self {
        Self { bytes, ids }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    /// The next byte; zeros after the last.
    fn take(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        match self.take() {
            byte @ 0..=0xDF => u64::from(byte % 8),
            byte @ 0xE0..=0xEF => u64::MAX - u64::from(byte % 4),
            byte @ 0xF0..=0xF7 => 1_u64 << (8 * u32::from(byte % 8)),
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.take())),
        }
    }

    /// An id that exists, mostly; it is told as it travels.
    fn id(&mut self) -> Vec<u8> {
        let byte = self.take();
        let id = match self.ids.get(usize::from(byte) % (self.ids.len() + 1)) {
            Some(id) => *id,
            None => SessionId::from_parts([self.take(); 16], 0),
        };
        [&id.random()[..], &id.issued().to_be_bytes()].concat()
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            visitor.$visit(self.number() as $type)
        })*
    };
}

macro_rules! refused {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Error::custom("no message has one"))
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Terse<'_> {
    type Error = value::Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
    }

    refused! {
        deserialize_any deserialize_ignored_any deserialize_identifier
        deserialize_f32 deserialize_f64 deserialize_char
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_bool(self.take() % 2 == 1)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_string(format!("n{}", self.take() % 4))
    }

    /// An id's.
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let id = self.id();
        visitor.visit_bytes(&id)
    }

    /// A state's.
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let length = usize::from(self.take() % 16);
        visitor.visit_byte_buf((0..length).map(|_| self.take()).collect())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.take() % 2 == 1 {
            visitor.visit_some(self)
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let length = usize::from(self.take() % LONGEST);
        visitor.visit_seq(Elements(self, length))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(Elements(self, length))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(Elements(self, length))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let length = usize::from(self.take() % LONGEST);
        visitor.visit_map(Elements(self, length))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(Elements(self, fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if variants.is_empty() {
            return Err(Error::custom("there is no such value"));
        }
        let chosen = usize::from(self.take()) % variants.len();
        visitor.visit_enum(Chosen(self, chosen as u32))
    }
}

/// So many more values.
struct Elements<'t, 'a>(&'t mut Terse<'a>, usize);

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = value::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        if self.1 == 0 {
            return Ok(None);
        }
        self.1 -= 1;
        seed.deserialize(&mut *self.0).map(Some)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, '_> {
    type Error = value::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        seed.deserialize(&mut *self.0)
    }
}

/// A variant by its number.
struct Chosen<'t, 'a>(&'t mut Terse<'a>, u32);

impl<'de> EnumAccess<'de> for Chosen<'_, '_> {
    type Error = value::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), Self::Error> {
        let variant =
            seed.deserialize(IntoDeserializer::<value::Error>::into_deserializer(self.1))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_, '_> {
    type Error = value::Error;

    fn unit_variant(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Self::Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(Elements(self.0, length))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(Elements(self.0, fields.len()))
    }
}
