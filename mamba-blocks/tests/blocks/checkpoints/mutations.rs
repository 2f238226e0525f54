//! Small checkpoints with random damage: an error or a model, never a panic, and no more memory than the files are worth.
//!
//! `PROPTEST_CASES` sets how many; the seeds of those that failed once are kept beside this file.

use super::memory::peak_of;
use super::{copy, folder};
use mamba_blocks::MambaLm;
use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

/// Ten times what loading the undamaged files takes.
const MOST_BYTES: usize = 4_000_000;

#[derive(Clone, Debug)]
enum Damage {
    Flip {
        at: usize,
        bit: u8,
    },
    Cut {
        at: usize,
    },
    Remove {
        at: usize,
        bytes: usize,
    },
    Repeat {
        at: usize,
        bytes: usize,
    },
    /// A length, an offset, a size.
    Number {
        at: usize,
        value: u64,
    },
    /// The digits of a number in JSON.
    Digits {
        at: usize,
        value: u64,
    },
    Token {
        at: usize,
        token: &'static str,
    },
}

const TOKENS: [&str; 12] = ["null", "[]", "{}", "\"", "-1", "1e999", "F32", "BF16", "I64", "[[[[", "../", "auto"];

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<usize>();
    let bytes = 1..64_usize;
    let value = prop_oneof![
        any::<u64>(),
        0..16_u64,
        Just(u64::MAX),
        Just(i64::MAX as u64),
        Just(u64::from(u32::MAX)),
        (0..63_u32).prop_map(|bits| 1 << bits),
    ];
    prop_oneof![
        (at, 0..8_u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        at.prop_map(|at| Damage::Cut { at }),
        (at, bytes.clone()).prop_map(|(at, bytes)| Damage::Remove { at, bytes }),
        (at, bytes).prop_map(|(at, bytes)| Damage::Repeat { at, bytes }),
        (at, value.clone()).prop_map(|(at, value)| Damage::Number { at, value }),
        (at, value).prop_map(|(at, value)| Damage::Digits { at, value }),
        (at, prop::sample::select(TOKENS.to_vec())).prop_map(|(at, token)| Damage::Token { at, token }),
    ]
}

impl Damage {
    fn to(&self, file: &mut Vec<u8>) {
        if file.is_empty() {
            return;
        }
        // Half of the places are in the first part, where headers are.
        let place = |at: usize| if at.is_multiple_of(2) { at % file.len() } else { at % file.len().min(400) };
        match *self {
            Self::Flip { at, bit } => {
                let at = place(at);
                file[at] ^= 1 << bit;
            }
            Self::Cut { at } => file.truncate(at % file.len()),
            Self::Remove { at, bytes } => {
                let at = place(at);
                file.drain(at..file.len().min(at + bytes));
            }
            Self::Repeat { at, bytes } => {
                let at = place(at);
                let again = file[at..file.len().min(at + bytes)].to_vec();
                file.splice(at..at, again);
            }
            Self::Number { at, value } => {
                let at = place(at);
                let end = file.len().min(at + 8);
                file[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            Self::Digits { at, value } => {
                let at = place(at);
                let Some(start) = file[at..].iter().position(u8::is_ascii_digit) else { return };
                let start = at + start;
                let length = file[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                file.splice(start..start + length, value.to_string().into_bytes());
            }
            Self::Token { at, token } => {
                let at = place(at);
                file.splice(at..at, token.bytes());
            }
        }
    }
}

/// Loads a copy of `checkpoint` with its file `name` damaged.
fn survives(checkpoint: &str, name: &str, damage: &[Damage]) -> Result<(), TestCaseError> {
    survives_in(&copy(checkpoint), name, damage)
}

fn survives_in(place: &TempDir, name: &str, damage: &[Damage]) -> Result<(), TestCaseError> {
    let path = place.path().join(name);
    let mut file = fs::read(&path).unwrap();
    damage.iter().for_each(|damage| damage.to(&mut file));
    fs::write(&path, file).unwrap();

    let device = crate::device();
    crate::finish(&device); // What it takes to start it is not counted.
    let (loaded, peak) = peak_of(|| MambaLm::from_pretrained(place.path(), &device));
    prop_assert!(peak <= MOST_BYTES, "{peak} bytes for {:?}", loaded.err());
    if let Err(error) = loaded {
        prop_assert!(error.to_string().contains(&*place.path().to_string_lossy()), "{error}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn damaged_safetensors(damage in prop::collection::vec(damage(), 1..4)) {
        survives("narrow", "model.safetensors", &damage)?;
    }

    #[test]
    fn damaged_pickles(damage in prop::collection::vec(damage(), 1..4)) {
        survives("narrow_original", "pytorch_model.bin", &damage)?;
    }

    #[test]
    fn damaged_burnpacks(damage in prop::collection::vec(damage(), 1..4)) {
        let (device, place) = (crate::device(), tempfile::tempdir().unwrap());
        MambaLm::from_pretrained(folder("narrow"), &device).unwrap().save_burnpack(place.path()).unwrap();
        survives_in(&place, "model.bpk", &damage)?;
    }

    #[test]
    fn damaged_configurations(damage in prop::collection::vec(damage(), 1..4)) {
        survives("narrow", "config.json", &damage)?;
        survives("narrow_original", "config.json", &damage)?;
    }

    #[test]
    fn damaged_indices(damage in prop::collection::vec(damage(), 1..4)) {
        survives("deep_sharded", "model.safetensors.index.json", &damage)?;
    }
}
