//! Values as they come from memory.

use cubecl::prelude::*;

/// Some values as they come from memory, `lanes` neighbours each, until they are needed.
///
/// Pairs of bf16 stay in the words that they came in. A compiler that sees two numbers takes them apart where it has asked
/// for them, and waits (ptxas of CUDA 13).
#[derive(CubeType)]
pub(crate) struct Unread<F: Float, W: Size> {
    values: ComptimeOption<Array<Vector<F, W>>>,
    words: ComptimeOption<Array<u32>>,
    #[cube(comptime)]
    lanes: usize,
}

#[cube]
impl<F: Float, W: Size> Unread<F, W> {
    /// Room for `count` of them; `bf16` tells what `F` is.
    pub fn new(#[comptime] count: usize, #[comptime] lanes: usize, #[comptime] bf16: bool) -> Unread<F, W> {
        if comptime![bf16 && lanes.is_multiple_of(2)] {
            Unread::<F, W> {
                values: ComptimeOption::new_None(),
                words: ComptimeOption::new_Some(Array::new(comptime![count * lanes / 2])),
                lanes,
            }
        } else {
            Unread::<F, W> {
                values: ComptimeOption::new_Some(Array::new(count)),
                words: ComptimeOption::new_None(),
                lanes,
            }
        }
    }

    pub fn put(&mut self, i: usize, values: Vector<F, W>) {
        #[comptime]
        if let ComptimeOption::Some(_) = &self.words {
            let pairs = comptime![self.lanes / 2];
            let size!(P) = pairs;
            let of_values = Vector::<u32, P>::reinterpret(values);
            let words = self.words.as_mut().unwrap();
            #[unroll]
            for k in 0..pairs {
                words[i * pairs + k] = of_values.extract(k);
            }
        } else {
            let room = self.values.as_mut().unwrap();
            room[i] = values;
        }
    }

    /// The `i`th of `others`, which has as many.
    pub fn copy(&mut self, i: usize, others: &Unread<F, W>) {
        #[comptime]
        if let ComptimeOption::Some(_) = &self.words {
            let pairs = comptime![self.lanes / 2];
            let from = others.words.as_ref().unwrap();
            let words = self.words.as_mut().unwrap();
            #[unroll]
            for k in 0..pairs {
                words[i * pairs + k] = from[i * pairs + k];
            }
        } else {
            let from = others.values.as_ref().unwrap();
            let values = self.values.as_mut().unwrap();
            values[i] = from[i];
        }
    }

    pub fn get(&self, i: usize) -> Vector<f32, W> {
        #[comptime]
        match &self.words {
            ComptimeOption::Some(words) => {
                let pairs = comptime![self.lanes / 2];
                let mut values = Vector::<f32, W>::new(0.0);
                #[unroll]
                for k in 0..pairs {
                    // A bf16 is the upper half of the f32 with its value.
                    let word = words[i * pairs + k];
                    values.insert(comptime![2 * k], f32::reinterpret(word << 16));
                    values.insert(comptime![2 * k + 1], f32::reinterpret(word & 0xffff_0000));
                }
                values
            }
            ComptimeOption::None => {
                let values = self.values.as_ref().unwrap();
                Vector::cast_from(values[i])
            }
        }
    }
}
