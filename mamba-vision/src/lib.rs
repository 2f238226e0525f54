//! Two-dimensional selective scans and vision models for Burn. The models follow; see the changelog.
