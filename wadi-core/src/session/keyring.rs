//! The keyed tag that tells an id of ours from an invented one, and an id's text in a cookie.
//!
//! Text is parsed once, at the edge, with strict bounds. A key is never printed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::SessionId;

const TAG_BYTES: usize = 12;
const RAW_BYTES: usize = 16 + 4 + TAG_BYTES;
const CONTEXT: &str = "wadi 2026 session id tag v1";
const NETWORK: &str = "wadi 2026 network secret v1";

/// The length of an id's text in a cookie, in characters; no other length is ever an id.
pub const ID_TEXT_LEN: usize = 43;

/// What is derived from a cluster's secret: the key of the tags, and a secret for the network.
///
/// Nodes with the same key take each other's ids for good.
#[derive(Clone)]
pub struct ClusterKey {
    tag: [u8; 32],
    network: [u8; 32],
}

impl ClusterKey {
    /// The fewest bytes that [`ClusterKey::from_secret`] takes.
    pub const MIN_BYTES: usize = 32;

    /// A key from a secret of at least 32 bytes, any more of them counting too; `None` when it is
    /// shorter.
    #[must_use]
    pub fn from_secret(secret: &[u8]) -> Option<Self> {
        (secret.len() >= Self::MIN_BYTES).then(|| Self {
            tag: blake3::derive_key(CONTEXT, secret),
            network: blake3::derive_key(NETWORK, secret),
        })
    }

    /// A key that nobody else has: ids then live as long as this process.
    ///
    /// # Panics
    ///
    /// When the operating system has no random source, since nothing safe can be done without one.
    #[must_use]
    pub fn random() -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the operating system has a random source");
        Self::from_secret(&secret).expect("it is long enough")
    }

    /// A secret for the nodes' connections, from which the secret it comes of cannot be computed.
    #[must_use]
    pub const fn network_secret(&self) -> &[u8; 32] {
        &self.network
    }

    fn tag(&self, id: &SessionId) -> [u8; TAG_BYTES] {
        let mut signed = [0; 20];
        signed[..16].copy_from_slice(id.random());
        signed[16..].copy_from_slice(&id.issued().to_be_bytes());
        let hash = blake3::keyed_hash(&self.tag, &signed);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hash.as_bytes()[..TAG_BYTES]);
        tag
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

/// The keys of a cluster: one mints, all are accepted.
///
/// To change keys without logging anybody out: accept the new one everywhere, then mint with it
/// everywhere, then drop the old one when its last session has ended.
#[derive(Clone, Debug)]
pub struct Keyring {
    minting: ClusterKey,
    accepted: Vec<ClusterKey>,
}

impl Keyring {
    /// A ring of one key, that mints.
    #[must_use]
    pub const fn new(minting: ClusterKey) -> Self {
        Self {
            minting,
            accepted: Vec::new(),
        }
    }

    /// Also takes ids that were minted with `key`.
    #[must_use]
    pub fn accepting(mut self, key: ClusterKey) -> Self {
        self.accepted.push(key);
        self
    }

    /// Its keys, the one that mints first.
    pub fn keys(&self) -> impl Iterator<Item = &ClusterKey> {
        std::iter::once(&self.minting).chain(&self.accepted)
    }

    /// The text of `id` for a cookie, tagged with the minting key.
    #[must_use]
    pub fn text(&self, id: &SessionId) -> IdText {
        let mut raw = [0; RAW_BYTES];
        raw[..16].copy_from_slice(id.random());
        raw[16..20].copy_from_slice(&id.issued().to_be_bytes());
        raw[20..].copy_from_slice(&self.minting.tag(id));
        let mut text = [0; ID_TEXT_LEN];
        let written = URL_SAFE_NO_PAD.encode_slice(raw, &mut text);
        debug_assert!(matches!(written, Ok(ID_TEXT_LEN)));
        IdText(text)
    }

    /// The id that was presented, if its tag was made with one of the accepted keys.
    #[must_use]
    pub fn verify(&self, presented: &PresentedId) -> Option<SessionId> {
        self.keys()
            .any(|key| same(&key.tag(&presented.id), &presented.tag))
            .then_some(presented.id)
    }
}

/// Whether two tags are equal, in a time that does not tell where they differ.
fn same(one: &[u8; TAG_BYTES], other: &[u8; TAG_BYTES]) -> bool {
    let differing = one
        .iter()
        .zip(other)
        .fold(0, |differing, (one, other)| differing | (one ^ other));
    std::hint::black_box(differing) == 0
}

/// An id as a client presented it: well formed, its tag not yet verified.
///
/// Finding it in a node's own map proves it as well as the tag does, since only minted ids get
/// there and nobody can guess one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PresentedId {
    id: SessionId,
    tag: [u8; TAG_BYTES],
}

impl PresentedId {
    /// Reads an id's text; `None` for whatever [`Keyring::text`] cannot have written.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; ID_TEXT_LEN] = text.try_into().ok()?;
        let raw = decode(text)?;
        let (random, rest) = raw.split_first_chunk::<16>()?;
        let (issued, rest) = rest.split_first_chunk::<4>()?;
        let tag: &[u8; TAG_BYTES] = rest.try_into().ok()?;
        Some(Self {
            id: SessionId::from_parts(*random, u32::from_be_bytes(*issued)),
            tag: *tag,
        })
    }

    /// The id, on the client's word alone: good for looking it up, not for believing it.
    #[must_use]
    pub const fn unverified(&self) -> &SessionId {
        &self.id
    }
}

/// The text with room for whole blocks.
const PADDED: usize = ID_TEXT_LEN.next_multiple_of(16);

