//! All attributes of a session as one run of bytes: the frozen state, and what travels.
//!
//! A format byte, the number of attributes, then for each, in the order of their keys, the length
//! of the key, the key, the length of the value, the value; lengths are LEB128. Decoding takes
//! nothing that encoding does not write, and allocates by what is there, not by what is claimed.

use std::ops::Range;

use super::error::DecodeFault;

const FORMAT: u8 = 1;

/// No session is longer than this when encoded, whatever its budget.
pub(super) const MAX_ENCODED: usize = 1 << 30;

/// Writes the frozen state, attribute by attribute.
pub(super) struct Freezing {
    bytes: Vec<u8>,
}

impl Freezing {
    /// Writes it after what is in `bytes`.
    pub(super) fn after(mut bytes: Vec<u8>, attributes: usize) -> Self {
        bytes.push(FORMAT);
        write_length(&mut bytes, attributes);
        Self { bytes }
    }

    /// Adds one; keys come in ascending order, each once.
    pub(super) fn attribute(&mut self, key: &str, value: &[u8]) {
        write_length(&mut self.bytes, key.len());
        self.bytes.extend_from_slice(key.as_bytes());
        write_length(&mut self.bytes, value.len());
        self.bytes.extend_from_slice(value);
    }

    /// Adds one whose value `encode` writes, probably of so many bytes. After an error a part of it may be
    /// there.
    pub(super) fn attribute_by<E>(
        &mut self,
        key: &str,
        expected: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        write_length(&mut self.bytes, key.len());
        self.bytes.extend_from_slice(key.as_bytes());
        let at = self.bytes.len();
        write_length(&mut self.bytes, expected);
        let start = self.bytes.len();
        encode(&mut self.bytes)?;
        if self.bytes.len() - start != expected {
            let value = self.bytes.split_off(start);
            self.bytes.truncate(at);
            write_length(&mut self.bytes, value.len());
            self.bytes.extend_from_slice(&value);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a frozen state: calls `attribute` with each key and where its value lies in `bytes`.
pub(super) fn thaw(
    bytes: &[u8],
    mut attribute: impl FnMut(&str, Range<usize>),
) -> Result<(), DecodeFault> {
    if bytes.len() > MAX_ENCODED {
        return Err(DecodeFault::TooLong);
    }
    let mut reader = Reader { bytes, at: 0 };
    if bytes[reader.take(1)?] != [FORMAT] {
        return Err(DecodeFault::UnknownFormat);
    }
    let count = reader.length()?;
    let mut last: Option<&str> = None;
    for _ in 0..count {
        let len = reader.length()?;
        let key =
            std::str::from_utf8(&bytes[reader.take(len)?]).map_err(|_| DecodeFault::Malformed)?;
        if last.is_some_and(|last| last >= key) {
            return Err(DecodeFault::Malformed);
        }
        last = Some(key);
        let len = reader.length()?;
        attribute(key, reader.take(len)?);
    }
    if reader.at == bytes.len() {
        Ok(())
    } else {
        Err(DecodeFault::Malformed)
    }
}

/// How many attributes a frozen state says that it has, before anything else is checked.
pub(super) fn count(bytes: &[u8]) -> usize {
    let mut reader = Reader { bytes, at: 1 };
    // Each attribute takes at least two bytes, so a false claim reserves nothing much.
    reader.length().unwrap_or(0).min(bytes.len() / 2)
}

/// Whether `bytes` are a frozen state.
///
/// # Errors
///
/// What is wrong with them.
pub fn check_frozen(bytes: &[u8]) -> Result<(), DecodeFault> {
    thaw(bytes, |_, _| ())
}

fn write_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length as u8 & 0x7F) | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Result<Range<usize>, DecodeFault> {
        let end = self.at.checked_add(len).ok_or(DecodeFault::Truncated)?;
        if end > self.bytes.len() {
            return Err(DecodeFault::Truncated);
        }
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    fn length(&mut self) -> Result<usize, DecodeFault> {
        let mut length = 0;
        // Five groups of seven bits reach beyond MAX_ENCODED.
        for group in 0..5 {
            let byte = *self.bytes.get(self.at).ok_or(DecodeFault::Truncated)?;
            self.at += 1;
            length |= usize::from(byte & 0x7F) << (7 * group);
            if byte & 0x80 == 0 {
                // A final zero group is a second spelling of a shorter number.
                let spelt_once = byte != 0 || group == 0;
                return if spelt_once && length <= MAX_ENCODED {
                    Ok(length)
                } else {
                    Err(DecodeFault::Malformed)
                };
            }
        }
        Err(DecodeFault::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut freezing = Freezing::after(Vec::new(), 3);
        freezing.attribute("", b"\xc0");
        freezing.attribute("a", &[7; 300]);
        freezing.attribute("b", b"");
        freezing.finish()
    }

    #[test]
    fn attributes_come_back() {
        let bytes = sample();
        let mut seen = Vec::new();
        thaw(&bytes, |key, value| {
            seen.push((key.to_owned(), bytes[value].to_vec()))
        })
        .unwrap();
        let expected = [("", vec![0xC0]), ("a", vec![7; 300]), ("b", vec![])]
            .map(|(key, value)| (key.to_owned(), value));
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_value_of_another_length_than_expected_is_as_any_other() {
        for expected in [0, 1, 127, 128, 300, 20_000] {
            let mut freezing = Freezing::after(Vec::new(), 3);
            freezing.attribute("", b"\xc0");
            let write = |bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(&[7; 300]);
                Ok::<_, ()>(())
            };
            freezing.attribute_by("a", expected, write).unwrap();
            freezing.attribute("b", b"");
            assert_eq!(freezing.finish(), sample());
        }
    }

    #[test]
    fn every_prefix_and_every_suffix_is_refused() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(check_frozen(&bytes[..len]).is_err(), "{len}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(check_frozen(&longer), Err(DecodeFault::Malformed));
    }

    #[test]
    fn disorder_and_second_spellings_are_refused() {
        let disordered: &[u8] = &[FORMAT, 2, 1, b'b', 0, 1, b'a', 0];
        let twice: &[u8] = &[FORMAT, 2, 1, b'a', 0, 1, b'a', 0];
        let spelt: &[u8] = &[FORMAT, 0x80, 0];
        let huge: &[u8] = &[FORMAT, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
        for bytes in [disordered, twice, spelt, huge] {
            assert_eq!(
                check_frozen(bytes),
                Err(DecodeFault::Malformed),
                "{bytes:?}"
            );
        }
        assert_eq!(check_frozen(&[9, 0]), Err(DecodeFault::UnknownFormat));
        assert_eq!(
            check_frozen(&[FORMAT, 1, 1, 0xFF, 0]),
            Err(DecodeFault::Malformed)
        );
        assert_eq!(check_frozen(&[FORMAT, 0]), Ok(()));
    }
}
