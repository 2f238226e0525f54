//! Prompts of different lengths, read as one batch.

use super::state::Parked;
use super::{LmOptions, LmState, MambaLm};
use crate::error::GenerationError;
use burn::tensor::{Bool, Int, Tensor, TensorData};
use std::ops::Range;

/// Tokens of each prompt that are read at once: memory on the device does not grow with the prompt.
const PIECE: usize = 2048;

/// The prompts of a batch, one for each row; their lengths may differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompts {
    pub(super) rows: Vec<Vec<i64>>,
}

impl Prompts {
    /// One prompt for each element of `rows`.
    pub fn new<R: AsRef<[u32]>>(rows: impl IntoIterator<Item = R>) -> Self {
        let row = |row: R| row.as_ref().iter().map(|&token| i64::from(token)).collect();
        Self { rows: rows.into_iter().map(row).collect() }
    }

    /// Number of prompts.
    pub fn batch(&self) -> usize {
        self.rows.len()
    }

    fn longest(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// An error unless there are prompts of at least one token each, all of the vocabulary.
    pub(super) fn check(&self, vocab_size: usize) -> Result<(), GenerationError> {
        if self.rows.is_empty() || self.rows.iter().any(Vec::is_empty) {
            let length = self.rows.iter().map(Vec::len).min().unwrap_or(0);
            return Err(GenerationError::EmptyPrompt { batch: self.batch(), length });
        }
        for (row, tokens) in self.rows.iter().enumerate() {
            let unknown = |token: &i64| !(0..vocab_size as i64).contains(token);
            if let Some(position) = tokens.iter().position(unknown) {
                return Err(GenerationError::PromptToken { row, position, token: tokens[position], vocab_size });
            }
        }
        Ok(())
    }
}

/// Prompts of equal length: `[batch, length]`. Waits for the device.
impl From<Tensor<2, Int>> for Prompts {
    fn from(tokens: Tensor<2, Int>) -> Self {
        let [batch, length] = tokens.dims();
        let tokens: Vec<i64> = tokens.into_data().iter().collect();
        let row = |row: usize| tokens[row * length..(row + 1) * length].to_vec();
        Self { rows: (0..batch).map(row).collect() }
    }
}

impl MambaLm {
    /// The logits after the last token of a prompt `[batch, length]`, `[batch, padded_vocab]`, and the state there.
    ///
    /// The prompt is read in pieces, so that memory does not grow with it.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn prefill(&self, prompt: Tensor<2, Int>) -> (Tensor<2>, LmState) {
        let mut pieces = prompt.split(PIECE, 1).into_iter();
        let first = self.last(pieces.next().expect("the prompt has at least one token"), LmOptions::new());
        pieces.fold(first, |(_, state), piece| self.last(piece, LmOptions::new().with_state(state)))
    }

    /// Reads prompts of any lengths, from `state` or from the start; returns the logits after the last token of each,
    /// `[batch, padded_vocab]`, and the state there. Every row gets what it would get alone.
    ///
    /// From the start, shorter prompts are padded on the left, and convolution and scan are reset at the first token of
    /// each (this masks the padding before and after the convolution). From a state, which a reset would clear, rows
    /// are read together as far as the shortest goes, then those that go on. Memory does not grow with the prompts.
    ///
    /// # Errors
    /// [`GenerationError`] if a prompt is empty, a token not in the vocabulary, or the state not one of this model for
    /// this number of prompts.
    pub fn read(&self, prompts: &Prompts, state: Option<LmState>) -> Result<(Tensor<2>, LmState), GenerationError> {
        self.read_with(prompts, state, |_| {})
    }

    /// As [`read`](Self::read); `progress` gets how many tokens of the longest prompt have gone through the model, again
    /// and again.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with(
        &self,
        prompts: &Prompts,
        state: Option<LmState>,
        mut progress: impl FnMut(usize),
    ) -> Result<(Tensor<2>, LmState), GenerationError> {
        prompts.check(self.vocab_size)?;
        match state {
            Some(state) => {
                state.check(self, prompts.batch())?;
                Ok(self.read_from(prompts, state, &mut progress))
            }
            None => Ok(self.read_padded(prompts, &mut progress)),
        }
    }

    fn read_padded(&self, prompts: &Prompts, progress: &mut impl FnMut(usize)) -> (Tensor<2>, LmState) {
        let device = self.embedding.weight.device();
        let length = prompts.longest();
        let starts: Vec<usize> = prompts.rows.iter().map(|row| length - row.len()).collect();
        let mut state = None;
        for piece in pieces(0..length) {
            let padded = |row: usize, at: usize| at.checked_sub(starts[row]).map_or(0, |at| prompts.rows[row][at]);
            let tokens = table(&piece, starts.len(), padded);
            let mut options = LmOptions::new();
            if starts.iter().any(|start| *start > 0 && piece.contains(start)) {
                let reset = table(&piece, starts.len(), |row, at| at == starts[row]);
                options = options.with_reset(Tensor::<2, Bool>::from_data(reset, &device));
            }
            if let Some(state) = state.take() {
                options = options.with_state(state);
            }
            let (logits, next) = self.last(Tensor::from_data(tokens, &device), options);
            progress(piece.end);
            if piece.end == length {
                return (logits, next);
            }
            state = Some(next);
        }
        unreachable!("a prompt has at least one token")
    }

    fn read_from(
        &self,
        prompts: &Prompts,
        mut state: LmState,
        progress: &mut impl FnMut(usize),
    ) -> (Tensor<2>, LmState) {
        let device = self.embedding.weight.device();
        let mut active: Vec<usize> = (0..prompts.batch()).collect();
        let mut ends: Vec<usize> = prompts.rows.iter().map(Vec::len).collect();
        ends.sort_unstable();
        ends.dedup();
        let (mut parked, mut start) = (Parked::default(), 0);
        for end in ends {
            let pieces = pieces(start..end).map(|piece| {
                let tokens = table(&piece, active.len(), |row, at| prompts.rows[active[row]][at]);
                (Tensor::from_data(tokens, &device), piece.end)
            });
            let (mut logits, mut next) = (None, state);
            for (tokens, read) in pieces {
                let (last, state) = self.last(tokens, LmOptions::new().with_state(next));
                (logits, next) = (Some(last), state);
                progress(read);
            }
            let logits = logits.expect("the lengths differ");
            let ended = |row: usize| prompts.rows[row].len() == end;
            let Some(left) = parked.park(&mut active, ended, logits, next) else { break };
            (state, start) = (left, end);
        }
        parked.gather()
    }

    /// As [`forward_with`](Self::forward_with), the logits of the last token only.
    fn last(&self, tokens: Tensor<2, Int>, options: LmOptions) -> (Tensor<2>, LmState) {
        let (hidden, state) = self.hidden(tokens, options);
        let [_, length, _] = hidden.dims();
        (self.head(hidden.narrow(1, length - 1, 1)).squeeze_dim(1), state)
    }
}

fn pieces(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(PIECE).map(move |start| start..end.min(start + PIECE))
}

/// `[rows, positions]`.
fn table<E: burn::tensor::Element>(piece: &Range<usize>, rows: usize, entry: impl Fn(usize, usize) -> E) -> TensorData {
    let entries = (0..rows).flat_map(|row| piece.clone().map(move |at| (row, at)));
    TensorData::new(entries.map(|(row, at)| entry(row, at)).collect(), [rows, piece.len()])
}
