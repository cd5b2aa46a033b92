//! Each thing that can be wrong with a header is told, and costs no memory.

use crate::fixture;
use polytask_gguf::Gguf;

/// A file, byte by byte.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// The beginning of a file with so many tensors and keys.
    fn file(tensors: u64, keys: u64) -> Self {
        Bytes(b"GGUF".to_vec()).u32(3).u64(tensors).u64(keys)
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        let mut all = self.u64(text.len() as u64);
        all.0.extend(text.as_bytes());
        all
    }

    /// The entry of a tensor.
    fn tensor(self, name: &str, sizes: &[u64], kind: u32, offset: u64) -> Self {
        let mut all = self.text(name).u32(u32::try_from(sizes.len()).unwrap());
        for size in sizes {
            all = all.u64(*size);
        }
        all.u32(kind).u64(offset)
    }

    /// Filled up to a multiple of 32 and then by so many bytes.
    fn data(mut self, bytes: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(32) + bytes, 0);
        self
    }

    fn open(&self) -> Result<Gguf, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        std::fs::write(&path, &self.0).unwrap();
        Gguf::open(&path).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(&self, reason: &str) {
        let error = self.open().expect_err(reason);
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_sound_file_is_read() {
    let file = Bytes::file(1, 1).text("general.alignment").u32(4).u32(32).tensor("a", &[2, 3], 0, 0).data(24);
    assert_eq!(file.open().unwrap().tensors()["a"].shape, [3, 2]);
}

#[test]
fn beginnings() {
    Bytes(b"GGUF".to_vec()).refused("found 4 bytes, expected at least 24");
    Bytes(b"version https://git-lfs.github.com/spec/v1".to_vec()).refused("git lfs pull");
    Bytes(b"PK".repeat(20)).refused("found the first bytes \"PKPK\", expected \"GGUF\"");
    Bytes(b"GGUF".to_vec()).u32(1).u64(0).u64(0).refused("found version 1 of the format, expected 2 or 3");
    Bytes(b"GGUF".to_vec()).u32(3u32.swap_bytes()).u64(0).u64(0).refused("byte order big endian");
}

#[test]
fn counts() {
    Bytes::file(u64::MAX, 0).refused("it claims 18446744073709551615 tensors, and 0 bytes follow");
    Bytes::file(0, 1 << 40).refused("it claims 1099511627776 keys, and 0 bytes follow");
    let array = |kind, count| Bytes::file(0, 1).text("key").u32(9).u32(kind).u64(count);
    array(8, 1 << 50).refused("it claims 1125899906842624 key, and 0 bytes follow");
    array(0, 1 << 50).refused("it claims 1125899906842624 key, and 0 bytes follow");
    array(10, u64::MAX / 4).refused("and 0 bytes follow");
}

#[test]
fn keys_and_values() {
    Bytes::file(0, 1).u64(1 << 60).u64(0).refused("a key claims 1152921504606846976 bytes");
    Bytes::file(0, 1).text("key").u32(8).u64(100).refused("key claims 100 bytes");
    Bytes::file(0, 1)
        .text("key")
        .u32(10)
        .u32(0)
        .refused("cut off: at byte 39 8 bytes are needed, and 4 follow");
    Bytes::file(0, 1).text("key").u32(13).u32(0).refused("key: found the type number 13");
    Bytes::file(0, 1).text("key").u32(9).u32(9).u64(0).refused("key: found an array of arrays");
    Bytes::file(0, 1).text("key").u32(9).u32(77).u64(0).refused("key: found the type number 77");
    let mut truth = Bytes::file(0, 1).text("key").u32(7);
    truth.0.push(2);
    truth.refused("key: found the truth value 2, expected 0 or 1");
    let pair = |bytes: Bytes| bytes.text("key").u32(4).u32(1);
    pair(pair(Bytes::file(0, 2))).refused("found the key key twice");
    let mut no_text = Bytes::file(0, 1).u64(2);
    no_text.0.extend([0xff, 0xfe, 0, 0, 0, 0, 0, 0]);
    no_text.refused("a key is not UTF-8");
    let alignment = |n| Bytes::file(0, 1).text("general.alignment").u32(4).u32(n);
    alignment(0).refused("general.alignment: found Unsigned(0), expected a power of two");
    alignment(48).refused("general.alignment: found Unsigned(48), expected a power of two");
}

#[test]
fn tensors() {
    let one = |sizes: &[u64], kind, offset| Bytes::file(1, 0).tensor("a", sizes, kind, offset).data(64);
    one(&[16], 0, 0).open().unwrap();
    one(&[], 0, 0).refused("a: found 0 dimensions, expected 1 to 4");
    one(&[1; 5], 0, 0).refused("a: found 5 dimensions, expected 1 to 4");
    one(&[0], 0, 0).refused("a: found the dimensions [0], expected sizes from 1 on");
    one(&[1 << 40, 1 << 40], 0, 0).refused("a: found the dimensions [1099511627776, 1099511627776]");
    one(&[u64::MAX], 0, 0).refused("expected sizes from 1 on");
    one(&[16], 99, 0).refused("a: found the type number 99");
    one(&[16], 8, 0).refused("a: found rows of 16 numbers of type Q8_0, expected a multiple of 32");
    one(&[17], 0, 0).refused("a: it has 68 bytes from 64 on, and the file ends at 128");
    one(&[16], 0, 32).refused("a: it has 64 bytes from 96 on, and the file ends at 128");
    one(&[16], 0, 8).refused("a: its offset 8 is no multiple of 32");
    one(&[16], 0, u64::MAX - 31).refused("and the file ends at 128");
    let two = |names: [&str; 2], second| {
        let file = Bytes::file(2, 0).tensor(names[0], &[8], 0, 0).tensor(names[1], &[8], 0, second);
        file.data(64)
    };
    two(["a", "b"], 32).open().unwrap();
    two(["a", "b"], 0).refused("a and b share bytes");
    two(["a", "a"], 32).refused("found the tensor a twice");
    let long = "n".repeat(129);
    Bytes::file(1, 0).tensor(&long, &[1], 0, 0).data(32).refused("a tensor's name claims 129 bytes");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = std::fs::read(fixture("quants.gguf")).unwrap();
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        assert!(Bytes(whole[..length].to_vec()).open().is_err(), "{length}");
    }
}

#[test]
fn a_changed_byte_never_panics() {
    let whole = std::fs::read(fixture("quants.gguf")).unwrap();
    let header = 1600.min(whole.len());
    for at in (0..header).step_by(11) {
        for byte in [0, 1, 127, 255] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            let Ok(file) = Bytes(bytes).open() else { continue };
            assert!(file.tensors().len() <= 14);
        }
    }
}
