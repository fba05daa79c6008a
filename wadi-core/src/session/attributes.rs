//! A session's attributes: cells that are live values, encoded bytes, or both; or all frozen.
//!
//! Everything here runs under the lock of one session and is short, apart from the values' own
//! code. What cannot be decoded or encoded stays as it is.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::error::{DecodeFault, SessionError};
use super::frozen::{self, Freezing};
use super::nested;
use super::value::{self, Attribute, EncodeFault, Storable, Value};

/// The attributes of one session.
pub(super) struct Attributes {
    form: Form,
    /// What they count against the budget: keys, and encoded values.
    charged: u32,
}

enum Form {
    /// In the order of their keys.
    Live(Vec<Slot>),
    Frozen(Arc<[u8]>),
}

impl Drop for Form {
    /// Values are dropped one by one: where the `Drop` of two panics, a list of them would end the
    /// process.
    fn drop(&mut self) {
        let Self::Live(slots) = self else { return };
        let mut panicked = None;
        for slot in slots.drain(..) {
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(slot)));
            panicked = panicked.or(dropped.err());
        }
        if let Some(panic) = panicked
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

struct Slot {
    key: Box<str>,
    cell: Cell,
    charge: u32,
}

enum Cell {
    /// Written by the program since it was last encoded.
    Written(Arc<dyn Value>),
    /// Encoded, and not read since.
    Encoded(Encoded),
    /// Encoded, and decoded as some type that read it. The bytes are what counts: a reader that
    /// does not know all of their fields must not lose the others.
    Read(Box<(Encoded, Arc<dyn Value>)>),
}

/// A part of a frozen state, which it keeps in memory.
#[derive(Clone)]
struct Encoded {
    whole: Arc<[u8]>,
    start: u32,
    end: u32,
}

impl Encoded {
    fn bytes(&self) -> &[u8] {
        &self.whole[self.start as usize..self.end as usize]
    }
}

/// A value found, to be cloned outside the lock where that is possible.
pub(super) enum Found<T> {
    Shared(Arc<dyn Value>),
    Own(T),
}

/// What a change put out of the session, to be dropped outside the lock.
pub(super) struct Displaced<T> {
    _value: Option<T>,
    _erased: Option<Arc<dyn Value>>,
}

impl<T> Displaced<T> {
    const NOTHING: Self = Self {
        _value: None,
        _erased: None,
    };

    const fn value(value: T) -> Self {
        Self {
            _value: Some(value),
            _erased: None,
        }
    }

    fn cell(cell: Cell) -> Self {
        Self {
            _value: None,
            _erased: cell.into_value(),
        }
    }
}

/// What was dropped from the session as a whole, to be dropped outside the lock.
pub(super) struct Emptied {
    _form: Form,
}

/// A value that was not let in, to be dropped outside the lock.
pub(super) struct Refused<T> {
    pub(super) error: SessionError,
    _value: T,
}

/// A value on its way in, its cost known.
pub(super) struct Prepared<T> {
    pub(super) value: T,
    charge: u32,
}

impl<T: Storable> Prepared<T> {
    pub(super) fn new(key: &str, value: T) -> Result<Self, SessionError> {
        let charge = value::charge(&value).map_err(|fault| unencodable(key, fault))?;
        Ok(Self {
            value,
            charge: u32::try_from(charge).unwrap_or(u32::MAX),
        })
    }

    /// An error when it is over budget all alone.
    pub(super) fn fits_alone(&self, key: &str, limit: usize) -> Result<(), SessionError> {
        within(key.len() + self.charge as usize, limit).map(drop)
    }
}

fn within(wanted: usize, limit: usize) -> Result<u32, SessionError> {
    let limit = limit.min(frozen::MAX_ENCODED);
    if wanted > limit {
        return Err(SessionError::TooLarge { wanted, limit });
    }
    Ok(wanted as u32)
}

fn unencodable(key: &str, fault: EncodeFault) -> SessionError {
    SessionError::Unencodable {
        key: key.into(),
        type_name: fault.type_name,
        reason: fault.reason,
    }
}

fn decode<T: Attribute>(key: &str, bytes: &[u8]) -> Result<T, SessionError> {
    nested::run(|| value::decode(bytes)).ok_or_else(|| SessionError::Undecodable {
        key: key.into(),
        type_name: std::any::type_name::<T>(),
    })
}

