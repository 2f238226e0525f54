//! CSV files of all kinds, good and bad.

use mamba_ts::data::{DataError, Loaded, ReadOptions, Repair, Series};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::{Path, PathBuf};

fn read_with(text: &str, options: &ReadOptions) -> Result<Loaded, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.csv");
    std::fs::write(&path, text).unwrap();
    Series::read_csv(path, options)
}

fn read(text: &str) -> Result<Loaded, DataError> {
    read_with(text, &ReadOptions::default())
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

fn columns(names: &[&str]) -> ReadOptions {
    ReadOptions { columns: names.iter().map(|name| name.to_string()).collect(), ..Default::default() }
}

#[test]
fn a_clean_file_needs_no_repair() {
    let loaded = read("date,a,b\n2020-01-01 00:00,1,-2.5\n2020-01-01 01:00,3,1e3\n").unwrap();
    assert_eq!(loaded.repairs, []);
    let series = loaded.series;
    assert_eq!((series.len(), series.names()), (2, &["a".to_string(), "b".to_string()][..]));
    assert_eq!(series.values(), [1.0, -2.5, 3.0, 1000.0]);
    let calendar = series.calendar().unwrap();
    assert_eq!(
        (calendar.frequency.to_string().as_str(), calendar.start.to_string().as_str()),
        ("h", "2020-01-01T00:00:00")
    );
}

#[test]
fn separators_marks_and_quotes_of_many_programs_are_read() {
    let expected = read("date,a,b\n2020-01-01,1,2\n2020-01-02,3,4\n").unwrap().series;
    for text in [
        "date;a;b\n2020-01-01;1;2\n2020-01-02;3;4\n",
        "date\ta\tb\n2020-01-01\t1\t2\n2020-01-02\t3\t4\n",
        "\u{feff}date,a,b\r\n2020-01-01,1,2\r\n2020-01-02,3,4",
        "\"date\",\"a\",\"b\"\n\"2020-01-01\",\"1\",\"2\"\n2020-01-02 , 3, 4 \n",
        "a,b,when\n1,2,01.01.2020\n3,4,02.01.2020\n",
        "year,month,day,a,b\n2020,1,1,1,2\n2020,1,2,3,4\n",
    ] {
        assert_eq!(read(text).unwrap().series, expected, "{text}");
    }
    let us = "date,a,b\n01/01/2020,1,2\n01/02/2020,3,4\n";
    let options = ReadOptions { date_format: Some("%m/%d/%Y".into()), ..Default::default() };
    assert_eq!(read_with(us, &options).unwrap().series, expected);
    // The first of February, or the second of January.
    assert!(matches!(read(us), Err(DataError::NoDates { .. })));
}

#[test]
fn rows_out_of_order_twice_or_missing_are_put_right_and_told() {
    let loaded = read("date,a\n2020-01-01,1\n2020-01-03,3\n2020-01-02,2\n2020-01-03,4\n2020-01-06,6\n").unwrap();
    let values = loaded.series.values();
    assert_eq!((&values[..3], values[5]), (&[1.0, 2.0, 4.0][..], 6.0));
    assert!(values[3].is_nan() && values[4].is_nan() && values.len() == 6);
    let expected = [
        Repair::Sorted { rows: 1 },
        Repair::Duplicates { rows: 1, first: "2020-01-03T00:00:00".into() },
        Repair::Gaps { rows: 2, first: "2020-01-04T00:00:00".into() },
    ];
    assert_eq!(loaded.repairs, expected);
}

#[test]
fn values_that_are_none_are_missing_and_told() {
    let text = "date,a,b,c,d\n2020-01-01,NA,inf,7,x\n2020-01-02,,2,7,y\n2020-01-03,3,-1e99,7,z\n";
    let loaded = read(text).unwrap();
    assert_eq!((loaded.series.names().len(), loaded.series.missing()), (3, 4));
    let expected = [
        Repair::Missing { column: "a".into(), values: 2 },
        Repair::Constant { column: "a".into(), value: 3.0 },
        Repair::Infinite { column: "b".into(), values: 2 },
        Repair::Constant { column: "b".into(), value: 2.0 },
        Repair::Constant { column: "c".into(), value: 7.0 },
        Repair::TextColumn { column: "d".into(), example: "x".into() },
    ];
    assert_eq!(loaded.repairs, expected);
    assert!(loaded.repairs.iter().all(|repair| !repair.to_string().is_empty()));
}

#[test]
fn what_cannot_be_put_right_is_refused_with_its_place() {
    let text = "date,a,b\n2020-01-01,1,2\n2020-01-02,oops,4\n";
    assert_eq!(refusal(text), "row 2 of the column `a` is `oops`, expected a number");
    assert!(read_with(text, &columns(&["b"])).is_ok());
    let error = read_with(text, &columns(&["c"])).unwrap_err().to_string();
    assert_eq!(error, "there is no column `c`, expected one of date, a, b");
    let text = "date,a,b\n2020-01-01,x,\n2020-01-02,y,\n";
    assert!(matches!(read_with(text, &columns(&["a"])), Err(DataError::Text { row: 1, .. })));
    assert!(matches!(read_with(text, &columns(&["b"])), Err(DataError::NoValues { .. })));
    assert!(matches!(read(text), Err(DataError::NoColumns)));

    assert!(refusal("date,a\n2020-01-01,1\nyesterday,2\n").starts_with("row 2 has the date `yesterday`"));
    assert!(
        refusal("date,a\n2020-01-01,1\n2020-01-02,2\n2020-01-03,2\n2020-01-03 12:00,2\n")
            .starts_with("row 4 has the time")
    );
    assert!(refusal("a,b\n1,2\n3,4\n").starts_with("no column has dates"));
    assert!(refusal("date,a\n2020-01-01,1\n").starts_with("there are 1 rows with different times"));
    assert!(
        refusal("date,a\n2020-01-01,1\n2020-01-02,1\n2029-01-01,1\n").contains("are missing: the frequency is another")
    );
    for (text, reason) in [
        ("", "expected the names of the columns"),
        ("date,a\n", "it has no row"),
        ("date,a,a\n2020-01-01,1,2\n", "two columns `a`"),
        ("2020-01-01,1\n2020-01-02,2\n", "expected the names of the columns"),
        ("date,a\n2020-01-01,1\n2020-01-02\n", "row 2 has 1 fields, expected 2"),
    ] {
        let error = refusal(text);
        assert!(error.contains(reason) && error.contains("series.csv"), "{text}: {error}");
    }
    assert!(matches!(Series::read_csv("no_such.csv", &ReadOptions::default()), Err(DataError::Read { .. })));
}

#[test]
fn columns_without_a_name_are_left_out() {
    let pandas = ",date,a\n0,2020-01-01,1\n1,2020-01-02,2\n";
    let loaded = read(pandas).unwrap();
    assert_eq!(
        (loaded.series.values(), &loaded.repairs[..]),
        (&[1.0, 2.0][..], &[Repair::UnnamedColumn { place: 1 }][..])
    );
    // The index may be the dates.
    assert_eq!(read(",a\n2020-01-01,1\n2020-01-02,2\n").unwrap().repairs, []);
}

#[test]
fn damaged_files_do_no_more_than_fail() {
    let text = "date,a,b\n2020-01-01 00:00,1,NA\n2020-01-01 01:00,-3.5,\"4\"\n2020-01-01 03:00,1e3,5\n";
    let mut rng = StdRng::seed_from_u64(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.csv");
    for _ in 0..400 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..bytes.len());
            match rng.random_range(0..3) {
                0 => bytes[place] = rng.random(),
                1 => drop(bytes.remove(place)),
                _ => bytes.insert(place, b",;\n\"9-:"[rng.random_range(0..7)]),
            }
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(loaded) = Series::read_csv(&path, &ReadOptions::default()) {
            assert!(loaded.series.values().iter().all(|value| !value.is_infinite()));
        }
    }
}

