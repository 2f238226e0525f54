//! From times in any order to evenly spaced ones.

use super::{Calendar, DataError, Frequency, Repair};
use jiff::civil::DateTime;

/// The calendar of rows at `times`, and which row each of its steps has; none where one is missing.
pub(super) fn on_grid(
    times: &[DateTime],
    frequency: Option<Frequency>,
    repairs: &mut Vec<Repair>,
) -> Result<(Calendar, Vec<Option<usize>>), DataError> {
    let mut order: Vec<_> = (0..times.len()).collect();
    let earlier = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
    if earlier > 0 {
        repairs.push(Repair::Sorted { rows: earlier });
        order.sort_by_key(|&row| times[row]);
    }

    let is_repeated = |pair: &&[usize]| times[pair[0]] == times[pair[1]];
    let rows = order.windows(2).filter(is_repeated).count();
    if let Some(first) = order.windows(2).find(is_repeated) {
        repairs.push(Repair::Duplicates { rows, first: times[first[0]].to_string() });
        // The sort keeps rows of one time in their order: the last one counts.
        let last = |chunk: &[usize]| chunk.last().copied();
        order = order.chunk_by(|&a, &b| times[a] == times[b]).filter_map(last).collect();
    }

    let sorted: Vec<_> = order.iter().map(|&row| times[row]).collect();
    let frequency = frequency.or_else(|| Frequency::infer(&sorted));
    let frequency = frequency.ok_or(DataError::NoFrequency { rows: sorted.len() })?;
    let calendar = Calendar { start: sorted[0], frequency };
    let mut grid = Vec::with_capacity(order.len());
    for &row in &order {
        let off_grid = || DataError::OffGrid {
            row: row + 1,
            time: times[row].to_string(),
            frequency: frequency.to_string(),
            start: calendar.start.to_string(),
        };
        let step = frequency.steps_between(calendar.start, times[row]).ok_or_else(off_grid)? as usize;
        if step < grid.len() {
            return Err(off_grid()); // Two rows within one month.
        }
        if step + 1 > 2 * times.len() {
            let expected = frequency.steps_between(calendar.start, sorted[sorted.len() - 1]);
            let expected = expected.map_or(step, |steps| steps as usize) + 1;
            let missing = expected - order.len();
            return Err(DataError::TooManyGaps { missing, expected, frequency: frequency.to_string() });
        }
        grid.resize(step, None);
        grid.push(Some(row));
    }
    let missing = grid.iter().filter(|row| row.is_none()).count();
    if let Some(first) = grid.iter().position(Option::is_none) {
        let first = calendar.time(first).map_or(String::new(), |time| time.to_string());
        repairs.push(Repair::Gaps { rows: missing, first });
    }
    Ok((calendar, grid))
}
