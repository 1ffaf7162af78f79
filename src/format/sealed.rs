//! A checksummed envelope for the small node-local metadata files (bincode inside).
//!
//! ```text
//!    0  magic, 8 bytes, one per kind of file
//!    8  version         crc of everything else
//!   16  length of the body
//!   24  body
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::FORMAT_VERSION;
use super::fields::{put_u32, put_u64, u32_at, u64_at};

const HEADER: usize = 24;

/// Bytes are not the metadata file they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealedError {
    #[error("cut short or not a metadata file")]
    Shape,
    #[error("format version {found}")]
    Version { found: u32 },
    #[error("checksum {found:#010x}, computed {computed:#010x}")]
    Crc { found: u32, computed: u32 },
    #[error("content cannot be read: {0}")]
    Content(String),
}

/// The bytes of `value` in an envelope marked `magic`.
///
/// # Errors
/// If bincode cannot encode the value; no type of this crate causes that.
pub(crate) fn encode<T: Serialize>(magic: &[u8; 8], value: &T) -> Result<Vec<u8>, SealedError> {
    encode_as(magic, FORMAT_VERSION, value)
}

/// As [`encode`], of another version.
///
/// # Errors
/// As [`encode`].
pub(crate) fn encode_as<T: Serialize>(magic: &[u8; 8], version: u32, value: &T) -> Result<Vec<u8>, SealedError> {
    let body = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|error| SealedError::Content(error.to_string()))?;
    let mut bytes = vec![0; HEADER];
    bytes[..8].copy_from_slice(magic);
    put_u32(&mut bytes, 8, version);
    put_u64(&mut bytes, 16, body.len() as u64);
    bytes.extend_from_slice(&body);
    let crc = checksum(&bytes);
    put_u32(&mut bytes, 12, crc);
    Ok(bytes)
}

/// The reverse of [`encode`] and [`encode_as`], of any version up to `newest`: the value, and which version it is.
///
/// # Errors
/// What does not fit.
pub(crate) fn decode<T: DeserializeOwned>(magic: &[u8; 8], newest: u32, bytes: &[u8]) -> Result<(T, u32), SealedError> {
    if bytes.len() < HEADER || bytes[..8] != *magic || u64_at(bytes, 16) != (bytes.len() - HEADER) as u64 {
        return Err(SealedError::Shape);
    }
    let (found, computed) = (u32_at(bytes, 12), checksum(bytes));
    if found != computed {
        return Err(SealedError::Crc { found, computed });
    }
    let version = u32_at(bytes, 8);
    if !(1..=newest).contains(&version) {
        return Err(SealedError::Version { found: version });
    }
    let limited = bincode::config::standard().with_limit::<{ 16 << 20 }>();
    let (value, read) = bincode::serde::decode_from_slice(&bytes[HEADER..], limited)
        .map_err(|error| SealedError::Content(error.to_string()))?;
    if read == bytes.len() - HEADER {
        Ok((value, version))
    } else {
        Err(SealedError::Content("bytes left over".into()))
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"DLEDGTST";

    #[test]
    fn a_value_survives_and_every_flipped_bit_is_detected() {
        let value = (7u64, "seven".to_owned());
        let bytes = encode(&MAGIC, &value).unwrap();
        assert_eq!(decode::<(u64, String)>(&MAGIC, FORMAT_VERSION, &bytes), Ok((value, FORMAT_VERSION)));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<(u64, String)>(&MAGIC, FORMAT_VERSION, &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_next_version_is_refused_by_name() {
        let mut bytes = encode(&MAGIC, &1u8).unwrap();
        put_u32(&mut bytes, 8, FORMAT_VERSION + 1);
        let crc = checksum(&bytes);
        put_u32(&mut bytes, 12, crc);
        assert_eq!(decode::<u8>(&MAGIC, FORMAT_VERSION, &bytes), Err(SealedError::Version { found: 2 }));
        assert_eq!(decode(&MAGIC, FORMAT_VERSION + 1, &bytes), Ok((1_u8, FORMAT_VERSION + 1)));
        assert_eq!(encode_as(&MAGIC, FORMAT_VERSION + 1, &1_u8), Ok(bytes));
    }
}
