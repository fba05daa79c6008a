//! What the fuzz targets call: every decoder of bytes that come from outside, with what must hold.
//!
//! Only in test and fuzz builds. Each function takes any bytes and panics when a promise is broken.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::PresentedId;
use super::attributes::{Attributes, Found};
use super::frozen::{check_frozen, thaw};
use super::seal::check_sealed;

/// An id's text: what is taken has one spelling.
pub fn id_text(text: &[u8]) {
    if let Some(presented) = PresentedId::parse(text) {
        let mut raw = [0; 32];
        let decoded = URL_SAFE_NO_PAD.decode_slice(text, &mut raw);
        assert!(matches!(decoded, Ok(32)), "it was taken");
        let mut again = [0; super::ID_TEXT_LEN];
        let encoded = URL_SAFE_NO_PAD.encode_slice(raw, &mut again);
        assert!(matches!(encoded, Ok(super::ID_TEXT_LEN)));
        assert_eq!(again, text);
        assert_eq!(format!("{presented:?}"), "PresentedId(…)");
    }
}

/// A frozen state: what is taken is spelt as it would be written, and reading its values as any
/// type neither fails badly nor changes it.
pub fn frozen_state(bytes: &[u8]) {
    let Ok(mut attributes) = Attributes::from_frozen(Arc::from(bytes)) else {
        assert!(check_frozen(bytes).is_err());
        return;
    };
    let mut keys = Vec::new();
    thaw(bytes, |key, _| keys.push(key.to_owned())).expect("it was taken");
    for key in &keys {
        read_as::<u64>(&mut attributes, key);
        read_as::<String>(&mut attributes, key);
        read_as::<Vec<Option<(bool, f64)>>>(&mut attributes, key);
        read_as::<std::collections::BTreeMap<String, Vec<u8>>>(&mut attributes, key);
    }
    let again = attributes.encode().expect("its values are encoded already");
    assert_eq!(&*again, bytes);
}

fn read_as<T: super::Attribute>(attributes: &mut Attributes, key: &str) {
    if let Ok(found) = attributes.get::<T>(key) {
        assert!(matches!(found, Some(Found::Shared(_) | Found::Own(_))));
    }
}

/// The state of a session that travels.
pub fn sealed_state(bytes: &[u8]) {
    let _ = check_sealed(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few thousand mutations of a good state; the fuzz targets go on from here.
    #[test]
    fn mutated_states_keep_every_promise() {
        let good = [1, 2, 1, b'a', 2, 0xCC, 7, 1, b'b', 3, 0xA2, b'h', b'i'];
        assert_eq!(check_frozen(&good), Ok(()));
        frozen_state(&good);
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut changed = good;
                changed[at] = byte;
                frozen_state(&changed);
                sealed_state(&changed);
                let mut inserted = good.to_vec();
                inserted.insert(at, byte);
                frozen_state(&inserted);
            }
        }
    }

    #[test]
    fn mutated_ids_keep_every_promise() {
        for byte in 0..=255 {
            id_text(&[byte; super::super::ID_TEXT_LEN]);
            id_text(&[byte; 3]);
        }
    }
}
