//! How well classes are told.

use serde::{Deserialize, Serialize};

/// What a classifier said of sequences.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// The class of each.
    pub labels: Vec<usize>,
    /// The probabilities of the classes for each.
    pub probabilities: Vec<Vec<f32>>,
}

/// Three measures of a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Share of the sequences that were told right.
    pub accuracy: f64,
    /// Matthews' correlation coefficient, for any number of classes (Gorodkin 2004).
    pub mcc: f64,
    /// Area under the receiver operating characteristic; with more than two classes, the mean of each against the rest.
    pub auroc: f64,
}

impl Predictions {
    pub fn scores(&self) -> Scores {
        let told: Vec<_> = self.probabilities.iter().map(|row| largest(row)).collect();
        let classes = self.probabilities.first().map_or(0, Vec::len);
        let right = told.iter().zip(&self.labels).filter(|(told, label)| told == label).count();
        let of: Vec<_> = (0..classes).filter_map(|class| self.auroc(class)).collect();
        let auroc = match classes {
            2 => self.auroc(1).unwrap_or(f64::NAN),
            _ => of.iter().sum::<f64>() / of.len() as f64,
        };
        Scores { accuracy: right as f64 / self.labels.len() as f64, mcc: mcc(&self.labels, &told, classes), auroc }
    }

    /// How often one of `class` gets a larger probability for it than another one; ties count half.
    fn auroc(&self, class: usize) -> Option<f64> {
        let mut ranked: Vec<_> =
            self.probabilities.iter().zip(&self.labels).map(|(row, label)| (row[class], *label == class)).collect();
        ranked.sort_by(|left, right| left.0.total_cmp(&right.0));
        let positive = ranked.iter().filter(|(_, is_class)| *is_class).count() as f64;
        let negative = ranked.len() as f64 - positive;
        let (mut below, mut area) = (0.0, 0.0);
        for ties in ranked.chunk_by(|left, right| left.0 == right.0) {
            let of_class = ties.iter().filter(|(_, is_class)| *is_class).count() as f64;
            let others = ties.len() as f64 - of_class;
            area += of_class * (below + others / 2.0);
            below += others;
        }
        (positive > 0.0 && negative > 0.0).then(|| area / (positive * negative))
    }
}

fn largest(row: &[f32]) -> usize {
    row.iter().enumerate().max_by(|left, right| left.1.total_cmp(right.1)).map_or(0, |(class, _)| class)
}

fn mcc(labels: &[usize], told: &[usize], classes: usize) -> f64 {
    let count = |values: &[usize], class| values.iter().filter(|value| **value == class).count() as f64;
    let all = labels.len() as f64;
    let right = labels.iter().zip(told).filter(|(label, told)| label == told).count() as f64;
    let sum = |of: &dyn Fn(usize) -> f64| (0..classes).map(of).sum::<f64>();
    let both = sum(&|class| count(labels, class) * count(told, class));
    let told_square = sum(&|class| count(told, class).powi(2));
    let label_square = sum(&|class| count(labels, class).powi(2));
    let scale = ((all * all - told_square) * (all * all - label_square)).sqrt();
    if scale == 0.0 { 0.0 } else { (right * all - both) / scale }
}

/// Mean and standard deviation of some values.
pub fn spread(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (values.len().max(2) - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(labels: &[usize], of_one: &[f32]) -> Scores {
        let probabilities = of_one.iter().map(|p| vec![1.0 - p, *p]).collect();
        Predictions { labels: labels.to_vec(), probabilities }.scores()
    }

    #[test]
    fn measures_of_two_classes() {
        // By hand: of 9 pairs, 7 are in order and one is a tie.
        let found = scores(&[0, 0, 1, 1, 1, 0], &[0.1, 0.6, 0.35, 0.8, 0.6, 0.2]);
        assert!((found.accuracy - 4.0 / 6.0).abs() < 1e-12);
        assert!((found.mcc - 1.0 / 3.0).abs() < 1e-12);
        assert!((found.auroc - 7.5 / 9.0).abs() < 1e-12);
        assert_eq!(scores(&[0, 1], &[0.0, 1.0]), Scores { accuracy: 1.0, mcc: 1.0, auroc: 1.0 });
        assert_eq!(scores(&[0, 1], &[0.2, 0.2]), Scores { accuracy: 0.5, mcc: 0.0, auroc: 0.5 });
    }

    #[test]
    fn the_correlation_of_three_classes() {
        let (labels, told) = ([0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 2, 0]);
        // By hand: (24 - 12) / sqrt((36 - 14) (36 - 12)).
        assert!((mcc(&labels, &told, 3) - 0.522_232_967_867_094).abs() < 1e-12, "{}", mcc(&labels, &told, 3));
    }

    #[test]
    fn the_spread_is_that_of_a_sample() {
        let (mean, deviation) = spread(&[1.0, 2.0, 3.0]);
        assert_eq!((mean, deviation), (2.0, 1.0));
    }
}
