//! Genomics models on selective state spaces for Burn, with exact reverse-complement symmetry.
//!
//! | module | source | what it is |
//! |---|---|---|
//! | [`tokens`] | Schiff et al. 2024 | one token for each nucleotide, and its complement |
//! | [`data`] | | FASTA and FASTQ files of any size, intervals, references, embeddings |
//! | [`BiMamba`] | Schiff et al. 2024, section 3.1 | a Mamba mixer that reads from both ends |
//! | [`rcps`] | Zhou et al. 2022; Schiff et al. 2024, section 3.2 | layers that commute with the reverse complement |
//! | [`Caduceus`] | Schiff et al. 2024 | the masked language model, in its PS and Ph forms, and its heads |
//! | [`MambaDna`] | Gu & Dao 2023, section 4.3 | the causal language model |
//! | [`objective`] | | masked and causal language modelling |
//! | [`variant_scores`] | | how much likelier one allele is than another |
//!
//! [`CaduceusMaskedLm::from_pretrained`] loads published checkpoints. Blocks take any [`Mixer`].
//!
//! ```
//! use burn::tensor::Device;
//! use mamba_dna::{CaduceusConfig, rcps::reverse_complement, tokens};
//!
//! let device = Device::default();
//! let model = CaduceusConfig::new(16, 2).try_init_masked_lm(&device)?;
//! let dna = tokens::to_tensor(&[tokens::encode("GATTACA").unwrap()], &device);
//!
//! // What is said of one strand is what is said of the other: its logits, from the end, for the complements.
//! let logits = model.forward(dna.clone()).narrow(2, 7, 4);
//! let other = model.forward(reverse_complement(dna)).narrow(2, 7, 4);
//! assert_eq!(other.flip([1, 2]).into_data(), logits.into_data());
//! # Ok::<(), mamba_blocks::ConfigError>(())
//! ```

mod bimamba;
mod caduceus;
pub mod data;
mod heads;
mod mamba_dna;
mod mixer;
pub mod objective;
pub mod rcps;
pub mod tokens;

pub use bimamba::{BiMamba, BiMambaConfig, Combine, Reverse};
pub use caduceus::{Caduceus, CaduceusBlock, CaduceusConfig, CaduceusMaskedLm};
pub use heads::{AlleleModel, CaduceusClassifier, CaduceusTracks, Pooling, VariantWindow, variant_scores};
pub use mamba_dna::MambaDna;
pub use mixer::Mixer;