#[inline]
fn find(slots: &[Slot], key: &str) -> Result<usize, usize> {
    slots.binary_search_by(|slot| (*slot.key).cmp(key))
}

impl Attributes {
    pub(super) const fn new() -> Self {
        Self {
            form: Form::Live(Vec::new()),
            charged: 0,
        }
    }

    /// Attributes that arrived as a frozen state; they stay so until somebody reads one.
    pub(super) fn from_frozen(bytes: Arc<[u8]>) -> Result<Self, DecodeFault> {
        frozen::check_frozen(&bytes)?;
        Ok(Self {
            charged: bytes.len() as u32,
            form: Form::Frozen(bytes),
        })
    }

    /// The slots, thawed if need be. Values stay encoded until somebody reads them.
    #[inline]
    fn slots(&mut self) -> &mut Vec<Slot> {
        if let Form::Frozen(whole) = &self.form {
            let whole = Arc::clone(whole);
            self.thaw(&whole);
        }
        match &mut self.form {
            Form::Live(slots) => slots,
            Form::Frozen(_) => unreachable!("it was thawed above"),
        }
    }

    #[cold]
    fn thaw(&mut self, whole: &Arc<[u8]>) {
        let mut slots = Vec::with_capacity(frozen::count(whole));
        let mut charged = 0;
        frozen::thaw(whole, |key, Range { start, end }| {
            let (start, end) = (start as u32, end as u32);
            charged += key.len() as u32 + (end - start);
            slots.push(Slot {
                key: key.into(),
                cell: Cell::Encoded(Encoded {
                    whole: Arc::clone(whole),
                    start,
                    end,
                }),
                charge: end - start,
            });
        })
        .expect("a frozen state was checked when it was made");
        self.charged = charged;
        self.form = Form::Live(slots);
    }

    fn find(&mut self, key: &str) -> Result<usize, usize> {
        find(self.slots(), key)
    }

