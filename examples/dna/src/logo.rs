//! Sequence logos (Schneider & Stephens 1990) as SVG.

/// Letters over one another at each place, each with its height; below the line where it is negative.
pub fn logo(columns: &[Vec<(char, f64)>], label: &str) -> String {
    const WIDTH: f64 = 14.0;
    const HALF: f64 = 90.0;
    const LEFT: f64 = 52.0;
    let of = |sign: f64| {
        let sums = columns.iter().map(|column| column.iter().map(|(_, height)| (sign * height).max(0.0)).sum::<f64>());
        sums.fold(0.0, f64::max)
    };
    let (up, down) = (of(1.0), of(-1.0));
    let most = up.max(down).max(1e-9);
    let scale = HALF / most;
    let (line, height) = (10.0 + up * scale, 40.0 + (up + down) * scale);
    let width = LEFT + WIDTH * columns.len() as f64 + 10.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" font-family="sans-serif"><rect width="{width:.0}" height="{height:.0}" fill="#fff"/><text x="6" y="{line:.1}" font-size="9">0</text><text x="6" y="14" font-size="9">{up:.2}</text><text x="{LEFT}" y="{:.1}" font-size="9">{label}</text><line x1="{LEFT}" x2="{:.0}" y1="{line:.1}" y2="{line:.1}" stroke="#999" stroke-width="0.5"/>"##,
        height - 6.0,
        width - 10.0,
    );
    for (place, column) in columns.iter().enumerate() {
        let x = LEFT + WIDTH * place as f64;
        let (mut above, mut below) = (line, line);
        let mut letters = column.clone();
        letters.sort_by(|left, right| left.1.abs().total_cmp(&right.1.abs()));
        for (letter, value) in letters {
            let size = value.abs() * scale;
            if size < 0.3 {
                continue;
            }
            let base = match value > 0.0 {
                true => above,
                false => below + size,
            };
            if value > 0.0 {
                above -= size
            } else {
                below += size
            }
            svg += &letter_of(letter, x, base, WIDTH, size);
        }
        if (place + 1).is_multiple_of(10) {
            let y = height - 18.0;
            svg += &format!(r#"<text x="{x:.1}" y="{y:.1}" font-size="8">{}</text>"#, place + 1);
        }
    }
    svg + "</svg>\n"
}

/// Capitals of a font are some 0.72 of its size high, and at most 0.8 wide.
fn letter_of(letter: char, x: f64, base: f64, width: f64, height: f64) -> String {
    const SIZE: f64 = 20.0;
    let (horizontal, vertical) = (width / (0.8 * SIZE), height / (0.72 * SIZE));
    let color = match letter {
        'A' => "#3a9a4a",
        'C' => "#3567b8",
        'G' => "#d99a1c",
        'T' => "#c8402a",
        _ => "#888",
    };
    let middle = x + width / 2.0;
    format!(
        r#"<text transform="translate({middle:.1} {base:.1}) scale({horizontal:.3} {vertical:.3})" font-size="{SIZE}" font-weight="bold" text-anchor="middle" fill="{color}">{letter}</text>"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_that_is_seen_is_drawn() {
        let columns = vec![vec![('A', 1.0), ('C', 0.5)], vec![('G', -2.0)], vec![('T', 1e-6)]];
        let svg = logo(&columns, "bits");
        assert_eq!(svg.matches("font-weight").count(), 3);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
        assert!(!logo(&[], "bits").contains("NaN"));
    }
}
