//! `orders`: every order of an image as a picture.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use mamba_vision::{Grid, Order, Path as ScanPath};

use crate::error::Error;

/// Draws every order in which a scan can visit an image.
#[derive(Args)]
pub struct OrdersArgs {
    /// Rows of the image
    #[arg(long, default_value_t = 12)]
    height: usize,
    /// Columns of the image
    #[arg(long, default_value_t = 12)]
    width: usize,
    /// Folder of the pictures
    #[arg(long, default_value = "runs/orders")]
    out: PathBuf,
}

/// Larger pictures show nothing.
const MOST_SIDE: usize = 128;
/// Between two places.
const CELL: usize = 20;

pub fn orders(args: &OrdersArgs) -> Result<(), Error> {
    for (flag, side) in [("height", args.height), ("width", args.width)] {
        if !(1..=MOST_SIDE).contains(&side) {
            return Err(Error::Flag { flag, given: side.to_string(), expected: "1 to 128" });
        }
    }
    let grid = Grid::image(args.height, args.width);
    fs::create_dir_all(&args.out).map_err(Error::write(&args.out))?;
    for order in all() {
        let file = args.out.join(format!("{order}.svg"));
        let svg = picture(grid, &order.path(grid)?);
        fs::write(&file, svg).map_err(Error::write(&file))?;
        println!("{}", Path::new(&file).display());
    }
    Ok(())
}

fn all() -> Vec<Order> {
    let mut orders = Order::CROSS.to_vec();
    orders.extend([Order::window(2), Order::window(7), Order::atrous(2), Order::stride(10)]);
    orders.extend([Order::snake(), Order::hilbert(), Order::z_order()]);
    orders.extend(Order::TRAVERSES);
    orders
}

/// The path as a line through the places, from blue to red; parts that start anew are lines of their own.
fn picture(grid: Grid, path: &ScanPath) -> String {
    let (width, height) = (grid.width * CELL, grid.height * CELL);
    let steps = path.steps();
    let at = |step: usize| {
        let (row, column) = (steps[step] / grid.width, steps[step] % grid.width);
        (column * CELL + CELL / 2, row * CELL + CELL / 2)
    };
    let mut svg =
        format!(r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" stroke-linecap="round">"#);
    svg += &format!(r##"<rect width="{width}" height="{height}" fill="#fff"/>"##);
    for step in 0..steps.len() {
        let share = step as f64 / (steps.len() - 1).max(1) as f64;
        let color = format!("hsl({:.0},70%,50%)", 220.0 + 140.0 * share);
        let (x, y) = at(step);
        svg += &format!(r#"<circle cx="{x}" cy="{y}" r="2.5" fill="{color}"/>"#);
        if step + 1 < steps.len() && !path.starts().contains(&(step + 1)) {
            let (to_x, to_y) = at(step + 1);
            svg += &format!(r#"<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="{color}" stroke-width="1.5"/>"#);
        }
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_line_from_each_step_to_the_next_of_its_part() {
        let grid = Grid::image(4, 6);
        let lines = |order: Order| picture(grid, &order.path(grid).unwrap()).matches("<line").count();
        assert_eq!(lines(Order::row()), 23);
        assert_eq!(lines(Order::atrous(2)), 20);
    }

    #[test]
    fn every_order_has_a_picture_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let args = OrdersArgs { height: 3, width: 5, out: folder.path().join("orders") };
        orders(&args).unwrap();
        assert_eq!(fs::read_dir(&args.out).unwrap().count(), all().len());
        assert!(orders(&OrdersArgs { height: 0, ..args }).is_err());
    }
}
