//! Chapter 'From a recurrence to the selective scan': one channel with one state, by hand.

// ANCHOR: tokens
/// The inputs `u` and the step sizes `δ` of four tokens; `a = −1`, and `b = c = 1`.
pub const U: [f64; 4] = [1.0, 1.0, -1.0, 1.0];
pub const DELTA: [f64; 4] = [1.0, 0.05, 2.0, 0.5];

/// The state after each token.
pub fn states(u: &[f64], delta: &[f64]) -> Vec<f64> {
    let a = -1.0_f64;
    let mut h = 0.0;
    let mut states = Vec::new();
    for (u, delta) in u.iter().zip(delta) {
        h = (delta * a).exp() * h + delta * u;
        states.push(h);
    }
    states
}
// ANCHOR_END: tokens

// ANCHOR: piece
/// What some neighbouring tokens do to the state: `h ↦ keep · h + add`.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub keep: f64,
    pub add: f64,
}

impl Piece {
    /// One token.
    pub fn token(u: f64, delta: f64) -> Self {
        Self { keep: (-delta).exp(), add: delta * u }
    }

    /// This piece and then the next. The result is a piece again, and brackets do not matter.
    pub fn then(self, next: Self) -> Self {
        Self { keep: next.keep * self.keep, add: next.keep * self.add + next.add }
    }
}
// ANCHOR_END: piece

// ANCHOR: parallel
/// In `⌈log₂ n⌉` rounds, each of which could treat all tokens at once (Hillis and Steele 1986).
fn parallel_scan(mut pieces: Vec<Piece>) -> Vec<Piece> {
    let mut reach = 1;
    while reach < pieces.len() {
        let before = pieces.clone();
        for (t, piece) in pieces.iter_mut().enumerate().skip(reach) {
            *piece = before[t - reach].then(*piece);
        }
        reach *= 2;
    }
    pieces
}
// ANCHOR_END: parallel

/// The pieces of the four tokens.
pub fn pieces() -> Vec<Piece> {
    U.iter().zip(&DELTA).map(|(&u, &delta)| Piece::token(u, delta)).collect()
}

#[test]
fn the_chapter_states_these_numbers() {
    let rounded: Vec<String> = states(&U, &DELTA).iter().map(|h| format!("{h:.3}")).collect();
    assert_eq!(rounded, ["1.000", "1.001", "-1.864", "-0.631"]);
    let chapter = include_str!("../src/selective-scan.md").replace('−', "-");
    for number in rounded {
        assert!(chapter.contains(&number), "{number} is not in the chapter");
    }
}

#[test]
fn pieces_join_in_any_order() {
    let [a, b, c, d] = pieces().try_into().unwrap();
    let (left, right) = (a.then(b).then(c).then(d), a.then(b).then(c.then(d)));
    assert!((left.keep - right.keep).abs() < 1e-12 && (left.add - right.add).abs() < 1e-12);
}

#[test]
fn the_parallel_scan_finds_every_state() {
    let long: Vec<Piece> = (0..13).map(|t| Piece::token((t as f64).sin(), 0.1 * t as f64)).collect();
    for pieces in [pieces(), long] {
        let mut h = 0.0;
        for (piece, scanned) in pieces.iter().zip(parallel_scan(pieces.clone())) {
            h = piece.keep * h + piece.add;
            assert!((h - scanned.add).abs() < 1e-12);
        }
    }
}
