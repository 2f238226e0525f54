//! Series from Parquet files.

use super::table::{Table, check_names};
use super::{DataError, Loaded, ReadOptions, Series};
use csv::StringRecord;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Span, civil::DateTime};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};
use std::fs::File;
use std::path::Path;

/// Rows that are held as text at a time.
const CHUNK: usize = 4096;
/// What pandas calls an index without a name.
const INDEX: &str = "__index_level_";

impl Series {
    /// Reads a Parquet file of plain columns, packed with Snappy, gzip, LZ4 or not at all. It is what
    /// [`read_csv`](Self::read_csv) makes of the same table: nulls are missing values, and every repair is told.
    ///
    /// # Errors
    /// As [`read_csv`](Self::read_csv).
    ///
    /// ```no_run
    /// use mamba_ts::data::{ReadOptions, Series};
    ///
    /// # fn main() -> Result<(), mamba_ts::data::DataError> {
    /// let loaded = Series::read_parquet("my.parquet", &ReadOptions::default())?;
    /// println!("{} columns of {} rows", loaded.series.variates(), loaded.series.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_parquet(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Loaded, DataError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| DataError::Read { path: path.to_path_buf(), source })?;
        let table = |reason: String| DataError::Table { path: path.to_path_buf(), reason };
        let broken = |error: ParquetError| table(error.to_string());
        let reader = SerializedFileReader::new(file).map_err(broken)?;
        let columns = reader.metadata().file_metadata().schema_descr().columns().to_vec();
        if let Some(column) =
            columns.iter().find(|column| column.path().parts().len() > 1 || column.max_rep_level() > 0)
        {
            return Err(table(format!("the column `{}` is nested, expected plain columns", column.path().string())));
        }
        let name = |column: &ColumnDescPtr| match column.name() {
            index if index.starts_with(INDEX) => String::new(),
            name => name.to_string(),
        };
        let names: Vec<_> = columns.iter().map(name).collect();
        check_names(&names).map_err(table)?;
        let mut rows = Table::new(names, options);
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).map_err(broken)?;
            let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            let mut fields = Vec::with_capacity(columns.len());
            for (place, column) in columns.iter().enumerate() {
                fields.push(Fields::new(&*group, place, column).map_err(broken)?);
            }
            while left > 0 {
                let count = left.min(CHUNK);
                let texts = fields.iter_mut().map(|fields| fields.read(count)).collect::<Result<Vec<_>, _>>();
                let texts = texts.map_err(broken)?;
                if let Some(place) = texts.iter().position(|texts| texts.len() != count) {
                    return Err(table(format!("the column `{}` ends too early", columns[place].name())));
                }
                for row in 0..count {
                    rows.push(&texts.iter().map(|texts| texts[row].as_str()).collect::<StringRecord>())?;
                }
                left -= count;
            }
        }
        rows.finish()?.ok_or_else(|| table("it has no row".to_string()))
    }
}

/// The fields of a column in one row group, as they would stand in a CSV file.
struct Fields {
    reader: ColumnReader,
    kind: Kind,
    is_nullable: bool,
}

/// What the numbers of a column are.
#[derive(Clone, Copy)]
enum Kind {
    Number,
    Unsigned,
    /// So many digits are behind the point.
    Decimal(i32),
    /// Days since 1970.
    Date,
    /// Since 1970; so many of them are a second.
    Timestamp(i64),
}

impl Kind {
    fn of(column: &ColumnDescriptor) -> Self {
        match (column.converted_type(), column.logical_type_ref()) {
            (_, Some(LogicalType::Timestamp(time))) if time.unit == TimeUnit::NANOS => Self::Timestamp(1_000_000_000),
            (ConvertedType::TIMESTAMP_MICROS, _) => Self::Timestamp(1_000_000),
            (ConvertedType::TIMESTAMP_MILLIS, _) => Self::Timestamp(1_000),
            (ConvertedType::DATE, _) => Self::Date,
            (ConvertedType::DECIMAL, _) => Self::Decimal(column.type_scale()),
            (ConvertedType::UINT_32 | ConvertedType::UINT_64, _) => Self::Unsigned,
            _ => Self::Number,
        }
    }

