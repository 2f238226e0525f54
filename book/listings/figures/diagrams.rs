//! Boxes and arrows.

use super::picture::{BLUE, FAINT, INK, PALE, Picture, RED, SAND};

/// The Mamba layer (Gu & Dao 2023, figure 3), with the names of its fields.
pub fn layer() -> String {
    let mut picture = Picture::new(720, 330);
    let size = [104.0, 34.0];
    picture.label(8.0, 112.0, "[batch, length, d_model]");
    picture.arrow([60.0, 135.0], [124.0, 135.0], INK);
    picture.named([126.0, 118.0], [70.0, 34.0], PALE, "in_proj");
    picture.arrow([196.0, 128.0], [228.0, 77.0], INK);
    picture.text_in(204.0, 92.0, "x", INK, "end");
    picture.arrow([196.0, 144.0], [228.0, 285.0], INK);
    picture.text_in(208.0, 222.0, "z", INK, "end");
    picture.named([230.0, 60.0], size, SAND, "causal_conv1d");
    picture.arrow([334.0, 77.0], [352.0, 77.0], INK);
    picture.named([354.0, 60.0], [46.0, 34.0], PALE, "SiLU");
    picture.arrow([400.0, 77.0], [498.0, 77.0], INK);
    picture.text(450.0, 70.0, "u");
    picture.arrow([377.0, 94.0], [377.0, 138.0], INK);
    picture.named([340.0, 140.0], [74.0, 34.0], PALE, "x_proj");
    picture.arrow([414.0, 152.0], [498.0, 118.0], INK);
    picture.text(450.0, 122.0, "b, c");
    picture.arrow([377.0, 174.0], [377.0, 208.0], INK);
    picture.named([340.0, 210.0], [74.0, 34.0], PALE, "dt_proj");
    picture.arrow([414.0, 222.0], [498.0, 158.0], INK);
    picture.text(450.0, 182.0, "δ");
    picture.line([230.0, 285.0], [550.0, 285.0], INK);
    picture.arrow([550.0, 285.0], [550.0, 192.0], INK);
    picture.text(400.0, 278.0, "gate");
    picture.rect([500.0, 50.0], [110.0, 140.0], SAND);
    picture.text(555.0, 112.0, "selective_scan");
    picture.text(555.0, 134.0, "a_log, d");
    picture.arrow([610.0, 120.0], [632.0, 120.0], INK);
    picture.named([634.0, 103.0], [74.0, 34.0], PALE, "out_proj");
    picture.label(126.0, 318.0, "sand: operators of mamba-core;  blue: projections and activations of Burn");
    picture.finish()
}

/// From a call to a kernel.
pub fn dispatch() -> String {
    let mut picture = Picture::new(720, 400);
    let middle = |y: f64, fill: &str, words: &str, picture: &mut Picture| {
        picture.named([180.0, y], [280.0, 36.0], fill, words);
    };
    middle(16.0, PALE, "linear_recurrence(decay, x)", &mut picture);
    middle(92.0, PALE, "Dispatch: which device?", &mut picture);
    middle(168.0, SAND, "Autodiff<B>: is anything tracked?", &mut picture);
    middle(244.0, SAND, "Fusion<B>: put into the stream", &mut picture);
    for y in [52.0, 128.0, 204.0] {
        picture.arrow([320.0, y], [320.0, y + 39.0], INK);
    }
    picture.label(474.0, 38.0, "checks shapes");
    picture.arrow([460.0, 42.0], [630.0, 318.0], FAINT);
    picture.label(566.0, 190.0, "no kernel");
    picture.text_in(168.0, 190.0, "saves what the", INK, "end");
    picture.text_in(168.0, 206.0, "backward node needs", INK, "end");
    picture.label(474.0, 258.0, "GPUs with fusion;");
    picture.label(474.0, 274.0, "shapes by meta");
    picture.named([60.0, 320.0], [140.0, 36.0], PALE, "Flex, NdArray");
    picture.arrow([186.0, 204.0], [130.0, 318.0], INK);
    picture.named([250.0, 320.0], [140.0, 36.0], PALE, "CubeBackend");
    picture.arrow([320.0, 280.0], [320.0, 318.0], INK);
    picture.named([530.0, 320.0], [140.0, 36.0], PALE, "reference");
    picture.text(130.0, 376.0, "SIMD and threads");
    picture.text(320.0, 376.0, "CUDA, ROCm, Vulkan,");
    picture.text(320.0, 392.0, "Metal, WebGPU");
    picture.text(600.0, 376.0, "plain tensor operations");
    picture.finish()
}