    pub(super) fn contains(&mut self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    pub(super) fn keys(&mut self) -> Vec<String> {
        self.slots()
            .iter()
            .map(|slot| slot.key.to_string())
            .collect()
    }

    pub(super) fn len(&mut self) -> usize {
        self.slots().len()
    }

    pub(super) fn get<T: Attribute>(
        &mut self,
        key: &str,
    ) -> Result<Option<Found<T>>, SessionError> {
        let slots = self.slots();
        let Ok(at) = find(slots, key) else {
            return Ok(None);
        };
        let slot = &mut slots[at];
        let (encoded, cached) = match &slot.cell {
            Cell::Written(value) if value::as_type::<T>(value).is_some() => {
                return Ok(Some(Found::Shared(Arc::clone(value))));
            }
            Cell::Written(value) => {
                let mut bytes = Vec::new();
                nested::run(|| value::encode(&**value, &mut bytes))
                    .map_err(|fault| unencodable(key, fault))?;
                return decode(key, &bytes).map(|value| Some(Found::Own(value)));
            }
            Cell::Read(both) => (&both.0, Some(&both.1)),
            Cell::Encoded(encoded) => (encoded, None),
        };
        if let Some(value) = cached {
            if value::as_type::<T>(value).is_some() {
                return Ok(Some(Found::Shared(Arc::clone(value))));
            }
            // The first type that was read stays: nothing is dropped here, under the lock.
            return decode(key, encoded.bytes()).map(|value| Some(Found::Own(value)));
        }
        let value: Arc<dyn Value> = Arc::new(decode::<T>(key, encoded.bytes())?);
        let encoded = encoded.clone();
        slot.cell = Cell::Read(Box::new((encoded, Arc::clone(&value))));
        Ok(Some(Found::Shared(value)))
    }

    /// Puts `prepared` in, if the budget allows it.
    pub(super) fn insert<T: Storable>(
        &mut self,
        key: &str,
        prepared: Prepared<T>,
        limit: usize,
    ) -> Result<Displaced<T>, Refused<T>> {
        let slots = self.slots();
        let found = find(slots, key);
        let before = found.map_or(0, |at| key.len() + slots[at].charge as usize);
        let after = key.len() + prepared.charge as usize;
        let charged = self.charged as usize - before + after;
        let Prepared { value, charge } = prepared;
        // What does not grow the session is let in, also where the budget was lowered meanwhile.
        if after > before
            && let Err(error) = within(charged, limit)
        {
            return Err(Refused {
                error,
                _value: value,
            });
        }
        self.charged = charged as u32;
        match found {
            Ok(at) => {
                let slot = &mut self.slots()[at];
                slot.charge = charge;
                if let Cell::Written(live) = &mut slot.cell
                    && let Some(there) = value::as_type_mut::<T>(live)
                {
                    return Ok(Displaced::value(std::mem::replace(there, value)));
                }
                let old = std::mem::replace(&mut slot.cell, Cell::Written(Arc::new(value)));
                Ok(Displaced::cell(old))
            }
            Err(at) => {
                let slots = self.slots();
                if slots.len() == slots.capacity() {
                    // Most sessions have few attributes, and there are many sessions.
                    slots.reserve_exact(slots.len().max(1));
                }
                slots.insert(
                    at,
                    Slot {
                        key: key.into(),
                        cell: Cell::Written(Arc::new(value)),
                        charge,
                    },
                );
                Ok(Displaced::NOTHING)
            }
        }
    }

    /// Takes `key` out, whatever its type.
    pub(super) fn discard(&mut self, key: &str) -> Option<Displaced<()>> {
        let at = self.find(key).ok()?;
        let slot = self.slots().remove(at);
        self.charged -= slot.key.len() as u32 + slot.charge;
        Some(Displaced::cell(slot.cell))
    }

    pub(super) fn clear(&mut self) -> Emptied {
        self.charged = 0;
        Emptied {
            _form: std::mem::replace(&mut self.form, Form::Live(Vec::new())),
        }
    }

    /// About how many bytes they take encoded.
    pub(super) fn expected_bytes(&self) -> usize {
        match &self.form {
            Form::Frozen(bytes) => bytes.len(),
            Form::Live(slots) => self.charged as usize + 6 * slots.len() + 6,
        }
    }

    /// All attributes as one run of bytes.
    pub(super) fn encode(&self) -> Result<Arc<[u8]>, SessionError> {
        match &self.form {
            Form::Frozen(bytes) => Ok(Arc::clone(bytes)),
            Form::Live(_) => {
                let bytes = Vec::with_capacity(self.expected_bytes());
                Ok(self.encode_after(bytes)?.into())
            }
        }
    }

    /// All attributes as one run of bytes, after those that are there.
    pub(super) fn encode_after(&self, mut before: Vec<u8>) -> Result<Vec<u8>, SessionError> {
        let slots = match &self.form {
            Form::Frozen(bytes) => {
                before.extend_from_slice(bytes);
                return Ok(before);
            }
            Form::Live(slots) => slots,
        };
        let start = before.len();
        let mut freezing = Freezing::after(before, slots.len());
        for slot in slots {
            match &slot.cell {
                Cell::Encoded(encoded) => freezing.attribute(&slot.key, encoded.bytes()),
                Cell::Read(both) => freezing.attribute(&slot.key, both.0.bytes()),
                Cell::Written(value) => freezing
                    .attribute_by(&slot.key, slot.charge as usize, |bytes| {
                        nested::run(|| value::encode(&**value, bytes))
                    })
                    .map_err(|fault| unencodable(&slot.key, fault))?,
            }
        }
        let bytes = freezing.finish();
        within(bytes.len() - start, frozen::MAX_ENCODED)?;
        Ok(bytes)
    }

    /// Turns everything into one run of bytes. When something has no encoding, all stays live.
    pub(super) fn freeze(&mut self) -> Result<Emptied, SessionError> {
        let bytes = self.encode()?;
        self.charged = bytes.len() as u32;
        Ok(Emptied {
            _form: std::mem::replace(&mut self.form, Form::Frozen(bytes)),
        })
    }

    pub(super) const fn charged(&self) -> usize {
        self.charged as usize
    }

    pub(super) const fn is_frozen(&self) -> bool {
        matches!(self.form, Form::Frozen(_))
    }
}

impl Cell {
    fn into_value(self) -> Option<Arc<dyn Value>> {
        match self {
            Self::Written(value) => Some(value),
            Self::Encoded(_) => None,
            Self::Read(both) => Some(both.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    const LIMIT: usize = 10_000;

    fn put<T: Storable>(attributes: &mut Attributes, key: &str, value: T) {
        let prepared = Prepared::new(key, value).unwrap();
        assert!(attributes.insert(key, prepared, LIMIT).is_ok());
    }

    fn read<T: Attribute>(
        attributes: &mut Attributes,
        key: &str,
    ) -> Result<Option<T>, SessionError> {
        Ok(attributes.get::<T>(key)?.map(|found| match found {
            Found::Shared(value) => value::as_type::<T>(&value).unwrap().clone(),
            Found::Own(value) => value,
        }))
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        name: String,
        #[serde(default)]
        mail: Option<String>,
    }

    #[test]
    fn values_survive_the_frost() {
        let mut attributes = Attributes::new();
        put(&mut attributes, "n", 7_u64);
        put(&mut attributes, "who", Old { name: "ann".into() });
        attributes.freeze().unwrap();
        assert!(attributes.is_frozen());
        assert_eq!(read::<u64>(&mut attributes, "n"), Ok(Some(7)));
        assert_eq!(
            read(&mut attributes, "who"),
            Ok(Some(Old { name: "ann".into() }))
        );
        assert_eq!(read::<u64>(&mut attributes, "none"), Ok(None));
        assert_eq!(attributes.len(), 2);
    }

    #[test]
    fn another_type_goes_through_the_encoding() {
        let mut attributes = Attributes::new();
        put(&mut attributes, "who", Old { name: "ann".into() });
        let new = New {
            name: "ann".into(),
            mail: None,
        };
        assert_eq!(read(&mut attributes, "who"), Ok(Some(new)));
        put(&mut attributes, "s", "borrowed for ever");
        assert_eq!(
            read(&mut attributes, "s"),
            Ok(Some("borrowed for ever".to_owned()))
        );
    }

    #[test]
    fn a_reader_that_knows_fewer_fields_loses_none() {
        let mut attributes = Attributes::new();
        let new = New {
            name: "ann".into(),
            mail: Some("a@b".into()),
        };
        put(&mut attributes, "who", new.clone());
        attributes.freeze().unwrap();
        assert_eq!(
            read(&mut attributes, "who"),
            Ok(Some(Old { name: "ann".into() }))
        );
        attributes.freeze().unwrap();
        assert_eq!(read(&mut attributes, "who"), Ok(Some(new)));
    }

    #[test]
    fn what_cannot_be_decoded_is_kept() {
        let mut attributes = Attributes::new();
        put(&mut attributes, "who", "ann".to_owned());
        put(&mut attributes, "n", 1_u8);
        attributes.freeze().unwrap();
        let wrong = read::<u64>(&mut attributes, "who");
        assert!(
            matches!(wrong, Err(SessionError::Undecodable { .. })),
            "{wrong:?}"
        );
        assert_eq!(read::<u8>(&mut attributes, "n"), Ok(Some(1)));
        attributes.freeze().unwrap();
        assert_eq!(read(&mut attributes, "who"), Ok(Some("ann".to_owned())));
    }

    #[test]
    fn the_budget_is_kept_and_a_refusal_changes_nothing() {
        let mut attributes = Attributes::new();
        put(&mut attributes, "a", "x".repeat(6000));
        let prepared = Prepared::new("b", "y".repeat(6000)).unwrap();
        let refused = attributes.insert("b", prepared, LIMIT);
        let refused = refused.map(drop).map_err(|refused| refused.error);
        assert!(
            matches!(refused, Err(SessionError::TooLarge { .. })),
            "{refused:?}"
        );
        assert_eq!(attributes.keys(), ["a"]);
        attributes.discard("a").unwrap();
        put(&mut attributes, "b", "y".repeat(6000));
        assert_eq!(attributes.charged, 6004);
        attributes.freeze().unwrap();
        attributes.discard("b").unwrap();
        assert_eq!(attributes.charged, 0);
    }

    #[test]
    fn what_cannot_be_encoded_stays_live() {
        #[derive(Clone)]
        struct Stubborn;
        impl Serialize for Stubborn {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("a secret"))
            }
        }
        let mut attributes = Attributes::new();
        put(&mut attributes, "a", 1_u8);
        let prepared = Prepared {
            value: Stubborn,
            charge: 0,
        };
        assert!(attributes.insert("s", prepared, LIMIT).is_ok());
        let refused = attributes.freeze().map(drop).unwrap_err();
        assert!(
            matches!(refused, SessionError::Unencodable { .. }),
            "{refused:?}"
        );
        assert!(!refused.to_string().contains("secret"));
        assert!(!attributes.is_frozen());
        assert_eq!(read::<u8>(&mut attributes, "a"), Ok(Some(1)));
        assert!(attributes.contains("s"));
    }
}
