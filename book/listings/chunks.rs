//! Chapter 'The parallel scan and chunks': the three passes of the kernels, for one channel.

/// The numbers of a token: `δ`, `δ u`, and `b` and `c` of `N` states.
#[derive(Clone)]
struct Token<const N: usize> {
    delta: f32,
    x: f32,
    b: [f32; N],
    c: [f32; N],
}

// ANCHOR: scan
/// The recurrence over some tokens, from the state `h`, which it leaves behind them.
fn scan<const N: usize>(tokens: &[Token<N>], a: [f32; N], h: &mut [f32; N]) -> Vec<f32> {
    let mut y = Vec::new();
    for Token { delta, x, b, c } in tokens {
        for n in 0..N {
            h[n] = (delta * a[n]).exp() * h[n] + b[n] * x;
        }
        y.push((0..N).map(|n| c[n] * h[n]).sum());
    }
    y
}
// ANCHOR_END: scan

// ANCHOR: passes
fn scan_in_spans<const N: usize>(tokens: &[Token<N>], a: [f32; N], h: [f32; N], span: usize) -> Vec<f32> {
    let spans: Vec<_> = tokens.chunks(span).collect();

    // 1. Every span by itself: what it adds, and how much time passes in it.
    let edges = spans.iter().map(|tokens| {
        let mut added = [0.0; N];
        scan(tokens, a, &mut added);
        let time: f32 = tokens.iter().map(|token| token.delta).sum();
        (added, time)
    });

    // 2. From span to span: the state with which each begins.
    let mut entry = h;
    let entries: Vec<_> = edges
        .map(|(added, time)| {
            let next = std::array::from_fn(|n| (a[n] * time).exp() * entry[n] + added[n]);
            std::mem::replace(&mut entry, next)
        })
        .collect();

    // 3. Every span again, from there.
    spans.iter().zip(entries).flat_map(|(tokens, mut h)| scan(tokens, a, &mut h)).collect()
}
// ANCHOR_END: passes

fn tokens(length: usize) -> Vec<Token<3>> {
    let wave = |t: usize, k: usize| (0.7 * t as f32 + 1.9 * k as f32).sin();
    let states = |t, k| std::array::from_fn(|n| wave(t, k + n));
    let token = |t| Token { delta: 0.2 + 0.1 * wave(t, 1), x: wave(t, 2), b: states(t, 3), c: states(t, 6) };
    (0..length).map(token).collect()
}

#[test]
fn spans_of_any_length_are_the_whole() {
    let (tokens, a, h) = (tokens(37), [-0.5, -1.0, -2.0], [0.3, -0.2, 0.1]);
    let whole = scan(&tokens, a, &mut h.clone());
    for span in [1, 2, 5, 16, 37, 64] {
        for (whole, y) in whole.iter().zip(scan_in_spans(&tokens, a, h, span)) {
            assert!((whole - y).abs() < 1e-5, "spans of {span}");
        }
    }
}
