//! Published models.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use crate::{Place, nats, published};

/// A tensor of a safetensors file as f32.
fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    let words = tensor.data().as_chunks().0.iter();
    (tensor.shape().to_vec(), words.map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

#[test]
fn logits_of_published_models_are_those_of_transformers() {
    let place = Place::new();
    let ids = |name: &str| {
        let path = PathBuf::from(published(name)).join("expected.safetensors");
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let ids: Vec<_> =
            file.tensor("ids").unwrap().data().as_chunks().0.iter().map(|id| i32::from_le_bytes(*id)).collect();
        (ids.iter().map(i32::to_string).collect::<Vec<_>>().join(","), tensor(&path, "logits"))
    };
    for (model, of) in [("untied", "untied"), ("untied_original", "untied"), ("falcon", "falcon")] {
        let (ids, (shape, expected)) = ids(of);
        let model = published(model);
        let output = place.expect_success(&["logits", "--model", &model, "--ids", &ids, "--out=logits.safetensors"]);
        assert_eq!(output, "");
        let (found_shape, found) = tensor(&place.path("logits.safetensors"), "logits");
        assert_eq!(found_shape, shape);
        assert!(found.iter().zip(&expected).all(|(x, y)| (x - y).abs() <= 1e-4));
    }
    let output = place.expect_success(&["logits", "--model", &published("plain"), "--ids=3,4"]);
    assert_eq!(output.lines().count(), 2 * 11, "{output}");
    assert!(place.expect_success(&["info", "--model", &published("deep")]).contains("n_layer 6"));
}

#[test]
fn a_converted_model_is_the_same_model() {
    let place = Place::with_run();
    let original = published("narrow_original");
    place.expect_success(&["convert", "--model", &original, "--out=converted"]);
    place.expect_success(&["convert", "--model=converted", "--to=burn", "--out=burn"]);
    let ids = "--ids=1,2,3";
    let converted = place.expect_success(&["logits", "--model=converted", ids]);
    assert_eq!(converted.lines().count(), 3 * 11);
    assert_eq!(place.expect_success(&["logits", "--model=burn", ids]), converted);
    place.expect_success(&["convert", "--checkpoint=runs/language", "--out=bytes"]);
    assert!(place.expect_success(&["info", "--model=bytes"]).contains("vocab_size 256"));
    place.expect_refusal(&["convert", "--model", &original, "--out=converted"], "already holds a model");
}

#[test]
fn a_published_model_generates_and_is_measured_as_the_run_it_was_made_from() {
    let place = Place::with_run();
    place.expect_success(&["convert", "--checkpoint=runs/language", "--out=published"]);
    let generate = ["generate", "--length=20", "--seed=3"];
    let by = |what: &[&str]| place.expect_success(what);
    assert_eq!(by(&[&generate[..], &["--model=published"]].concat()), by(&generate));
    let eval = ["eval", "--file=text"];
    assert_eq!(nats(&by(&[&eval[..], &["--model=published"]].concat())), nats(&by(&eval)));
    place.expect_refusal(&["eval", "--model=published"], "--file");
    place.expect_refusal(&["generate", "--model=published", "--checkpoint=runs/language"], "--model");
}
