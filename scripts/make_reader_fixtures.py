#!/usr/bin/env python3
"""Makes the reader fixtures of crates/data/tests/fixtures: the same rows as Python's own writers lay them down.

  pip install pyarrow
  python scripts/make_reader_fixtures.py crates/data/tests/fixtures

Writes rows.csv (Python's csv module), rows_none.parquet, rows_snappy.parquet, rows_zstd.parquet, rows_gzip.parquet and
rows_lz4.parquet (pyarrow), and rows.json, what a reader must find in the CSV and the Parquet files.
"""
import csv, datetime, decimal, json, pathlib, sys
import pyarrow as pa, pyarrow.parquet as pq

TEXTS = ["plain", 'quote " inside', "comma, and\nnew line", "crlf\r\nhere", '"', '""', " spaces kept ", "我爱 you",
         "नमस्ते", "👩‍👩‍👧‍👦", "مرحبا", "tab\there", "e\u0301", ",", "\n", "'single'", 'ends with "', "a,b,c"]


def main():
    folder = pathlib.Path(sys.argv[1])
    with open(folder / "rows.csv", "w", encoding="utf8", newline="") as f:
        out = csv.writer(f)
        out.writerow(["text", "label", 'odd "name"'])
        rows = [[t, f"label {i % 3}" if i % 4 else "", TEXTS[-1 - i]] for i, t in enumerate(TEXTS)]
        out.writerows(rows)
    with open(folder / "rows.csv", encoding="utf8", newline="") as f:
        in_csv = list(csv.DictReader(f))
    table = {
        "text": pa.array(TEXTS[:6]),
        "label": pa.array(["a", None, "b", "a", None, "b"]),
        "dictionary": pa.array(["x", "y", "x", None, "x", "y"]).dictionary_encode(),
        "small": pa.array([1, -2, None, 127, 0, 5], pa.int8()),
        "big": pa.array([9007199254740993, -(2**63), 3, None, 2**53, 7], pa.int64()),
        "unsigned": pa.array([2**64 - 1, 1, 2, 3, 4, None], pa.uint64()),
        "float": pa.array([0.5, -1.25, None, 3.0, 1e-3, 2.0], pa.float32()),
        "double": pa.array([0.1, -1e300, None, 3.0, 1e-300, 2.0], pa.float64()),
        "flag": pa.array([True, False, None, True, False, True]),
        "tokens": pa.array([["a", "b"], [], None, ["我", "爱"], ["x"], ["", "é"]], pa.list_(pa.string())),
        "numbers": pa.array([[1, 2], [], None, [3], [4, None], [5]], pa.large_list(pa.int32())),
        "entity": pa.array([{"start": 0, "type": "x"}, None, {"start": 2, "type": None}, {"start": 3, "type": "y"},
                            {"start": 4, "type": "z"}, {"start": 5, "type": "w"}]),
        "entities": pa.array([[{"s": 1}], [], None, [{"s": 2}, {"s": 3}], [{"s": 4}], []]),
        "day": pa.array([datetime.date(2020, 2, 29)] * 6, pa.date32()),
        "price": pa.array([decimal.Decimal("12.50")] * 6, pa.decimal128(9, 2)),
        "bytes": pa.array([b"abc", "é".encode(), b"", None, b"x", b"y"], pa.binary()),
    }
    table = pa.table(table)
    for name in ("none", "snappy", "zstd", "gzip", "lz4"):
        pq.write_table(table, folder / f"rows_{name}.parquet", compression=name, row_group_size=4)

    def plain(x):
        if isinstance(x, bytes):
            return x.decode()
        if isinstance(x, datetime.date):
            return None  # compared by hand
        if isinstance(x, decimal.Decimal):
            return float(x)
        if isinstance(x, list):
            return [plain(v) for v in x]
        if isinstance(x, dict):
            return {k: plain(v) for k, v in x.items()}
        return x

    found = {"csv": in_csv, "parquet": [{k: plain(v) for k, v in row.items()} for row in table.to_pylist()]}
    (folder / "rows.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")


main()
