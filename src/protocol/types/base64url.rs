//! Base64 with the URL alphabet of RFC 4648, unpadded and strict: each value has one spelling.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encode `bytes` without padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(length(bytes.len()));
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        // One more digit than bytes: 3 bytes are 4 digits.
        for digit in 0..=group.len() {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(ALPHABET[value as usize]));
        }
    }
    text
}

/// Digits of so many bytes.
const fn length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Decode exactly `N` bytes. `None` for another length, for padding, for a digit outside of the
/// alphabet, and for unused bits that are not zero.
#[must_use]
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    decode_into(text, &mut bytes)?;
    Some(bytes)
}

/// Decode any number of bytes up to `most`, by the rules of [`decode`].
#[must_use]
pub fn decode_up_to(text: &str, most: usize) -> Option<Vec<u8>> {
    if text.len() > length(most) {
        return None;
    }
    let mut bytes = vec![0; text.len() * 3 / 4];
    decode_into(text, &mut bytes)?;
    Some(bytes)
}

/// Fill `bytes`, which must be of the length that `text` encodes.
fn decode_into(text: &str, bytes: &mut [u8]) -> Option<()> {
    if text.len() != length(bytes.len()) {
        return None;
    }
    for (out, digits) in bytes.chunks_mut(3).zip(text.as_bytes().chunks(4)) {
        let mut bits = 0;
        for (place, digit) in digits.iter().enumerate() {
            bits |= value(*digit)? << (18 - 6 * place);
        }
        let [_, group @ ..] = bits.to_be_bytes();
        let (used, unused) = group.split_at(out.len());
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.copy_from_slice(used);
    }
    Some(())
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        fn both<const N: usize>(bytes: &[u8; N], text: &str) {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text), Some(*bytes), "{text}");
            assert_eq!(decode_up_to(text, N), Some(bytes.to_vec()), "{text}");
            // `N - 1` bytes may have as many digits as the text of a shorter value.
            assert!(N == 0 || decode_up_to(text, N - 1).is_none(), "{text}");
        }
        both(b"", "");
        both(b"f", "Zg");
        both(b"fo", "Zm8");
        both(b"foo", "Zm9v");
        both(b"foob", "Zm9vYg");
        both(b"fooba", "Zm9vYmE");
        both(b"foobar", "Zm9vYmFy");
        // The two digits in which the URL alphabet differs.
        both(&[0xfb, 0xff, 0xbf], "-_-_");
        both(&[0x14, 0xfb, 0x9c, 0x03, 0xd9, 0x7e], "FPucA9l-");
    }

    #[test]
    fn every_byte_survives() {
        let all: [u8; 256] = std::array::from_fn(|place| place as u8);
        assert_eq!(decode(&encode(&all)), Some(all));
    }

    #[test]
    fn every_length_up_to_the_bound_is_decoded_and_no_other() {
        let all: [u8; 256] = std::array::from_fn(|place| place as u8);
        for count in 0..=256 {
            let text = encode(&all[..count]);
            assert_eq!(decode_up_to(&text, 200).is_some(), count <= 200);
            assert_eq!(decode_up_to(&text, 256).as_deref(), Some(&all[..count]));
            // A digit more or less is another value, or none; never the same.
            assert_ne!(decode_up_to(&format!("{text}A"), 300).as_deref(), Some(&all[..count]));
        }
        for text in ["A", "AAAAA", "Zg==", "Zh", "Zm9=", "Zm8=", "Zm9v\n", "Zm 9", "Z\u{17f}"] {
            assert_eq!(decode_up_to(text, 16), None, "{text:?}");
        }
    }

    #[test]
    fn a_value_has_one_spelling() {
        for text in ["Zg==", "Zh", "Zv", "Z", "Zg ", "Z+", "Z/", "Zé", "Zm8", "", "Z\u{17f}"] {
            assert_eq!(decode::<1>(text), None, "{text:?}");
        }
        assert_eq!((decode::<2>("Zm9"), decode::<2>("Zm8")), (None, Some(*b"fo")));
        assert_eq!((decode::<3>("+/+/"), decode::<3>("-_-_")), (None, Some([0xfb, 0xff, 0xbf])));
        // Of the 64 last digits of one byte, four have no unused bits set.
        let last = ALPHABET
            .iter()
            .filter(|digit| decode::<1>(&format!("Z{}", char::from(**digit))).is_some());
        assert_eq!(last.count(), 4);
    }
}
