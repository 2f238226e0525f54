//! How often a model is right.

use burn::tensor::{Device, Tensor};
use mamba_vision::data::LabelledImages;

use crate::model::Model;

/// Images at a time.
const BATCH: usize = 250;

/// How many images of every class (first index) were taken for which (second).
pub struct Confusion(pub Vec<Vec<usize>>);

impl Confusion {
    /// What `model` takes the images of `data` for, after `prepare`.
    pub fn of(model: &Model, data: &LabelledImages, prepare: impl Fn(Tensor<4>) -> Tensor<4>, device: &Device) -> Self {
        let mut counts = vec![vec![0; data.classes()]; data.classes()];
        let all: Vec<_> = (0..data.len()).collect();
        for indices in all.chunks(BATCH) {
            let (images, _) = data.batch(indices, device);
            let taken = model.forward(prepare(images)).argmax(1).into_data();
            for (&index, taken) in indices.iter().zip(taken.iter::<i64>()) {
                counts[usize::from(data.labels()[index])][taken as usize] += 1;
            }
        }
        Self(counts)
    }

    /// The share of images that were taken for what they are.
    pub fn accuracy(&self) -> f64 {
        let right: usize = self.0.iter().enumerate().map(|(class, row)| row[class]).sum();
        right as f64 / self.0.iter().flatten().sum::<usize>() as f64
    }

    /// As a picture: a row for each class, a column for each that it was taken for.
    pub fn svg(&self) -> String {
        const CELL: usize = 44;
        let side = CELL * (self.0.len() + 1);
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" font-family="sans-serif" font-size="13" text-anchor="middle">"#
        );
        let mut text = |column: usize, row: usize, text: &str| {
            let (x, y) = (column * CELL + CELL / 2, row * CELL + CELL / 2 + 5);
            svg += &format!(r#"<text x="{x}" y="{y}">{text}</text>"#);
        };
        for class in 0..self.0.len() {
            text(class + 1, 0, &class.to_string());
            text(0, class + 1, &class.to_string());
        }
        for (class, row) in self.0.iter().enumerate() {
            let most = row.iter().sum::<usize>().max(1) as f64;
            for (taken, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                let (x, y) = ((taken + 1) * CELL, (class + 1) * CELL);
                let color = if class == taken { "#7aa2d6" } else { "#c84820" };
                let opacity = 0.1 + 0.9 * count as f64 / most;
                svg += &format!(
                    r#"<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{color}" opacity="{opacity:.2}"/><text x="{}" y="{}">{count}</text>"#,
                    x + CELL / 2,
                    y + CELL / 2 + 5
                );
            }
        }
        svg + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_is_the_share_of_the_diagonal() {
        let confusion = Confusion(vec![vec![3, 1], vec![0, 4]]);
        assert_eq!(confusion.accuracy(), 0.875);
        assert_eq!(confusion.svg().matches("<rect").count(), 3);
    }
}