    /// The text of an integer; `bits` are those of the unsigned one.
    fn text(self, value: i64, bits: u64) -> String {
        let date = |days: i64| {
            let days = Span::new().try_days(days).ok()?;
            Date::constant(1970, 1, 1).checked_add(days).ok()
        };
        let time = |per_second: i64| -> Option<DateTime> {
            let nanos = i128::from(value) * i128::from(1_000_000_000 / per_second);
            Some(Offset::UTC.to_datetime(Timestamp::from_nanosecond(nanos).ok()?))
        };
        // A date beyond the calendar is told as the number that it is.
        match self {
            Self::Number => value.to_string(),
            Self::Unsigned => bits.to_string(),
            Self::Decimal(scale) => (value as f64 / 10_f64.powi(scale)).to_string(),
            Self::Date => date(value).map_or_else(|| value.to_string(), |date| date.to_string()),
            Self::Timestamp(unit) => time(unit).map_or_else(|| value.to_string(), |time| time.to_string()),
        }
    }
}

impl Fields {
    fn new(group: &dyn RowGroupReader, place: usize, column: &ColumnDescriptor) -> Result<Self, ParquetError> {
        let reader = group.get_column_reader(place)?;
        Ok(Self { reader, kind: Kind::of(column), is_nullable: column.max_def_level() > 0 })
    }

    /// The next `count` fields, empty where a value is null; fewer if there are no more.
    fn read(&mut self, count: usize) -> Result<Vec<String>, ParquetError> {
        let (kind, is_nullable) = (self.kind, self.is_nullable);
        let bytes = |bytes: &[u8]| match kind {
            Kind::Decimal(scale) => decimal(bytes, scale),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        };
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => {
                texts(reader, count, is_nullable, |&value| u8::from(value).to_string())
            }
            ColumnReader::Int32ColumnReader(reader) => {
                texts(reader, count, is_nullable, |&value| kind.text(value.into(), u64::from(value as u32)))
            }
            ColumnReader::Int64ColumnReader(reader) => {
                texts(reader, count, is_nullable, |&value| kind.text(value, value as u64))
            }
            // Times of Spark and Impala.
            ColumnReader::Int96ColumnReader(reader) => {
                texts(reader, count, is_nullable, |value| Kind::Timestamp(1_000_000).text(value.to_micros(), 0))
            }
            ColumnReader::FloatColumnReader(reader) => texts(reader, count, is_nullable, f32::to_string),
            ColumnReader::DoubleColumnReader(reader) => texts(reader, count, is_nullable, f64::to_string),
            ColumnReader::ByteArrayColumnReader(reader) => {
                texts(reader, count, is_nullable, |value| bytes(value.data()))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                texts(reader, count, is_nullable, |value| bytes(value.data()))
            }
        }
    }
}

/// A big-endian integer with so many digits behind the point.
fn decimal(bytes: &[u8], scale: i32) -> String {
    let start = if bytes.first().is_some_and(|&byte| byte >= 0x80) { -1.0 } else { 0.0 };
    let value = bytes.iter().fold(start, |value: f64, &byte| value * 256.0 + f64::from(byte));
    (value / 10_f64.powi(scale)).to_string()
}

fn texts<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    is_nullable: bool,
    text: impl Fn(&T::T) -> String,
) -> Result<Vec<String>, ParquetError> {
    let (mut levels, mut values, mut done) = (Vec::new(), Vec::new(), 0);
    while done < count {
        // A page may end before.
        let (rows, ..) = reader.read_records(count - done, Some(&mut levels), None, &mut values)?;
        if rows == 0 {
            break;
        }
        done += rows;
    }
    let mut values = values.iter().map(text);
    Ok(match is_nullable {
        true => {
            levels.iter().map_while(|&level| if level == 0 { Some(String::new()) } else { values.next() }).collect()
        }
        false => values.collect(),
    })
}
