//! The orders of an image, side by side.

use super::picture::{INK, Picture};
use mamba_vision::{Grid, Order};

/// Places of a side.
const SIDE: usize = 8;
/// Between two places.
const CELL: f64 = 18.0;

pub fn orders() -> String {
    let all = [
        ("row", Order::row()),
        ("column", Order::column()),
        ("column, from the end", Order::column().from_the_end()),
        ("snake", Order::snake()),
        ("window of 4", Order::window(4)),
        ("atrous, step 2", Order::atrous(2)),
        ("Hilbert", Order::hilbert()),
        ("z-order", Order::z_order()),
    ];
    let mut picture = Picture::new(720, 380);
    for (index, (name, order)) in all.into_iter().enumerate() {
        let (x, y) = (20.0 + 175.0 * (index % 4) as f64, 30.0 + 185.0 * (index / 4) as f64);
        picture.text_in(x, y - 8.0, name, INK, "start");
        path(&mut picture, [x, y], order);
    }
    picture.finish()
}

/// From blue to red, with a dot where it starts; parts that start anew are lines of their own.
fn path(picture: &mut Picture, [left, top]: [f64; 2], order: Order) {
    let path = order.path(Grid::image(SIDE, SIDE)).expect("an order of images");
    let places = path.steps().len();
    let at = |step: usize| {
        let place = path.steps()[step];
        [left + CELL * (0.5 + (place % SIDE) as f64), top + CELL * (0.5 + (place / SIDE) as f64)]
    };
    for step in 0..places {
        let color = format!("hsl({},70%,50%)", 220 + 140 * step / (places - 1));
        if step == 0 || path.starts().contains(&step) {
            picture.circle(at(step), 4.0, &color);
        }
        if step + 1 < places && !path.starts().contains(&(step + 1)) {
            picture.line(at(step), at(step + 1), &color);
        }
    }
}
