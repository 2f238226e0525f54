//! Mamba layers and language models for Burn.
//!
//! | module | source | what it is |
//! |---|---|---|
//! | [`Mamba`] | Gu & Dao 2023, figure 3 | the Mamba-1 mixer: projections around one selective scan |
//! | [`MambaBlock`] | Gu & Dao 2023, section 3.4 | the pre-norm residual block around a mixer |
//! | [`MambaLm`] | Gu & Dao 2023, section 4.2 | embedding, blocks, final norm, tied head; generates text |
//! | [`Companion`] | Zhang et al. 2023, section 3 | SpaceTime's time-invariant layer with a companion matrix |
//! | [`LoraConfig`] | Hu et al. 2021 | adapters of low rank beside the projections |
//! | [`parts`] | | projections that other mixers are made of as well |
//! | [`optim`] | their published code | which parameters get no weight decay; data parallelism |
//!
//! [`MambaLm::from_pretrained`] loads published checkpoints.
//!
//! Every layer is built as Burn's own are, `XConfig::new(..).with_..(..).init(&device)`, and takes part in any module.
//! Parameters have the names of the original implementation.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use mamba_blocks::MambaConfig;
//!
//! let device = Device::default();
//! let mamba = MambaConfig::new(16).init(&device);
//! let x = Tensor::<3>::random([2, 10, 16], Distribution::Default, &device);
//!
//! let whole = mamba.forward(x.clone());
//! // Token by token, with a state of fixed size, gives the same.
//! let mut state = mamba.init_state(2, &device);
//! for t in 0..10 {
//!     let (y, next) = mamba.step(x.clone().narrow(1, t, 1).squeeze_dim(1), state);
//!     let expected = whole.clone().narrow(1, t, 1).squeeze_dim(1);
//!     assert!((y - expected).abs().max().into_scalar::<f32>() < 1e-5);
//!     state = next;
//! }
//! ```

mod block;
mod checkpoint;
mod companion;
mod error;
mod lm;
mod lora;
mod mamba;
pub mod optim;
pub mod parts;

pub use block::{MambaBlock, MambaBlockConfig};
pub use checkpoint::{
    CheckpointError, LoadOptions, ModuleLayout, TensorProblem, TensorProblems, load_file, load_module, read_config,
    save_module, tensor_shapes,
};
#[cfg(feature = "hub")]
pub use checkpoint::{HubError, fetch_from_hub, is_hub_name};
pub use companion::{Companion, CompanionConfig};
pub use error::{ConfigError, GenerationError, PackError, StateError};
pub use lm::{
    BeamConfig, BeamOutput, Decoder, Draw, EarlyStopping, Generated, GenerationConfig, LmOptions, LmState, MambaLm,
    MambaLmConfig, Packed, Prompts, Sampling,
};
pub use lora::{LoraConfig, LoraError, LoraTarget, lora_parameters};
pub use mamba::{
    DtInit, LongContext, LongContextConfig, Mamba, MambaConfig, MambaOptions, MambaState, TokenFilterConfig,
};
// What the options of a mixer are made of.
pub use mamba_core::{Direction, OrderError, ScanOrder};
