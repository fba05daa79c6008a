//! An id's text from a cookie: what is taken is exactly what is written, and only our own verifies.

use std::sync::LazyLock;

use wadi_core::session::{ClusterKey, Keyring, PresentedId, fuzzing};

static RING: LazyLock<Keyring> = LazyLock::new(|| {
    let key =
        |byte| ClusterKey::from_secret(&[byte; ClusterKey::MIN_BYTES]).expect("it is long enough");
    Keyring::new(key(1)).accepting(key(2))
});

/// The characters that hold random bits and issue time alone; the next one holds bits of the tag too.
const UNTAGGED: usize = 26;

/// One input.
pub fn target(data: &[u8]) {
    fuzzing::id_text(data);
    let Some(presented) = PresentedId::parse(data) else {
        return;
    };
    let text = RING.text(presented.unverified());
    assert_eq!(data.len(), text.expose().len(), "another length was taken");
    assert_eq!(
        &data[..UNTAGGED],
        &text.expose().as_bytes()[..UNTAGGED],
        "one id has two texts"
    );
    if let Some(id) = RING.verify(&presented) {
        assert_eq!(id, *presented.unverified());
        let accepted = Keyring::new(ClusterKey::from_secret(&[2; 32]).expect("it is long enough"));
        assert!(
            [text, accepted.text(&id)]
                .iter()
                .any(|ours| ours.expose().as_bytes() == data),
            "a tag that is not ours was believed"
        );
    }
    // Nothing of a secret is printed.
    assert!(
        !format!("{presented:?}{:?}", presented.unverified()).contains(&text.expose()[..UNTAGGED])
    );
}
