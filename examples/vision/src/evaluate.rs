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

    /// The share of the images of every class that were taken for it; none for a class without images.
    pub fn by_class(&self) -> impl Iterator<Item = Option<f64>> {
        self.0.iter().enumerate().map(|(class, row)| match row.iter().sum::<usize>() {
            0 => None,
            images => Some(row[class] as f64 / images as f64),
        })
    }

    /// As a picture: a row for each class, a column for each that it was taken for.
    pub fn svg(&self, names: &[String]) -> String {
        const CELL: usize = 44;
        const MARGIN: usize = 110;
        let side = CELL * self.0.len() + MARGIN + 10;
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" font-family="sans-serif" font-size="13">"#
        );
        let middle = |class: usize| MARGIN + class * CELL + CELL / 2 + 5;
        for (class, name) in names.iter().enumerate() {
            let (at, edge, name) = (middle(class), MARGIN - 6, escaped(name));
            svg += &format!(r#"<text x="{edge}" y="{at}" text-anchor="end">{name}</text>"#);
            svg += &format!(r#"<text transform="translate({at} {edge}) rotate(-60)">{name}</text>"#);
        }
        for (class, row) in self.0.iter().enumerate() {
            let most = row.iter().sum::<usize>().max(1) as f64;
            for (taken, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                let (x, y) = (MARGIN + taken * CELL, MARGIN + class * CELL);
                let color = if class == taken { "#7aa2d6" } else { "#c84820" };
                let opacity = 0.1 + 0.9 * count as f64 / most;
                svg += &format!(
                    r#"<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{color}" opacity="{opacity:.2}"/><text x="{}" y="{}" text-anchor="middle">{count}</text>"#,
                    x + CELL / 2,
                    middle(class)
                );
            }
        }
        svg + "</svg>\n"
    }
}

/// A name as XML.
fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_is_the_share_of_the_diagonal() {
        let confusion = Confusion(vec![vec![3, 1], vec![0, 4]]);
        assert_eq!(confusion.accuracy(), 0.875);
        assert_eq!(confusion.by_class().collect::<Vec<_>>(), [Some(0.75), Some(1.0)]);
        let svg = confusion.svg(&["a & b".into(), "<c>".into()]);
        assert_eq!((svg.matches("<rect").count(), svg.matches("&amp;").count()), (3, 2));
        assert!(!svg.contains("<c>"));
    }
}
