//! The values of the original implementations in `fixtures/`, with all gradients.

use crate::arrays::{Array, Arrays, assert_within};
use crate::case::{Case, Operator};
use crate::devices::TestDevice;
use burn::tensor::DType;
use safetensors::SafeTensors;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Of an entry; the absolute part is multiplied by the largest entry, which is what rounding in sums scales with.
const BOUND: (f64, f64) = (1e-5, 1e-5);

struct Fixture {
    name: String,
    arrays: Arrays,
    metadata: HashMap<String, String>,
}

impl Fixture {
    fn read(name: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors file");
        let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let array = |(name, view): (&str, safetensors::tensor::TensorView)| {
            assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
            let number = |bytes: &[u8; 4]| f64::from(f32::from_le_bytes(*bytes));
            let (numbers, _) = view.data().as_chunks::<4>();
            (name.to_string(), Array::new(view.shape(), numbers.iter().map(number).collect()))
        };
        let arrays = tensors.iter().map(array).collect();
        Self { name: name.into(), arrays, metadata: header.metadata().clone().unwrap_or_default() }
    }

    /// All fixtures whose name starts like this.
    fn read_all(start: &str) -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let names = files.map(|file| file.expect("a readable folder").file_name().into_string().expect("UTF-8"));
        let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".safetensors")?.to_string())).collect();
        names.retain(|name| name.starts_with(start));
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    fn array(&self, name: &str) -> Array {
        self.arrays.get(name).unwrap_or_else(|| panic!("{} has no `{name}`", self.name)).clone()
    }

    /// Those of the arrays that are there, under new names.
    fn renamed(&self, names: &[(&str, &str)]) -> Arrays {
        let found = names.iter().filter_map(|(old, new)| Some((new.to_string(), self.arrays.get(*old)?.clone())));
        found.collect()
    }

    fn case(&self, operator: Operator, activation: bool, inputs: Arrays, weights: Arrays) -> Case {
        Case { operator, activation, inputs, orders: vec![], reset: None, reverse: false, summed: 1, weights }
    }

    fn compare(&self, device: &TestDevice, actual: &Array, expected: &str) {
        let expected_array = self.array(expected);
        let largest = expected_array.values.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        let bound = (BOUND.0, BOUND.1 * largest);
        let label = || format!("`{expected}` of {} on {}", self.name, device.name);
        assert_within(actual, &expected_array, bound, label);
    }

    /// Values and gradients, as far as the file has them.
    fn check_all(&self, device: &TestDevice, operator: Operator, activation: bool, inputs: &[&str]) {
        let same: Vec<_> = inputs.iter().map(|name| (*name, *name)).collect();
        let weights = self.renamed(&[("grad_y", "y"), ("grad_final_state", "final_state")]);
        let actual = self.case(operator, activation, self.renamed(&same), weights).run(&device.device, DType::F32);
        let given: Vec<_> = inputs.iter().copied().chain(["grad_y", "grad_final_state"]).collect();
        for name in self.arrays.keys().filter(|name| !given.contains(&name.as_str())) {
            self.compare(device, &actual[name], name);
        }
    }
}

fn selective_scan_matches_the_original(device: &TestDevice) {
    let fixtures = Fixture::read_all("selective_scan_");
    assert_eq!(fixtures.len(), 4);
    for fixture in fixtures {
        let softplus = fixture.metadata["delta_softplus"] == "true";
        let inputs = ["u", "delta", "a", "b", "c", "d", "z", "delta_bias"];
        fixture.check_all(device, Operator::Scan, softplus, &inputs);
    }
}

fn causal_conv1d_matches_the_original(device: &TestDevice) {
    let fixtures = Fixture::read_all("causal_conv1d_w");
    assert_eq!(fixtures.len(), 8);
    for fixture in fixtures {
        let silu = fixture.metadata["activation"] == "silu";
        fixture.check_all(device, Operator::Conv, silu, &["x", "weight", "bias", "initial_state"]);
    }
}

fn selective_state_update_matches_the_original(device: &TestDevice) {
    let fixture = Fixture::read("selective_state_update");
    let softplus = fixture.metadata["dt_softplus"] == "true";
    let names = [("a", "a"), ("d", "d"), ("dt_bias", "delta_bias"), ("state", "initial_state")];
    let mut inputs = fixture.renamed(&names);
    // One token.
    for (name, mut array) in fixture.renamed(&[("x", "u"), ("dt", "delta"), ("z", "z"), ("b", "b"), ("c", "c")]) {
        array.shape.insert(1, 1);
        inputs.insert(name, array);
    }
    let case = fixture.case(Operator::Scan, softplus, inputs, BTreeMap::new());
    let mut outputs = case.outputs_as(&device.device, DType::F32, |leaves| leaves.steps());
    let mut y = outputs.remove("y").expect("an output");
    y.shape.remove(1);
    fixture.compare(device, &y, "y");
    fixture.compare(device, &outputs["final_state"], "new_state");
}

fn causal_conv1d_step_matches_the_original(device: &TestDevice) {
    let fixture = Fixture::read("causal_conv1d_update");
    let silu = fixture.metadata["activation"] == "silu";
    let names = [("x", "x"), ("weight", "weight"), ("bias", "bias"), ("state", "initial_state")];
    let case = fixture.case(Operator::Conv, silu, fixture.renamed(&names), BTreeMap::new());
    let outputs = case.outputs_as(&device.device, DType::F32, |leaves| leaves.steps());
    fixture.compare(device, &outputs["y"], "y");
    fixture.compare(device, &outputs["final_state"], "new_state");
}

on_every_device!(
    selective_scan_matches_the_original,
    causal_conv1d_matches_the_original,
    selective_state_update_matches_the_original,
    causal_conv1d_step_matches_the_original,
);
