//! Named float64 arrays and how far apart they are.

use std::collections::BTreeMap;

/// Values in row-major order.
#[derive(Clone, Debug, Default)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// Arrays by name; a gradient is called `grad_` and the name of its input.
pub type Arrays = BTreeMap<String, Array>;

impl Array {
    pub fn new(shape: &[usize], values: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { shape: shape.to_vec(), values }
    }

    pub fn from_fn(shape: &[usize], mut value: impl FnMut() -> f64) -> Self {
        Self::new(shape, (0..shape.iter().product()).map(|_| value()).collect())
    }

    pub fn zeros(shape: &[usize]) -> Self {
        Self::from_fn(shape, || 0.0)
    }

    /// The entries `indices` of `axis`, in that order.
    pub fn select(&self, axis: usize, indices: &[usize]) -> Self {
        let inner: usize = self.shape[axis + 1..].iter().product();
        let block = inner * self.shape[axis];
        let mut shape = self.shape.clone();
        shape[axis] = indices.len();
        let mut values = Vec::with_capacity(shape.iter().product());
        for outer in 0..self.shape[..axis].iter().product() {
            for index in indices {
                let start = outer * block + index * inner;
                values.extend_from_slice(&self.values[start..start + inner]);
            }
        }
        Self { shape, values }
    }

    pub fn norm(&self) -> f64 {
        self.values.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    pub fn dot(&self, other: &Self) -> f64 {
        self.values.iter().zip(&other.values).map(|(x, y)| x * y).sum()
    }

    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.shape, other.shape);
        Self {
            shape: self.shape.clone(),
            values: self.values.iter().zip(&other.values).map(|(x, y)| f(*x, *y)).collect(),
        }
    }
}

/// Norms below this are zero in f32: a state that decayed over a thousand tokens, say.
const VANISHED: f64 = 1e-30;

/// The norm of the difference over that of `expected`; or, if that vanishes, over the absolute bound 1e-6 at `bound`.
fn relative_error(actual: &Array, expected: &Array, bound: f64) -> f64 {
    let difference = actual.zip(expected, |x, y| x - y).norm();
    match expected.norm() {
        norm if norm < VANISHED => difference * bound / 1e-6,
        norm => difference / norm,
    }
}

/// Asserts that `actual` has all of `expected` within a relative error of `bound`; returns the errors.
pub fn assert_close(
    actual: &Arrays,
    expected: &Arrays,
    bound: f64,
    label: impl Fn() -> String,
) -> BTreeMap<String, f64> {
    let mut errors = BTreeMap::new();
    for (name, expected) in expected {
        let error = relative_error(&actual[name], expected, bound);
        // A NaN is no small error.
        assert!(error <= bound, "{}: `{name}` has relative error {error:.2e}, allowed {bound:.0e}", label());
        errors.insert(name.clone(), error);
    }
    errors
}

/// Asserts that the arrays agree to the last bit.
pub fn assert_same(actual: &Arrays, expected: &Arrays, label: impl Fn() -> String) {
    for (name, expected) in expected {
        let bits = |x: &Array| x.values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(bits(&actual[name]) == bits(expected), "{}: `{name}` differs", label());
    }
}

/// Asserts `|actual - expected| <= atol + rtol * |expected|` for every entry; returns the largest share of it used.
pub fn assert_within(actual: &Array, expected: &Array, (rtol, atol): (f64, f64), label: impl Fn() -> String) -> f64 {
    let share = |x: f64, y: f64| if x == y { 0.0 } else { (x - y).abs() / (atol + rtol * y.abs()) };
    let used = actual.zip(expected, share);
    let worst = used.values.iter().fold(0.0, |worst: f64, used| if *used <= worst { worst } else { *used });
    assert!(worst <= 1.0, "{}: {worst:.2} times the allowed error (rtol {rtol:.0e}, atol {atol:.0e})", label());
    worst
}

/// The largest error of every array over many cases, for the log.
#[derive(Default)]
pub struct Worst {
    cases: usize,
    errors: BTreeMap<String, f64>,
}

impl Worst {
    pub fn add(&mut self, errors: BTreeMap<String, f64>) {
        self.cases += 1;
        for (name, error) in errors {
            let worst = self.errors.entry(name).or_default();
            *worst = worst.max(error);
        }
    }

    pub fn print(&self, title: &str) {
        let errors: Vec<_> = self.errors.iter().map(|(name, error)| format!("{name} {error:.1e}")).collect();
        println!("{title}: {} cases, largest errors: {}", self.cases, errors.join(", "));
    }
}
