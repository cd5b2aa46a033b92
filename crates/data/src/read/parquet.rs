//! Parquet: text, numbers, booleans, nulls, lists and records of them. A place's line is the number of the row. Dates and
//! times become text; bytes become text where they are UTF-8; NaN, which pandas writes for a missing value, becomes null. Classes get
//! the names that Hugging Face's `datasets` puts into the schema. Snappy, gzip, LZ4 and Zstandard are unpacked.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use ::parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row as Record};

use super::class_names;
use super::text::{LFS_POINTER, LFS_REMEDY};
use super::tsv::twice;
use crate::{DataError, ErrorList, Place, Row, Value, foreign};

/// The rows of a Parquet file.
pub fn rows(file: &Arc<Path>) -> Result<Vec<Row>, Vec<DataError>> {
    let io = |source| vec![DataError::Io { path: file.to_path_buf(), source }];
    let mut opened = File::open(file).map_err(io)?;
    let mut begin = Vec::new();
    opened.by_ref().take(LFS_POINTER.len() as u64).read_to_end(&mut begin).map_err(io)?;
    if begin == LFS_POINTER {
        return Err(vec![DataError::Format { path: file.to_path_buf(), reason: LFS_REMEDY.into() }]);
    }
    guarded(file, opened)
}

/// The rows in the bytes of a Parquet file.
pub fn rows_of_bytes(file: &Arc<Path>, bytes: Vec<u8>) -> Result<Vec<Row>, Vec<DataError>> {
    guarded(file, bytes::Bytes::from(bytes))
}

fn guarded(file: &Arc<Path>, from: impl ChunkReader + 'static) -> Result<Vec<Row>, Vec<DataError>> {
    // The Parquet crate panics on some damaged files where it should return an error; a file is outside data, so that
    // becomes an error here.
    foreign::caught(|| read(file, from)).unwrap_or_else(|_| Err(broken(file, "the data is damaged")))
}

fn broken(file: &Arc<Path>, reason: impl std::fmt::Display) -> Vec<DataError> {
    let reason = reason.to_string();
    let hint = match reason.contains("Disabled feature") {
        true => " (compressed by a codec that is not built in; write it with Snappy, gzip, LZ4 or Zstandard)",
        false => "",
    };
    let reason = format!("cannot be read as Parquet: {reason}{hint}");
    vec![DataError::Format { path: file.to_path_buf(), reason }]
}

fn read(file: &Arc<Path>, from: impl ChunkReader + 'static) -> Result<Vec<Row>, Vec<DataError>> {
    let reader = SerializedFileReader::new(from).map_err(|error| broken(file, error))?;
    let columns = reader.metadata().file_metadata().schema().get_fields();
    let names: Vec<Arc<str>> = columns.iter().map(|column| column.name().into()).collect();
    if let Some(name) = twice(&names) {
        return Err(broken(file, format!("the column name {name:?} stands twice")));
    }
    let mut errors = ErrorList::new();
    let mut rows = Vec::new();
    for (i, record) in reader.get_row_iter(None).map_err(|error| broken(file, error))?.enumerate() {
        let place = Place { file: file.clone(), line: i + 1 };
        let record = record.map_err(|error| broken(file, format!("row {}: {error}", i + 1)))?;
        match row(&record, &names) {
            Ok(fields) => rows.push(Row { place, fields }),
            Err(reason) => errors.push(place.error(reason)),
        }
    }
    let key_values = reader.metadata().file_metadata().key_value_metadata();
    let metadata = key_values.into_iter().flatten().find(|entry| entry.key == "huggingface");
    let names = metadata.and_then(|entry| entry.value.as_deref()).map(class_names::of_hugging_face);
    errors.extend(class_names::put(&mut rows, &names.unwrap_or_default()).err().into_iter().flatten());
    let promised = reader.metadata().file_metadata().num_rows();
    if errors.is_empty() && i64::try_from(rows.len()) != Ok(promised) {
        return Err(broken(
            file,
            format!("found {} rows, expected {promised} as its footer says", rows.len()),
        ));
    }
    errors.finish(rows)
}

fn row(record: &Record, names: &[Arc<str>]) -> Result<Vec<(Arc<str>, Value)>, String> {
    let value = |(name, (_, field)): (&Arc<str>, (&String, &Field))| {
        let value = value(field).map_err(|reason| format!("field {name:?}: {reason}"))?;
        Ok((name.clone(), value))
    };
    names.iter().zip(record.get_column_iter()).map(value).collect()
}

fn float(number: f64) -> Value {
    if number.is_nan() { Value::Null } else { Value::Number(number) }
}

fn value(field: &Field) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(b) => Value::Bool(*b),
        Field::Byte(n) => Value::integer((*n).into()),
        Field::Short(n) => Value::integer((*n).into()),
        Field::Int(n) => Value::integer((*n).into()),
        Field::Long(n) => Value::integer((*n).into()),
        Field::UByte(n) => Value::integer((*n).into()),
        Field::UShort(n) => Value::integer((*n).into()),
        Field::UInt(n) => Value::integer((*n).into()),
        Field::ULong(n) => Value::integer((*n).into()),
        Field::Float16(n) => float(n.to_f64()),
        Field::Float(n) => float((*n).into()),
        Field::Double(n) => float(*n),
        Field::Decimal(_) => {
            let digits = field.to_string();
            match digits.trim_end_matches('0').strip_suffix('.') {
                Some(whole) => Value::digits(whole),
                None if digits.contains('.') => digits.parse().map_or(Value::Text(digits), Value::Number),
                None => Value::digits(&digits),
            }
        }
        Field::Str(text) => Value::Text(text.clone()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => return Err(format!("found {} bytes that are not UTF-8, expected text", bytes.len())),
        },
        Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => Value::Text(field.to_string()),
        Field::Group(record) => {
            let fields =
                record.get_column_iter().map(|(name, field)| Ok((name.as_str().into(), value(field)?)));
            Value::Record(fields.collect::<Result<_, String>>()?)
        }
        Field::ListInternal(list) => {
            Value::List(list.elements().iter().map(value).collect::<Result<_, _>>()?)
        }
        Field::MapInternal(map) => {
            let entry = |(key, field): &(Field, Field)| match value(key)? {
                Value::Text(name) => Ok((name.into(), value(field)?)),
                other => Err(format!("found a map with the key {}, expected text keys", other.preview())),
            };
            Value::Record(map.entries().iter().map(entry).collect::<Result<_, String>>()?)
        }
    })
}
