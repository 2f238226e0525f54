//! How much memory the program takes, where the system tells it (Linux).

use std::fs;

/// The most resident memory since the start of the program or [`forget_peak`], in bytes.
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Starts to measure the peak again from what is in use now. Where that cannot be, it goes on.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..100_000 => format!("{:.1} kB", count as f64 / 1e3),
        100_000..10_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_fitting_unit() {
        assert_eq!([999, 123_456, 516_541_440, 29_000_000_000].map(bytes), ["1.0 kB", "0.1 MB", "516.5 MB", "29.0 GB"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_is_known_on_linux() {
        assert!(peak().unwrap() > 100_000);
    }
}
