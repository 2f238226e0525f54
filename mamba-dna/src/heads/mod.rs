//! What a model says of a sequence, of each of its nucleotides, and of a change in it.

mod classifier;
mod tracks;
mod variant;

pub use classifier::{CaduceusClassifier, Pooling};
pub use tracks::CaduceusTracks;
pub use variant::{AlleleModel, VariantWindow, variant_scores};
