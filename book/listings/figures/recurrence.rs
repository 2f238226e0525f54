//! Figures of the recurrence; their numbers are those of the listings.

use super::picture::{BLUE, FAINT, INK, PALE, Picture, RED, SAND};
use crate::backward::backward as grads;
use crate::four_tokens::{DELTA, Piece, U, pieces, states};

/// The column of a token.
fn column(t: usize) -> f64 {
    150.0 + 150.0 * t as f64
}

/// Inputs, step sizes and states, and what is kept from one to the next.
pub fn four_tokens() -> String {
    let mut picture = Picture::new(720, 300);
    let h = states(&U, &DELTA);
    let rows = [("input u", 40.0), ("step size δ", 70.0), ("state h", 195.0), ("output y", 280.0)];
    for (name, y) in rows {
        picture.text_in(16.0, y, name, INK, "start");
    }
    for t in 0..4 {
        let x = column(t);
        picture.rect([x - 40.0, 18.0], [80.0, 64.0], PALE);
        picture.text(x, 40.0, &format!("{}", U[t]));
        picture.text(x, 70.0, &format!("{}", DELTA[t]));
        picture.arrow([x, 82.0], [x, 158.0], BLUE);
        let added = DELTA[t] * U[t];
        let sign = if added < 0.0 { '−' } else { '+' };
        picture.text_in(x + 8.0, 124.0, &format!("{sign} {:.2}", added.abs()), BLUE, "start");
        picture.circle([x, 190.0], 31.0, SAND);
        picture.text(x, 195.0, &format!("{:.3}", h[t]));
        picture.arrow([x, 221.0], [x, 262.0], FAINT);
        picture.text(x, 280.0, &format!("{:.3}", h[t]));
        if t < 3 {
            picture.arrow([x + 31.0, 190.0], [column(t + 1) - 32.0, 190.0], RED);
            picture.text_in(x + 75.0, 181.0, &format!("× {:.3}", (-DELTA[t + 1]).exp()), RED, "middle");
        }
    }
    picture.finish()
}

/// Two rounds of the parallel scan.
pub fn tree() -> String {
    let mut picture = Picture::new(720, 330);
    let mut now = pieces();
    for (round, reach) in [(0, 0), (1, 1), (2, 2)] {
        let y = 20.0 + 125.0 * round as f64;
        let before = now.clone();
        let name = ["tokens", "round 1", "round 2"][round];
        picture.label(16.0, y + 32.0, name);
        for t in 0..4 {
            if reach > 0 {
                let above = y - 125.0 + 52.0;
                picture.arrow([column(t), above], [column(t), y - 2.0], FAINT);
                if t >= reach {
                    now[t] = before[t - reach].then(before[t]);
                    picture.arrow([column(t - reach) + 20.0, above], [column(t) - 20.0, y - 2.0], RED);
                }
            }
            let Piece { keep, add } = now[t];
            picture.rect([column(t) - 52.0, y], [104.0, 52.0], if reach > 0 && t >= reach { SAND } else { PALE });
            picture.text(column(t), y + 22.0, &format!("keep {keep:.3}"));
            picture.text(column(t), y + 42.0, &format!("add {add:.3}"));
        }
    }
    picture.finish()
}

/// The three passes of a scan in spans.
pub fn spans() -> String {
    let mut picture = Picture::new(720, 330);
    let spans = 4;
    let at = |span: usize| 150.0 + 140.0 * span as f64;
    for (name, y) in [("1  span edge", 50.0), ("2  pass on", 160.0), ("3  scan", 270.0)] {
        picture.label(16.0, y + 5.0, name);
    }
    for span in 0..spans {
        let x = at(span);
        for (y, fill) in [(30.0, PALE), (250.0, SAND)] {
            for token in 0..6 {
                picture.rect([x + 18.0 * token as f64, y], [16.0, 36.0], fill);
            }
        }
        if span + 1 < spans {
            picture.arrow([x + 98.0, 66.0], [x + 98.0, 138.0], BLUE);
            picture.text_in(x + 92.0, 106.0, &format!("p{span}, S{span}"), BLUE, "end");
            picture.arrow([x + 22.0, 160.0], [at(span + 1) - 14.0, 160.0], RED);
        }
        picture.circle([x + 4.0, 160.0], 17.0, SAND);
        picture.text(x + 4.0, 165.0, &format!("h{span}"));
        picture.arrow([x + 4.0, 177.0], [x + 4.0, 248.0], RED);
        picture.arrow([x, 300.0], [x + 106.0, 300.0], INK);
        picture.text(x + 53.0, 318.0, &format!("span {span}"));
    }
    picture.finish()
}

/// States forward, their gradients backward, if every output has the gradient 1.
pub fn backward() -> String {
    let mut picture = Picture::new(720, 310);
    let (h, grads) = (states(&U, &DELTA), grads(&U, &DELTA, &[1.0; 4]));
    for (name, y) in [("state h", 65.0), ("∂L/∂y", 150.0), ("gradient G", 225.0), ("∂L/∂u, ∂L/∂δ", 295.0)]
    {
        picture.label(10.0, y, name);
    }
    for t in 0..4 {
        let x = column(t);
        picture.circle([x, 60.0], 31.0, PALE);
        picture.text(x, 65.0, &format!("{:.3}", h[t]));
        picture.text(x, 150.0, "1");
        picture.arrow([x, 156.0], [x, 187.0], BLUE);
        picture.circle([x, 220.0], 31.0, SAND);
        picture.text(x, 225.0, &format!("{:.3}", grads.h[t]));
        picture.arrow([x, 251.0], [x, 278.0], FAINT);
        picture.text(x, 295.0, &format!("{:.3}, {:.3}", grads.u[t], grads.delta[t]));
        if t < 3 {
            let keep = (-DELTA[t + 1]).exp();
            picture.arrow([x + 31.0, 60.0], [column(t + 1) - 32.0, 60.0], INK);
            picture.arrow([column(t + 1) - 31.0, 220.0], [x + 32.0, 220.0], RED);
            for (y, color) in [(50.0, INK), (211.0, RED)] {
                picture.text_in(x + 75.0, y, &format!("× {keep:.3}"), color, "middle");
            }
        }
    }
    picture.finish()
}
