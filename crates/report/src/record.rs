//! TFRecord framing: each record is its length, the length's checksum, its bytes and their checksum.
//!
//! Layout, little-endian: `u64 length | u32 masked crc32c(length) | length bytes | u32 masked crc32c(bytes)`. The mask (rotate
//! right by 15, add a constant) keeps a checksum of data that holds checksums from being trivial.
//!
//! Reference: `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/lib/hash/crc32c.h`.

/// `bytes` as one record.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc32c(&length).to_le_bytes());
    record.extend_from_slice(bytes);
    record.extend_from_slice(&masked_crc32c(bytes).to_le_bytes());
    record
}

fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The records of a file, each checked against its checksums; the error says which record is wrong and how.
    pub(crate) fn unframe(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let i = records.len();
            let mut take = |n: usize| -> Result<&[u8], String> {
                let (head, tail) = bytes.split_at_checked(n).ok_or(format!("record {i} is cut short"))?;
                bytes = tail;
                Ok(head)
            };
            let mut checked = |n: usize, what: &str| -> Result<Vec<u8>, String> {
                let data = take(n)?.to_vec();
                let sum = take(4)?;
                if sum != masked_crc32c(&data).to_le_bytes() {
                    return Err(format!("record {i}: the checksum of its {what} is wrong"));
                }
                Ok(data)
            };
            let length = checked(8, "length")?;
            let length = u64::from_le_bytes(length.try_into().map_err(|_| "eight bytes")?);
            records.push(checked(length as usize, "data")?);
        }
        Ok(records)
    }

    /// RFC 3720, B.4: the checksums of 32 bytes of zeros, of ones, and counting up; unmasked.
    #[test]
    fn the_checksum_is_crc32c() {
        let unmasked = |bytes: &[u8]| masked_crc32c(bytes).wrapping_sub(0xa282_ead8).rotate_left(15);
        assert_eq!(unmasked(&[0; 32]), 0x8a91_36aa);
        assert_eq!(unmasked(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(unmasked(&std::array::from_fn::<u8, 32, _>(|i| i as u8)), 0x46dd_794e);
    }

    #[test]
    fn records_read_back_and_damage_is_noticed() {
        let parts: [&[u8]; 3] = [b"", b"one", &[7; 1000]];
        let file: Vec<u8> = parts.iter().flat_map(|part| frame(part)).collect();
        assert_eq!(unframe(&file).expect("whole"), parts);
        for i in 0..file.len() {
            let mut damaged = file.clone();
            damaged[i] ^= 1;
            unframe(&damaged).expect_err("a flipped bit");
        }
        unframe(&file[..file.len() - 1]).expect_err("a lost byte");
    }
}