#[test]
fn a_given_frequency_counts() {
    let text = "date,a\n2020-01-01,1\n2020-01-03,2\n2020-01-05,3\n";
    assert_eq!(read(text).unwrap().series.len(), 3);
    let options = ReadOptions { frequency: Some("d".parse().unwrap()), ..Default::default() };
    assert_eq!(read_with(text, &options).unwrap().series.len(), 5);
    let options = ReadOptions { frequency: Some("4d".parse().unwrap()), ..Default::default() };
    assert!(matches!(read_with(text, &options), Err(DataError::OffGrid { row: 2, .. })));
}

#[test]
fn months_are_of_different_lengths() {
    let series = read("Month,Passengers\n1949-01,112\n1949-02,118\n1949-03,132\n1949-05,129\n").unwrap().series;
    assert_eq!((series.len(), series.calendar().unwrap().frequency.to_string().as_str()), (5, "mo"));
    assert_eq!(series.calendar().unwrap().time(13).unwrap().to_string(), "1950-02-01T00:00:00");
}

/// Real files, if they are there.
fn shipped(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/time-series/data").join(name);
    path.exists().then_some(path)
}

#[test]
fn the_shipped_series_with_gaps_is_read() {
    let Some(path) = shipped("hourly_beijing_pm.csv") else { return eprintln!("it is not there: skipped") };
    let loaded = Series::read_csv(&path, &columns(&["pm2.5", "TEMP"])).unwrap();
    assert_eq!(loaded.repairs, [Repair::Missing { column: "pm2.5".into(), values: 2067 }]);
    assert_eq!((loaded.series.len(), loaded.series.missing()), (43_824, 2067));
    let calendar = loaded.series.calendar().unwrap();
    assert_eq!(
        (calendar.start.to_string(), calendar.frequency.to_string()),
        ("2010-01-01T00:00:00".into(), "h".into())
    );
    let repairs = Series::read_csv(&path, &ReadOptions::default()).unwrap().repairs;
    assert!(repairs.contains(&Repair::TextColumn { column: "cbwd".into(), example: "NW".into() }), "{repairs:?}");
}

#[test]
fn the_shipped_series_is_read() {
    let Some(path) = shipped("ETTh1.csv") else { return eprintln!("ETTh1.csv is not there: skipped") };
    let loaded = Series::read_csv(path, &ReadOptions::default()).unwrap();
    assert_eq!((loaded.repairs.len(), loaded.series.len(), loaded.series.variates()), (0, 17420, 7));
    assert_eq!(loaded.series.calendar().unwrap().frequency.to_string(), "h");
}
