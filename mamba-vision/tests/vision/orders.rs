//! Every order is a permutation with its inverse, on grids of any sides.

use crate::device;
use mamba_vision::{Axis, Grid, Order, OrderError, Path, ScanPaths, scan_paths, serialise};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fmt::Display;

/// All orders of images, also with settings that are larger than the image.
fn of_images() -> Vec<Order> {
    let mut orders = vec![Order::row(), Order::column(), Order::snake(), Order::hilbert(), Order::z_order()];
    orders.extend([1, 2, 3, 7, 50].map(Order::window));
    orders.extend([1, 2, 3, 50].map(Order::atrous));
    orders.extend([1, 2, 10, 2000].map(Order::stride));
    orders.extend(Order::TRAVERSES);
    orders.extend(orders.clone().into_iter().map(Order::from_the_end));
    orders
}

#[track_caller]
fn assert_permutation(what: impl Display, path: &Path, length: usize) {
    let steps = path.steps();
    assert_eq!(steps.len(), length, "{what}");
    let mut is_visited = vec![false; length];
    steps.iter().for_each(|&place| is_visited[place] = true);
    assert!(is_visited.into_iter().all(|is_visited| is_visited), "{what} is no permutation of {length} places");
    let inverse = path.inverse();
    assert!((0..length).all(|step| inverse[steps[step]] == step), "{what}: the inverse is none");
    let is_sorted = path.starts().is_sorted_by(|x, y| x < y);
    assert!(is_sorted && path.starts().iter().all(|&start| start < length), "{what} starts at {:?}", path.starts());
}

#[test]
fn every_order_of_an_image_visits_each_place_once() {
    for height in 1..=40 {
        for width in 1..=40 {
            let grid = Grid::image(height, width);
            for order in of_images() {
                assert_permutation(format_args!("{order} of {grid}"), &order.path(grid).unwrap(), grid.length());
            }
        }
    }
}

#[test]
fn every_order_of_a_volume_visits_each_place_once() {
    let orders = [Order::row(), Order::stride(3)].into_iter().chain(Order::TRAVERSES);
    for order in orders {
        for (depth, height, width) in [(1, 1, 1), (5, 1, 1), (1, 5, 2), (2, 3, 4), (7, 5, 3), (11, 13, 2)] {
            let grid = Grid::volume(depth, height, width);
            for order in [order, order.from_the_end()] {
                assert_permutation(format_args!("{order} of {grid}"), &order.path(grid).unwrap(), grid.length());
            }
        }
    }
}

#[track_caller]
fn assert_steps(order: Order, grid: Grid, expected: &[usize]) {
    assert_eq!(order.path(grid).unwrap().steps(), expected, "{order} of {grid}");
}

#[test]
fn orders_are_those_of_their_sources() {
    // 0 1 2
    // 3 4 5
    let image = Grid::image(2, 3);
    let [row, column, row_back, column_back] = Order::CROSS;
    assert_steps(row, image, &[0, 1, 2, 3, 4, 5]);
    assert_steps(column, image, &[0, 3, 1, 4, 2, 5]);
    assert_steps(row_back, image, &[5, 4, 3, 2, 1, 0]);
    assert_steps(column_back, image, &[5, 2, 4, 1, 3, 0]);
    assert_steps(Order::snake(), image, &[0, 1, 2, 5, 4, 3]);
    assert_steps(Order::z_order(), Grid::image(2, 4), &[0, 1, 4, 5, 2, 3, 6, 7]);
    assert_steps(Order::hilbert(), Grid::image(2, 2), &[0, 2, 3, 1]);
    assert_steps(Order::window(2), Grid::image(3, 3), &[0, 1, 3, 4, 2, 5, 6, 7, 8]);
    // x_b[w * k + i] = x[i * rate + w].
    assert_steps(Order::stride(3), Grid::sequence(7), &[0, 3, 6, 1, 4, 2, 5]);
    assert_steps(Order::traverse([Axis::Width, Axis::Height, Axis::Depth]), image, &[0, 3, 4, 1, 2, 5]);
}

#[test]
fn windows_are_those_of_local_mamba_on_a_padded_image() {
    let (size, grid) = (3, Grid::image(7, 5).padded_to(3));
    assert_eq!(grid, Grid::image(9, 6));
    let step = Order::window(size).path(grid).unwrap().inverse();
    for i in 0..grid.height {
        for j in 0..grid.width {
            let window = (i / size) * (grid.width / size) + j / size;
            let expected = window * size * size + (i % size) * size + j % size;
            assert_eq!(step[i * grid.width + j], expected, "row {i}, column {j}");
        }
    }
}

#[test]
fn sub_grids_are_those_of_efficient_vmamba() {
    let path = Order::atrous(2).path(Grid::image(4, 4)).unwrap();
    assert_eq!(path.steps(), [0, 2, 8, 10, 4, 12, 6, 14, 1, 3, 9, 11, 5, 13, 7, 15]);
    assert_eq!(path.starts(), [0, 4, 8, 12]);
    let back = path.reversed();
    assert_eq!(back.steps()[..4], [15, 7, 13, 5]);
    assert_eq!(back.starts(), [0, 4, 8, 12]);
    // Parts of different lengths keep their ends.
    let path = Order::atrous(2).path(Grid::image(1, 3)).unwrap();
    assert_eq!((path.steps(), path.starts()), (&[0, 2, 1][..], &[0, 2][..]));
    let back = path.reversed();
    assert_eq!((back.steps(), back.starts()), (&[1, 2, 0][..], &[0, 1][..]));
}