/// What no character stands for.
const NONE: u8 = 0xFF;

/// The six bits that a character of base64url stands for. It looks nothing up and branches nowhere,
/// so that many characters are read at once, in a time that does not tell which they are.
#[inline(always)]
const fn six_bits(character: u8) -> u8 {
    const fn is(yes: bool, value: u8) -> u8 {
        if yes { value } else { 0 }
    }
    let (upper, lower) = (character.wrapping_sub(b'A'), character.wrapping_sub(b'a'));
    let digit = character.wrapping_sub(b'0');
    let (dash, line) = (character == b'-', character == b'_');
    let known = (upper < 26) | (lower < 26) | (digit < 10) | dash | line;
    is(upper < 26, upper)
        | is(lower < 26, lower.wrapping_add(26))
        | is(digit < 10, digit.wrapping_add(52))
        | is(dash, 62)
        | is(line, 63)
        | is(!known, NONE)
}

/// Base64url of exactly one length. It is read with every request, and this takes a fraction of
/// what a decoder of any length does.
#[inline]
fn decode(text: &[u8; ID_TEXT_LEN]) -> Option<[u8; RAW_BYTES]> {
    let mut sextets = [b'A'; PADDED];
    sextets[..ID_TEXT_LEN].copy_from_slice(text);
    let mut seen = 0;
    for character in &mut sextets {
        *character = six_bits(*character);
        seen |= *character;
    }
    // Two bits are left over, and have one spelling.
    if seen & 0xC0 != 0 || sextets[ID_TEXT_LEN - 1] & 0b11 != 0 {
        return None;
    }
    let mut raw = [0; PADDED / 8 * 6 + 2];
    for (at, eight) in sextets.as_chunks::<8>().0.iter().enumerate() {
        // Pairs of six bits become twelve, pairs of those twenty-four, and those forty-eight.
        let six = u64::from_be_bytes(*eight);
        let twelve = (six >> 2 & 0x0FC0_0FC0_0FC0_0FC0) | (six & 0x003F_003F_003F_003F);
        let more = (twelve >> 4 & 0x00FF_F000_00FF_F000) | (twelve & 0x0000_0FFF_0000_0FFF);
        let most = (more >> 8 & 0x0000_FFFF_FF00_0000) | (more & 0x0000_0000_00FF_FFFF);
        // The last two bytes are written again by the next eight.
        raw[at * 6..at * 6 + 8].copy_from_slice(&(most << 16).to_be_bytes());
    }
    raw.first_chunk().copied()
}

impl fmt::Debug for PresentedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedId(…)")
    }
}

/// An id's text for a cookie: a secret, never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdText([u8; ID_TEXT_LEN]);

impl IdText {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

impl fmt::Debug for IdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey::from_secret(&[byte; 32]).unwrap()
    }

    fn id() -> SessionId {
        SessionId::from_parts(*b"0123456789abcdef", 1_780_000_000)
    }

    #[test]
    fn text_comes_back_as_the_id() {
        let ring = Keyring::new(key(1));
        let text = ring.text(&id());
        let presented = PresentedId::parse(text.expose().as_bytes()).unwrap();
        assert_eq!(ring.verify(&presented), Some(id()));
    }

    #[test]
    fn keys_rotate() {
        let old = Keyring::new(key(1));
        let both = Keyring::new(key(2)).accepting(key(1));
        let new = Keyring::new(key(2));
        let parse = |text: IdText| PresentedId::parse(text.expose().as_bytes()).unwrap();
        assert!(both.verify(&parse(old.text(&id()))).is_some());
        assert!(both.verify(&parse(new.text(&id()))).is_some());
        assert!(new.verify(&parse(old.text(&id()))).is_none());
        assert!(new.verify(&parse(both.text(&id()))).is_some());
    }

    #[test]
    fn any_changed_character_is_refused() {
        let ring = Keyring::new(key(1));
        let text = ring.text(&id());
        for at in 0..ID_TEXT_LEN {
            for other in [b'A', b'b', b'_', b'=', b'+', 0xFF] {
                let mut forged = text.0;
                if forged[at] == other {
                    continue;
                }
                forged[at] = other;
                let taken = PresentedId::parse(&forged).and_then(|id| ring.verify(&id));
                assert_eq!(taken, None, "character {at}");
            }
        }
    }

    #[test]
    fn decoding_agrees_with_a_decoder_of_any_length() {
        let text = Keyring::new(key(3)).text(&id());
        for at in 0..ID_TEXT_LEN {
            for byte in 0..=255 {
                let mut changed = text.0;
                changed[at] = byte;
                let mut raw = [0; RAW_BYTES];
                let expected = URL_SAFE_NO_PAD.decode_slice(changed, &mut raw).ok();
                assert_eq!(decode(&changed), expected.map(|_| raw), "{byte} at {at}");
            }
        }
    }

    #[test]
    fn other_lengths_are_refused() {
        let text = Keyring::new(key(1)).text(&id());
        let bytes = text.expose().as_bytes();
        for len in 0..ID_TEXT_LEN {
            assert!(PresentedId::parse(&bytes[..len]).is_none());
        }
        assert!(PresentedId::parse(&[bytes, b"A"].concat()).is_none());
        assert!(PresentedId::parse(&[b'A'; 100_000]).is_none());
    }

    #[test]
    fn short_secrets_are_refused_and_nothing_is_printed() {
        assert!(ClusterKey::from_secret(&[1; 31]).is_none());
        let ring = Keyring::new(key(1));
        assert_eq!(format!("{:?}", ring.text(&id())), "IdText(…)");
        assert!(!format!("{ring:?}").contains('1'));
    }
}
