//! Boxes that a detector has missed.

use super::{BoundingBox, MotionPredictor};
use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

/// Why a track cannot be filled.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TrackError {
    /// There is nothing to go on from.
    #[error("the first frame of the track has no box, expected one to go on from")]
    NoStart,
    /// A box is none.
    #[error("the box of frame {frame} is {found:?}, expected numbers and sides of more than 0")]
    Box {
        /// Which frame, from 0.
        frame: usize,
        /// The box.
        found: BoundingBox,
    },
}

impl MotionPredictor {
    /// The boxes of a track, those that are missing predicted one after the other, each from the boxes before it,
    /// predicted ones among them. Before the first box, it is taken to have stood still.
    ///
    /// A predicted side does not fall below a hundredth of what it was: a box has an area.
    ///
    /// # Errors
    /// [`TrackError`] if the first box is missing, or one is not valid.
    pub fn fill(&self, track: &[Option<BoundingBox>], device: &Device) -> Result<Vec<BoundingBox>, TrackError> {
        let mut filled: Vec<BoundingBox> = Vec::with_capacity(track.len());
        for (frame, found) in track.iter().enumerate() {
            let next = match found {
                Some(found) if found.is_valid() => *found,
                Some(found) => return Err(TrackError::Box { frame, found: *found }),
                None => self.next(&filled, device).ok_or(TrackError::NoStart)?,
            };
            filled.push(next);
        }
        Ok(filled)
    }

    /// The box behind those of a track; none if there are none.
    pub fn next(&self, track: &[BoundingBox], device: &Device) -> Option<BoundingBox> {
        let (first, last) = (track.first()?, track.last()?);
        let missing = self.history.saturating_sub(track.len());
        let known = &track[track.len().saturating_sub(self.history)..];
        let boxes = std::iter::repeat_n(first, missing).chain(known).flat_map(|found| found.to_array());
        let boxes = TensorData::new(boxes.collect(), [1, self.history, 4]);
        let mut next = self.forward(Tensor::from_data(boxes, device)).into_data().iter::<f32>().collect::<Vec<_>>();
        for (side, before) in next[2..].iter_mut().zip([last.w, last.h]) {
            *side = side.max(0.01 * before);
        }
        Some(BoundingBox { cx: next[0], cy: next[1], w: next[2], h: next[3] })
    }
}
