//! Checksums as people write them.

use regrip_core::hasher::Hasher;
use regrip_core::{Algorithm, Checksum};

#[test]
fn a_checksum_is_written_as_its_algorithm_and_its_digits() {
    let hex = |digits: usize| "aB".repeat(digits / 2);
    for (typed, expected) in [
        (format!("sha256:{}", hex(64)), Some(Algorithm::Sha256)),
        (hex(64), Some(Algorithm::Sha256)),
        (format!("SHA-512:{}", hex(128)), Some(Algorithm::Sha512)),
        (format!("sha1:{}", hex(40)), Some(Algorithm::Sha1)),
        (format!("md5:{}", hex(32)), Some(Algorithm::Md5)),
        (hex(40), None),
        (hex(128), None),
        (String::new(), None),
        (format!("sha256:{}", hex(62)), None),
        (format!("sha256:{}", hex(66)), None),
        (format!("sha256: {}", hex(64)), None),
        (format!("sha256:{}g", &hex(64)[1..]), None),
        (format!("sha3:{}", hex(64)), None),
        (format!(":{}", hex(64)), None),
    ] {
        let read = typed.parse::<Checksum>();
        let algorithm = read.as_ref().ok().map(|checksum| checksum.algorithm);
        assert_eq!(algorithm, expected, "{typed}");
        if let Ok(checksum) = read {
            assert_eq!(checksum.hex, checksum.hex.to_ascii_lowercase());
            assert_eq!(checksum.to_string().parse(), Ok(checksum));
        }
    }
}

#[test]
fn what_is_wrong_with_a_checksum_is_named_and_not_repeated() {
    for (typed, error) in [
        (
            "secret",
            "a string of 6 characters, expected ALGORITHM:HEX (sha256, sha512, sha1 or md5), or the 64 hexadecimal digits of a SHA-256",
        ),
        ("crc32:00112233", "the algorithm is a string of 5 characters, expected sha256, sha512, sha1 or md5"),
        ("md5:secret", "the md5 is a string of 6 characters, expected 32 hexadecimal digits"),
    ] {
        let found = typed.parse::<Checksum>().unwrap_err();
        assert_eq!(found.to_string(), error, "{typed}");
    }
}

#[test]
fn every_algorithm_has_the_digest_of_its_standard() {
    let rows = Algorithm::ALL.map(|algorithm| Hasher::of(algorithm, b"abc").to_string());
    assert_eq!(
        rows,
        [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "sha1:a9993e364706816aba3e25717850c26c9cd0d89d",
            "md5:900150983cd24fb0d6963f7d28e17f72",
        ]
    );
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
        assert_eq!(Hasher::of(algorithm, b"").hex.len(), 2 * algorithm.digest_bytes());
    }
}
