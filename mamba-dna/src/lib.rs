//! Genomics models on selective state spaces for Burn. The models follow; see the changelog.
