//! Parquet files, good and bad.

use mamba_ts::data::{DataError, Loaded, ReadOptions, Repair, Series};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;
use std::sync::Arc;

/// The values of a column that are not null, and which are not; none if nulls are not allowed.
type Levels = Option<Vec<i16>>;
enum Column {
    Int32(Vec<i32>, Levels),
    Int64(Vec<i64>, Levels),
    Float(Vec<f32>, Levels),
    Double(Vec<f64>, Levels),
    Text(Vec<&'static str>, Levels),
}

/// Writes `columns` in as many row groups as told.
fn write(path: &Path, schema: &str, columns: &[Column], groups: usize, compression: Compression) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer =
        SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for _ in 0..groups {
        let mut group = writer.next_row_group().unwrap();
        for column in columns {
            let mut writer = group.next_column().unwrap().unwrap();
            let mut put = |column: &Column| match column {
                Column::Int32(values, levels) => put::<Int32Type>(&mut writer, values, levels),
                Column::Int64(values, levels) => put::<Int64Type>(&mut writer, values, levels),
                Column::Float(values, levels) => put::<FloatType>(&mut writer, values, levels),
                Column::Double(values, levels) => put::<DoubleType>(&mut writer, values, levels),
                Column::Text(values, levels) => {
                    let values: Vec<_> = values.iter().map(|&text| ByteArray::from(text)).collect();
                    put::<ByteArrayType>(&mut writer, &values, levels);
                }
            };
            put(column);
            writer.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn put<T: DataType>(writer: &mut parquet::file::writer::SerializedColumnWriter, values: &[T::T], levels: &Levels) {
    writer.typed::<T>().write_batch(values, levels.as_deref(), None).unwrap();
}

fn read(schema: &str, columns: &[Column]) -> Result<Loaded, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.parquet");
    write(&path, schema, columns, 1, Compression::UNCOMPRESSED);
    Series::read(path, &ReadOptions::default())
}

fn csv(text: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.csv");
    std::fs::write(&path, text).unwrap();
    Series::read(path, &ReadOptions::default()).unwrap()
}

const HOUR: i64 = 3600;
/// Midnight of 2020-01-01.
const START: i64 = 1_577_836_800;

#[test]
fn a_table_is_what_the_same_csv_file_is() {
    let expected =
        csv("date,a,b,c,name\n2020-01-01 00:00,1.5,,7,x\n2020-01-01 03:00,NaN,4,8,y\n2020-01-01 01:00,inf,5,-9,z\n");
    let schema = "message table {
        REQUIRED INT64 date (TIMESTAMP(NANOS, false)); OPTIONAL DOUBLE a; OPTIONAL INT32 b; REQUIRED INT64 c;
        REQUIRED BYTE_ARRAY name (UTF8);
    }";
    let date = [0, 3, 1].map(|hour| (START + hour * HOUR) * 1_000_000_000).to_vec();
    let columns = [
        Column::Int64(date, None),
        Column::Double(vec![1.5, f64::NAN, f64::INFINITY], Some(vec![1, 1, 1])),
        Column::Int32(vec![4, 5], Some(vec![0, 1, 1])),
        Column::Int64(vec![7, 8, -9], None),
        Column::Text(vec!["x", "y", "z"], None),
    ];
    let loaded = read(schema, &columns).unwrap();
    assert_eq!(loaded.repairs, expected.repairs);
    assert_eq!(loaded.repairs.len(), 7, "{:?}", loaded.repairs);
    // NaN is not equal to itself.
    assert_eq!(format!("{:?}", loaded.series), format!("{:?}", expected.series));
}

#[test]
fn dates_and_numbers_of_every_kind_are_read() {
    let expected = csv("date,a\n2020-01-01,1.25\n2020-01-02,-2.5\n").series;
    let (days, day) = (vec![18_262, 18_263], 24 * HOUR);
    for (kind, column) in [
        ("INT32 date (DATE)", Column::Int32(days, None)),
        ("INT64 date (TIMESTAMP(MILLIS, true))", Column::Int64(vec![START * 1000, (START + day) * 1000], None)),
        ("INT64 date (TIMESTAMP_MICROS)", Column::Int64(vec![START * 1_000_000, (START + day) * 1_000_000], None)),
        ("BYTE_ARRAY date (UTF8)", Column::Text(vec!["2020-01-01", "2020-01-02"], None)),
        (
            "INT64 __index_level_0__ (TIMESTAMP_MICROS)",
            Column::Int64(vec![START * 1_000_000, (START + day) * 1_000_000], None),
        ),
    ] {
        let schema = format!("message table {{ REQUIRED {kind}; REQUIRED FLOAT a; }}");
        assert_eq!(read(&schema, &[column, Column::Float(vec![1.25, -2.5], None)]).unwrap().series, expected, "{kind}");
    }
    for (kind, column) in [
        ("INT32 a (DECIMAL(5, 2))", Column::Int32(vec![125, -250], None)),
        ("INT64 a (DECIMAL(12, 2))", Column::Int64(vec![125, -250], None)),
        ("DOUBLE a", Column::Double(vec![1.25, -2.5], None)),
    ] {
        let schema = format!("message table {{ REQUIRED INT32 date (DATE); REQUIRED {kind}; }}");
        let date = Column::Int32(vec![18_262, 18_263], None);
        assert_eq!(read(&schema, &[date, column]).unwrap().series, expected, "{kind}");
    }
    let schema =
        "message table { REQUIRED INT32 date (DATE); REQUIRED INT32 a (UINT_32); REQUIRED INT32 __index_level_0__; }";
    let columns = [[18_262, 18_263], [-1, 0], [5, 6]].map(|values| Column::Int32(values.to_vec(), None));
    let loaded = read(schema, &columns).unwrap();
    assert_eq!(loaded.series.values(), [u32::MAX as f32, 0.0]);
    assert_eq!(loaded.repairs, [Repair::UnnamedColumn { place: 3 }]);
}

#[test]
fn files_of_many_rows_and_groups_are_read_whole_however_they_are_packed() {
    let rows = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.PARQUET");
    let schema = "message table { OPTIONAL DOUBLE a; REQUIRED INT64 date (TIMESTAMP_MILLIS); }";
    let levels = (0..rows).map(|row| i16::from(row % 3 != 0)).collect();
    let values = (0..rows).filter(|row| row % 3 != 0).map(|row| (row % 100) as f64).collect();
    let date = (0..rows).map(|row| (START + row as i64 * HOUR) * 1000).collect();
    let columns = [Column::Double(values, Some(levels)), Column::Int64(date, None)];
    let gzip = Compression::GZIP(Default::default());
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW, gzip] {
        // Twice the same rows.
        write(&path, schema, &columns, 2, compression);
        let loaded = Series::read(&path, &ReadOptions::default()).unwrap();
        assert!(matches!(loaded.repairs[2], Repair::Duplicates { rows: 5_000, .. }), "{:?}", loaded.repairs);
        let series = loaded.series;
        assert_eq!(series.len(), rows);
        for row in 0..rows {
            let value = series.row(row)[0];
            assert!(if row % 3 == 0 { value.is_nan() } else { value == (row % 100) as f32 }, "row {row}: {value}");
        }
    }
}