/// One sequence of five tokens and three channels in memory, in both layouts.
pub fn layout() -> String {
    let mut picture = Picture::new(720, 220);
    let grid = |picture: &mut Picture, x: f64, title: &str, axes: [&str; 2], place: fn(usize, usize) -> usize| {
        picture.label(x, 24.0, title);
        picture.label(x + 60.0, 50.0, axes[1]);
        picture.text_in(x + 44.0, 110.0, axes[0], INK, "end");
        let (rows, columns) = if axes[0] == "channel" { (3, 5) } else { (5, 3) };
        for row in 0..rows {
            for column in 0..columns {
                let (token, channel) = if axes[0] == "channel" { (column, row) } else { (row, column) };
                let fill = if token == 1 { SAND } else { PALE };
                let corner = [x + 60.0 + 40.0 * column as f64, 60.0 + 30.0 * row as f64];
                picture.named(corner, [38.0, 28.0], fill, &place(token, channel).to_string());
            }
        }
    };
    grid(&mut picture, 20.0, "PyTorch: [batch, channels, length]", ["channel", "token"], |t, e| e * 5 + t);
    grid(&mut picture, 390.0, "here: [batch, length, channels]", ["token", "channel"], |t, e| t * 3 + e);
    picture.finish()
}

/// The crates, and who depends on whom.
pub fn crates() -> String {
    let mut picture = Picture::new(720, 330);
    let size = [130.0, 36.0];
    let top = [("examples/language", 20.0), ("examples/vision", 185.0), ("examples/time-series", 350.0)];
    for (name, x) in top {
        picture.named([x, 16.0], [150.0, 36.0], PALE, name);
    }
    picture.named([515.0, 16.0], [110.0, 36.0], PALE, "examples/dna");
    picture.arrow([570.0, 52.0], [480.0, 104.0], BLUE);
    picture.named([190.0, 106.0], size, SAND, "mamba-vision");
    picture.named([350.0, 106.0], [170.0, 36.0], SAND, "mamba-ts, mamba-dna");
    picture.named([110.0, 196.0], size, SAND, "mamba-blocks");
    picture.named([110.0, 276.0], size, SAND, "mamba-core");
    picture.named([470.0, 276.0], size, PALE, "burn");
    picture.arrow([85.0, 52.0], [150.0, 194.0], BLUE);
    picture.arrow([255.0, 52.0], [255.0, 104.0], BLUE);
    picture.arrow([430.0, 52.0], [430.0, 104.0], BLUE);
    picture.arrow([255.0, 142.0], [205.0, 194.0], BLUE);
    picture.arrow([420.0, 142.0], [242.0, 205.0], BLUE);
    picture.arrow([175.0, 232.0], [175.0, 274.0], BLUE);
    picture.arrow([240.0, 294.0], [468.0, 294.0], RED);
    picture.label(640.0, 40.0, "programs");
    picture.label(560.0, 130.0, "models of a domain");
    picture.label(260.0, 220.0, "layers, language model, checkpoints");
    picture.text(354.0, 286.0, "operators on tensors");
    picture.finish()
}

/// A series as a table, and what is a token of it.
pub fn variates() -> String {
    let mut picture = Picture::new(720, 240);
    let (rows, columns) = (6, 4);
    for (x, title, by_row) in
        [(20.0, "S-Mamba: a variate is a token", false), (390.0, "over time: a row is a token", true)]
    {
        picture.label(x, 24.0, title);
        picture.label(x + 70.0, 48.0, "variates");
        picture.text_in(x + 58.0, 130.0, "time", INK, "end");
        for row in 0..rows {
            for column in 0..columns {
                let striped = if by_row { row % 2 == 0 } else { column % 2 == 0 };
                let fill = if striped { SAND } else { PALE };
                picture.rect([x + 70.0 + 44.0 * column as f64, 58.0 + 26.0 * row as f64], [42.0, 24.0], fill);
            }
        }
        if by_row {
            picture.arrow([x + 262.0, 60.0], [x + 262.0, 212.0], RED);
        } else {
            picture.arrow([x + 72.0, 224.0], [x + 244.0, 224.0], RED);
            picture.arrow([x + 244.0, 234.0], [x + 72.0, 234.0], BLUE);
        }
    }
    picture.finish()
}

/// One piece of DNA, read from its two strands.
pub fn strands() -> String {
    let mut picture = Picture::new(720, 200);
    let pairs = [('G', 'C'), ('A', 'T'), ('T', 'A'), ('T', 'A'), ('A', 'T'), ('C', 'G'), ('A', 'T')];
    for (t, (base, complement)) in pairs.into_iter().enumerate() {
        let x = 200.0 + 58.0 * t as f64;
        picture.named([x, 50.0], [44.0, 34.0], PALE, &base.to_string());
        picture.line([x + 22.0, 84.0], [x + 22.0, 114.0], FAINT);
        picture.named([x, 114.0], [44.0, 34.0], SAND, &complement.to_string());
    }
    picture.arrow([202.0, 36.0], [592.0, 36.0], RED);
    picture.arrow([592.0, 164.0], [202.0, 164.0], BLUE);
    picture.label(20.0, 72.0, "GATTACA");
    picture.label(20.0, 136.0, "TGTAATC, from the end");
    picture.finish()
}
