//! The results of `finetune` as a table.

use serde::{Deserialize, Serialize};

use crate::finetune::Method;
use crate::metrics::{Scores, spread};

/// One training: which, and how it went on the fold that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Result {
    pub method: Method,
    pub seed: u64,
    pub fold: usize,
    pub parameters: usize,
    pub scores: Scores,
}

/// A row for each method: means over all folds and seeds, and the standard deviation of single folds.
pub fn table(results: &[Result]) -> String {
    let mut text =
        "| model | parameters | accuracy | MCC | AUROC | trainings |\n|---|---|---|---|---|---|\n".to_string();
    for method in Method::ALL {
        let of: Vec<_> = results.iter().filter(|result| result.method == method).collect();
        let Some(first) = of.first() else { continue };
        let cell = |value: fn(&Scores) -> f64| {
            let (mean, deviation) = spread(&of.iter().map(|result| value(&result.scores)).collect::<Vec<_>>());
            format!("{mean:.3} ± {deviation:.3}")
        };
        let [accuracy, mcc, auroc] = [cell(|s| s.accuracy), cell(|s| s.mcc), cell(|s| s.auroc)];
        let (name, parameters, trainings) = (method.name(), first.parameters, of.len());
        text += &format!("| {name} | {parameters} | {accuracy} | {mcc} | {auroc} | {trainings} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_mean_and_deviation() {
        let result = |accuracy| Result {
            method: Method::Kmer,
            seed: 0,
            fold: 0,
            parameters: 7,
            scores: Scores { accuracy, mcc: 0.5, auroc: 0.75 },
        };
        let text = table(&[result(0.5), result(0.7)]);
        let row = "| k-mers, logistic regression | 7 | 0.600 ± 0.141 | 0.500 ± 0.000 | 0.750 ± 0.000 | 2 |";
        assert_eq!(text.lines().nth(2), Some(row));
    }
}
