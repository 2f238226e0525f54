//! Tables in Markdown.

use mamba_ts::metrics::{Evaluation, Scores};

/// Columns of the same width.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |row: &[String]| format!("| {} |\n", row.join(" | "));
    let header: Vec<_> = header.iter().map(|name| name.to_string()).collect();
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    rows.iter().fold(cells(&header) + &rule, |table, row| table + &cells(row))
}

/// The scores at some steps of the horizon and over all of it.
pub fn scores(evaluation: &Evaluation, horizon: usize) -> String {
    let whole = evaluation.scores();
    let mut header = vec!["step", "MSE", "MAE", "RMSE", "sMAPE"];
    let optional = [("MASE", whole.mase), ("pinball", whole.pinball), ("CRPS", whole.crps)];
    header.extend(optional.iter().filter(|(_, score)| score.is_some()).map(|(name, _)| *name));
    let row = |name: String, scores: Scores| {
        let Scores { mse, mae, rmse, smape, mase, pinball, crps } = scores;
        let values = [Some(mse), Some(mae), Some(rmse), Some(smape), mase, pinball, crps];
        std::iter::once(name).chain(values.into_iter().flatten().map(|value| format!("{value:.4}"))).collect()
    };
    let step = |step: usize| row((step + 1).to_string(), evaluation.scores_of(step..step + 1));
    let mut steps = vec![0, horizon / 4, horizon / 2, 3 * horizon / 4, horizon - 1];
    steps.dedup();
    let mut rows: Vec<Vec<String>> = steps.into_iter().map(step).collect();
    rows.push(row("all".to_string(), whole));
    table(&header, &rows)
}
