//! Paths through an image that is padded to whole windows.

use super::{Grid, Order, OrderError, Path};

/// Where a class token stands among the tokens of an image.
pub(crate) type ClassPlace = Option<usize>;

/// The path that LocalMamba's published models take through the tokens of an image: windows are whole, padded with tokens
/// behind all others, as many as the path needs; the class token is met at the step of its own place.
pub(super) fn padded(order: Order, grid: Grid, class: ClassPlace) -> Result<Path, OrderError> {
    let outer = order.padded(grid.checked()?).checked()?;
    let path = order.path(outer)?;
    let mut padding = grid.length() + usize::from(class.is_some())..;
    let token = |&place: &usize| {
        let (row, column) = (place / outer.width, place % outer.width);
        match outer == grid || row < grid.height && column < grid.width {
            true => behind_class(if outer == grid { place } else { row * grid.width + column }, class),
            false => padding.next().expect("the range has no end"),
        }
    };
    let mut steps: Vec<_> = path.steps().iter().map(token).collect();
    if let Some(class) = class {
        steps.insert(class, class);
    }
    let starts = path.starts().iter().map(|&start| behind_class(start, class)).collect();
    Ok(Path::in_parts(steps, starts))
}

/// Where a token of the image is among all.
fn behind_class(place: usize, class: ClassPlace) -> usize {
    place + usize::from(class.is_some_and(|class| place >= class))
}