#[test]
fn what_is_no_table_of_numbers_is_refused() {
    let date = || Column::Int32(vec![18_262, 18_263], None);
    let schema = "message table { REQUIRED INT32 date (DATE); REQUIRED BYTE_ARRAY a (UTF8); REQUIRED DOUBLE b; }";
    let columns = [date(), Column::Text(vec!["1", "oops"], None), Column::Double(vec![1.0, 2.0], None)];
    assert_eq!(read(schema, &columns).unwrap_err().to_string(), "row 2 of the column `a` is `oops`, expected a number");
    let schema = "message table { REQUIRED INT32 date (DATE); REQUIRED GROUP a { REQUIRED DOUBLE b; } }";
    let error = read(schema, &[date(), Column::Double(vec![1.0, 2.0], None)]).unwrap_err().to_string();
    assert!(error.contains("the column `a.b` is nested, expected plain columns"), "{error}");
    let schema = "message table { REQUIRED INT32 date (DATE); REQUIRED DOUBLE a; }";
    let error = read(schema, &[Column::Int32(vec![], None), Column::Double(vec![], None)]).unwrap_err().to_string();
    assert!(error.contains("series.parquet") && error.contains("it has no row"), "{error}");
}

#[test]
fn damaged_files_do_no_more_than_fail() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.parquet");
    let schema =
        "message table { REQUIRED INT64 date (TIMESTAMP_MILLIS); OPTIONAL DOUBLE a; OPTIONAL BYTE_ARRAY b (UTF8); }";
    let date = (0..20).map(|row| (START + row * HOUR) * 1000).collect();
    let columns = [
        Column::Int64(date, None),
        Column::Double((0..15).map(f64::from).collect(), Some((0..20).map(|row| i16::from(row % 4 != 0)).collect())),
        Column::Text(vec!["x"; 20], Some(vec![1; 20])),
    ];
    write(&path, schema, &columns, 2, Compression::SNAPPY);
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 3, 11, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Series::read(&path, &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("series.parquet"), "{error}");
    }
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..bytes.len());
            bytes[place] = rng.random();
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(loaded) = Series::read(&path, &ReadOptions::default()) {
            assert!(loaded.series.values().iter().all(|value| !value.is_infinite()));
        }
    }
}
