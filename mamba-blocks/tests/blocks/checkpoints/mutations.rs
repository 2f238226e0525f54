//! Small checkpoints with random damage: an error or a model, never a panic, and no more memory than the files are worth.
//!
//! `PROPTEST_CASES` sets how many; the seeds of those that failed once are kept beside this file. `MAMBA_FUZZ_SECONDS` runs
//! all of them in turn for as long, with other seeds every time.

use super::memory::peak_of;
use super::pickles::{self, HOSTILE};
use super::{copy, folder};
use mamba_blocks::{LmState, MambaLm};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
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
    fn at(&self) -> usize {
        match *self {
            Self::Flip { at, .. }
            | Self::Cut { at }
            | Self::Remove { at, .. }
            | Self::Repeat { at, .. }
            | Self::Number { at, .. }
            | Self::Digits { at, .. }
            | Self::Token { at, .. } => at,
        }
    }

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
    let place = copy(checkpoint);
    damage_file(&place.path().join(name), damage);
    loads_or_errs(place.path())
}

fn damage_file(path: &Path, damage: &[Damage]) {
    let mut file = fs::read(path).unwrap();
    damage.iter().for_each(|damage| damage.to(&mut file));
    fs::write(path, file).unwrap();
}

fn loads_or_errs(place: &Path) -> Result<(), TestCaseError> {
    let device = crate::device(); // What it takes to start it is not counted.
    let (loaded, peak) = peak_of(|| MambaLm::from_pretrained(place, &device));
    prop_assert!(peak <= MOST_BYTES, "{peak} bytes for {:?}", loaded.err());
    if let Err(error) = loaded {
        prop_assert!(error.to_string().contains(&*place.to_string_lossy()), "{error}");
    }
    Ok(())
}

fn safetensors(damage: &[Damage]) -> Result<(), TestCaseError> {
    survives("narrow", "model.safetensors", damage)
}

/// The header alone, with the length before it that it has then: what it says is read, not only that it is no JSON.
fn safetensors_headers(damage: &[Damage]) -> Result<(), TestCaseError> {
    let place = copy("narrow");
    let path = place.path().join("model.safetensors");
    let file = fs::read(&path).unwrap();
    let end = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header = file[8..end].to_vec();
    damage.iter().for_each(|damage| damage.to(&mut header));
    fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], &header, &file[end..]].concat()).unwrap();
    loads_or_errs(place.path())
}

fn shards(damage: &[Damage]) -> Result<(), TestCaseError> {
    survives("deep_sharded", "model-00002-of-00003.safetensors", damage)
}

fn archives(damage: &[Damage]) -> Result<(), TestCaseError> {
    survives("narrow_original", "pytorch_model.bin", damage)
}

/// The pickle inside of an archive that is sound otherwise.
fn pickles_in_archives(damage: &[Damage]) -> Result<(), TestCaseError> {
    let place = copy("narrow_original");
    let path = place.path().join("pytorch_model.bin");
    let archive = pickles::with_pickle(&fs::read(&path).unwrap(), |pickle| {
        damage.iter().for_each(|damage| damage.to(pickle));
    });
    fs::write(&path, archive).unwrap();
    loads_or_errs(place.path())
}

/// Pickles that are hostile already, in an archive and without one.
fn hostile_pickles(damage: &[Damage]) -> Result<(), TestCaseError> {
    let which = damage.iter().fold(0, |sum, damage| sum ^ damage.at());
    let (_, hostile) = HOSTILE[which % HOSTILE.len()];
    let place = copy("narrow_original");
    let path = place.path().join("pytorch_model.bin");
    let mut pickle = hostile.to_vec();
    damage.iter().for_each(|damage| damage.to(&mut pickle));
    let archive = pickles::with_pickle(&fs::read(&path).unwrap(), |inside| inside.clone_from(&pickle));
    for file in [archive, pickle] {
        fs::write(&path, file).unwrap();
        loads_or_errs(place.path())?;
    }
    Ok(())
}

fn burnpacks(damage: &[Damage]) -> Result<(), TestCaseError> {
    let (device, place) = (crate::device(), tempfile::tempdir().unwrap());
    MambaLm::from_pretrained(folder("narrow"), &device).unwrap().save_burnpack(place.path()).unwrap();
    damage_file(&place.path().join("model.bpk"), damage);
    loads_or_errs(place.path())
}

fn configurations(damage: &[Damage]) -> Result<(), TestCaseError> {
    survives("narrow", "config.json", damage)?;
    survives("falcon_tied", "config.json", damage)?;
    survives("narrow_original", "config.json", damage)
}

fn indices(damage: &[Damage]) -> Result<(), TestCaseError> {
    survives("deep_sharded", "model.safetensors.index.json", damage)
}

/// A state, which is loaded into the model that it is one of.
fn states(damage: &[Damage]) -> Result<(), TestCaseError> {
    let (device, place) = (crate::device(), TempDir::new().unwrap());
    let model = MambaLm::from_pretrained(folder("narrow"), &device).unwrap();
    let path = place.path().join("state");
    model.init_state(2, &device).save(&path).unwrap();
    damage_file(&path, damage);
    let (loaded, peak) = peak_of(|| LmState::load(&path, &model));
    prop_assert!(peak <= MOST_BYTES, "{peak} bytes for {:?}", loaded.err());
    if let Err(error) = loaded {
        prop_assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
    Ok(())
}

type Target = fn(&[Damage]) -> Result<(), TestCaseError>;

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    prop::collection::vec(damage(), 1..4)
}

/// Makes a test of each target, and a list of all.
macro_rules! targets {
    ($($test:ident: $target:ident),* $(,)?) => {
        const TARGETS: &[(&str, Target)] = &[$((stringify!($target), $target)),*];

        proptest! {
            $(#[test]
            fn $test(damage in damages()) {
                $target(&damage)?;
            })*
        }
    };
}

targets! {
    damaged_safetensors: safetensors,
    damaged_safetensors_headers: safetensors_headers,
    damaged_shards: shards,
    damaged_archives: archives,
    damaged_pickles: pickles_in_archives,
    damaged_hostile_pickles: hostile_pickles,
    damaged_burnpacks: burnpacks,
    damaged_configurations: configurations,
    damaged_indices: indices,
    damaged_states: states,
}

#[test]
fn a_long_run() {
    let Some(seconds) = std::env::var("MAMBA_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()) else {
        println!("skipped: MAMBA_FUZZ_SECONDS is not set");
        return;
    };
    let (start, limit) = (Instant::now(), Duration::from_secs(seconds));
    let mut rounds = 0;
    while start.elapsed() < limit {
        for (name, target) in TARGETS {
            let mut runner =
                TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) });
            if let Err(error) = runner.run(&damages(), |damage| target(&damage)) {
                panic!("{name}: {error}");
            }
        }
        rounds += 1;
    }
    println!("{} files", rounds * 100 * TARGETS.len());
}
