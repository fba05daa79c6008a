//! A fault that only guided fuzzing finds: it shows that the others are guided too.

/// One input.
pub fn target(data: &[u8]) {
    let Some((number, _)) = data.split_first_chunk::<4>() else {
        return;
    };
    assert!(
        u32::from_le_bytes(*number) != 0x5749_4441,
        "the planted fault"
    );
}
