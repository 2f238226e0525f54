//! Whether two contents are the same.

/// FNV-1a (Fowler, Noll, Vo): tells a damaged or exchanged file from the one that was written.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    fingerprint_from(FINGERPRINT, bytes)
}

/// The fingerprint of nothing.
pub const FINGERPRINT: u64 = 0xcbf2_9ce4_8422_2325;

/// Goes on from the fingerprint of what comes before.
pub fn fingerprint_from(before: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(before, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_fnv1a() {
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
