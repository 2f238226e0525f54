//! What a run measured: one JSON line for each step.

use serde::{Deserialize, Serialize};

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps done, this one included.
    pub step: usize,
    /// Loss of the batch, in nats per byte.
    pub train: f32,
    /// Loss on the validation part after this step, in nats per byte, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<f32>,
    /// Learning rate of this step.
    pub lr: f32,
    /// Seconds of the run so far, validation included.
    pub seconds: f64,
}

/// The records as JSON lines.
pub fn to_lines(history: &[Record]) -> serde_json::Result<String> {
    history.iter().map(|record| serde_json::to_string(record).map(|line| line + "\n")).collect()
}

/// The inverse of [`to_lines`].
pub fn from_lines(lines: &str) -> serde_json::Result<Vec<Record>> {
    lines.lines().map(serde_json::from_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_back() {
        let record = Record { step: 1, train: 5.5, validation: None, lr: 0.1, seconds: 0.5 };
        let history = vec![record.clone(), Record { step: 2, validation: Some(5.25), ..record }];
        let lines = to_lines(&history).unwrap();
        assert_eq!(lines.lines().count(), 2);
        assert_eq!(from_lines(&lines).unwrap(), history);
    }
}