/// How far apart consecutive places are, along the axis where they are farthest, and along all together.
fn jumps(order: Order, grid: Grid) -> impl Iterator<Item = (usize, usize)> {
    let at = move |place: usize| {
        let row = place / grid.width;
        [row / grid.height, row % grid.height, place % grid.width]
    };
    let steps = order.path(grid).unwrap().steps().to_vec();
    (1..steps.len()).map(move |step| {
        let (from, to) = (at(steps[step - 1]), at(steps[step]));
        let distances = [0, 1, 2].map(|axis| from[axis].abs_diff(to[axis]));
        (distances.into_iter().max().unwrap(), distances.iter().sum())
    })
}

#[test]
fn snakes_and_traverses_go_from_neighbour_to_neighbour() {
    for order in [Order::snake()].into_iter().chain(Order::TRAVERSES) {
        for (height, width) in [(1, 9), (9, 1), (7, 11), (8, 6)] {
            assert!(jumps(order, Grid::image(height, width)).all(|(_, far)| far == 1), "{order}");
        }
    }
    for order in Order::TRAVERSES {
        assert!(jumps(order, Grid::volume(3, 4, 5)).all(|(_, far)| far == 1), "{order}");
    }
}

#[test]
fn hilberts_curve_steps_to_neighbours_but_for_one_diagonal() {
    for height in 1..=40 {
        for width in 1..=40 {
            let jumps: Vec<_> = jumps(Order::hilbert(), Grid::image(height, width)).collect();
            assert!(jumps.iter().all(|&(farthest, _)| farthest == 1), "{height} x {width}");
            let diagonals = jumps.iter().filter(|&&(_, far)| far == 2).count();
            let most = usize::from(height % 2 == 1 || width % 2 == 1);
            assert!(diagonals <= most, "{height} x {width} has {diagonals} diagonals");
        }
    }
}

#[test]
fn points_follow_the_traverse_of_their_voxels() {
    let points = [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1], [1, 1, 1]];
    let axes = [Axis::Depth, Axis::Height, Axis::Width];
    let path = serialise(&points, Grid::volume(2, 2, 2), axes).unwrap();
    // Through the volume: 000 001 011 010 110 111 101 100.
    assert_eq!(path.steps(), [1, 3, 2, 4, 0]);
    assert_permutation("points", &path, points.len());
    let outside = serialise(&points, Grid::volume(2, 1, 2), axes).unwrap_err();
    assert_eq!(outside, OrderError::PointOutside { index: 2, at: [0, 1, 0], grid: Grid::volume(2, 1, 2) });
}

#[test]
fn shuffles_are_permutations_and_repeat_with_their_seed() {
    let shuffled = |seed| Path::shuffled(97, &mut StdRng::seed_from_u64(seed));
    assert_permutation("a shuffle", &shuffled(1), 97);
    assert_eq!(shuffled(1), shuffled(1));
    assert_ne!(shuffled(1), shuffled(2));
}

#[test]
fn what_is_no_order_is_refused() {
    let image = Grid::image(4, 5);
    for (order, name) in [
        (Order::window(0), "size of the window"),
        (Order::atrous(0), "step between rows and columns"),
        (Order::stride(0), "rate"),
    ] {
        assert_eq!(order.path(image).unwrap_err(), OrderError::Zero { name });
    }
    for grid in [Grid::image(0, 5), Grid::image(5, 0), Grid::volume(0, 2, 2)] {
        for order in of_images() {
            assert_eq!(order.path(grid).unwrap_err(), OrderError::EmptyGrid(grid));
        }
    }
    for grid in [Grid::image(1 << 16, 1 << 16), Grid::image(usize::MAX, 2), Grid::volume(1 << 40, 1 << 40, 1 << 40)] {
        assert!(matches!(Order::row().path(grid).unwrap_err(), OrderError::LargeGrid { .. }));
    }
    let grid = Grid::volume(2, 3, 4);
    for order in
        [Order::column(), Order::snake(), Order::hilbert(), Order::z_order(), Order::window(2), Order::atrous(2)]
    {
        assert_eq!(order.path(grid).unwrap_err(), OrderError::Volume { order, grid });
    }
    let axes = [Axis::Width, Axis::Width, Axis::Depth];
    assert_eq!(Order::traverse(axes).path(image).unwrap_err(), OrderError::Axes { axes });
    assert!(matches!(scan_paths(&[], image, &device()), Err(OrderError::Table(_))));
    let paths = [3, 4].map(|length| Order::row().path(Grid::sequence(length)).unwrap());
    assert!(matches!(ScanPaths::new(&paths, &device()), Err(OrderError::Table(_))));
}
