//! Tensors as matrices.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    pub rows: usize,
    pub cols: usize,
    /// Elements from one row to the next; or, if the matrix is transposed, from one column to the next.
    pub stride: usize,
    /// Whether the elements of a column, and not those of a row, are neighbours.
    pub transposed: bool,
}

impl Layout {
    /// A tensor of any rank as a matrix whose columns are the last dimension, if it can be read without a copy.
    pub fn of(shape: &[usize], strides: &[usize]) -> Option<Self> {
        let (&cols, outer) = shape.split_last()?;
        let (&col_stride, outer_strides) = strides.split_last()?;
        // The outer dimensions as one; those of size 1 have a stride without meaning.
        let (mut rows, mut row_stride) = (1, None);
        for (&size, &stride) in outer.iter().zip(outer_strides).rev().filter(|&(&size, _)| size != 1) {
            let first = *row_stride.get_or_insert(stride);
            if stride != first * rows {
                return None;
            }
            rows *= size;
        }
        let row_stride = row_stride.unwrap_or(cols);
        let col_stride = if cols == 1 { rows } else { col_stride };
        let packed = |inner_size, inner, outer| (inner_size == 1 || inner == 1) && outer >= inner_size;
        if packed(cols, col_stride, row_stride) {
            Some(Self { rows, cols, stride: row_stride, transposed: false })
        } else if packed(rows, row_stride, col_stride) {
            Some(Self { rows, cols, stride: col_stride, transposed: true })
        } else {
            None
        }
    }

    /// Rows and columns of the same memory read by columns; of the transpose, if this is not transposed.
    pub fn by_columns(self) -> [usize; 2] {
        if self.transposed { [self.rows, self.cols] } else { [self.cols, self.rows] }
    }

    pub fn transpose(self) -> Self {
        Self { rows: self.cols, cols: self.rows, transposed: !self.transposed, ..self }
    }
}

/// A tensor and how it lies in memory.
pub(super) struct Matrix {
    pub tensor: CubeTensor,
    pub layout: Layout,
}

impl Matrix {
    /// The last dimension becomes the columns, all others the rows. Copies what cuBLASLt cannot read.
    pub fn of(tensor: CubeTensor) -> Self {
        let layout = |tensor: &CubeTensor| match tensor.meta.is_tiled() {
            true => None,
            false => Layout::of(tensor.meta.shape(), tensor.meta.strides()),
        };
        if let Some(layout) = layout(&tensor) {
            return Self { tensor, layout };
        }
        let tensor = into_contiguous(tensor);
        let layout = layout(&tensor).expect("a contiguous tensor is a matrix");
        Self { tensor, layout }
    }

    /// Its transpose, without a copy.
    pub fn transposed(self) -> Self {
        Self { layout: self.layout.transpose(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    fn plain(rows: usize, cols: usize, stride: usize) -> Option<Layout> {
        Some(Layout { rows, cols, stride, transposed: false })
    }

    fn transposed(rows: usize, cols: usize, stride: usize) -> Option<Layout> {
        Some(Layout { rows, cols, stride, transposed: true })
    }

    #[test]
    fn outer_dimensions_that_follow_one_another_are_one() {
        assert_eq!(Layout::of(&[2, 3, 4], &[12, 4, 1]), plain(6, 4, 4));
        assert_eq!(Layout::of(&[2, 3, 4], &[30, 10, 1]), plain(6, 4, 10));
        assert_eq!(Layout::of(&[2, 3, 4], &[40, 10, 1]), None);
        assert_eq!(Layout::of(&[2, 3, 4], &[0, 4, 1]), None);
    }

    #[test]
    fn strides_of_dimensions_of_size_one_do_not_matter() {
        assert_eq!(Layout::of(&[1, 1, 4], &[99, 7, 1]), plain(1, 4, 4));
        assert_eq!(Layout::of(&[3, 1, 4], &[10, 7, 1]), plain(3, 4, 10));
        assert_eq!(Layout::of(&[1, 3, 4], &[7, 10, 1]), plain(3, 4, 10));
        assert_eq!(Layout::of(&[6, 1], &[1, 9]), plain(6, 1, 1));
        assert_eq!(Layout::of(&[6, 1], &[5, 5]), plain(6, 1, 5));
        assert_eq!(Layout::of(&[4], &[1]), plain(1, 4, 4));
    }

    #[test]
    fn columns_may_be_what_is_packed() {
        assert_eq!(Layout::of(&[3, 4], &[1, 3]), transposed(3, 4, 3));
        assert_eq!(Layout::of(&[2, 3, 4], &[3, 1, 8]), transposed(6, 4, 8));
        assert_eq!(Layout::of(&[1, 4], &[9, 5]), transposed(1, 4, 5));
    }

    #[test]
    fn broadcast_and_scattered_elements_are_no_matrix() {
        for strides in [[0, 1], [1, 0], [0, 0], [8, 2], [2, 8], [3, 1]] {
            assert_eq!(Layout::of(&[3, 4], &strides), None, "{strides:?}");
        }
    }

    #[test]
    fn a_transpose_names_the_same_elements() {
        let place = |layout: Layout, i: usize, j: usize| match layout.transposed {
            false => i * layout.stride + j,
            true => j * layout.stride + i,
        };
        let layout = Layout::of(&[3, 4], &[10, 1]).expect("rows are packed");
        let transpose = layout.transpose();
        assert_eq!([transpose.rows, transpose.cols], [4, 3]);
        assert!((0..3).all(|i| (0..4).all(|j| place(layout, i, j) == place(transpose, j, i))));
    }
}
