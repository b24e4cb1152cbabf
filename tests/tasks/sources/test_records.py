import gzip
import json

import fsspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import tensorflow as tf
from array_record.python.array_record_module import ArrayRecordWriter

from flan_jax.errors import UserError
from flan_jax.tasks import array_record, parquet, task_from_file, tfrecord
from flan_jax.tasks.tally import Tally


def write_parquet(path, count, first=0, row_group=100):
    rows = [{"n": n, "text": f"é{n}", "labels": [f"l{n}"] * (n % 3)} for n in range(first, first + count)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=row_group)
    return rows


def example(**features):
    kinds = {str: "bytes_list", int: "int64_list", float: "float_list"}
    found = tf.train.Example()
    for name, values in features.items():
        values = values if isinstance(values, list) else [values]
        held = getattr(found.features.feature[name], kinds[type(values[0])])
        held.value.extend(value.encode() if isinstance(value, str) else value for value in values)
    return found.SerializeToString()


def write_tfrecord(path, records, compression=None):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)


def write_array_record(path, records):
    writer = ArrayRecordWriter(str(path), "group_size:16")
    for record in records:
        writer.write(record)
    writer.close()


def rows_of(source, split="train", **how):
    return [row for _, row in source.rows(split, **how)]


class TestParquet:
    def test_rows_counts_and_places(self, tmp_path):
        rows = write_parquet(tmp_path / "a.parquet", 250) + write_parquet(tmp_path / "b.parquet", 30, 250)
        source = parquet(f"{tmp_path}/*.parquet", validation_rows=20)
        assert rows_of(source) == rows[20:] and rows_of(source, "validation") == rows[:20]
        assert (source.num_rows("train"), source.num_rows("validation")) == (260, 20)
        assert next(source.rows("train", start=230))[0] == "b:0"
        assert source.where("train", "b:7") == f"{tmp_path}/b.parquet, row 8"

    @pytest.mark.parametrize("start", [0, 1, 99, 100, 249, 250, 270, 280, 300])
    def test_parts_begin_anywhere(self, tmp_path, start):
        rows = write_parquet(tmp_path / "a.parquet", 250) + write_parquet(tmp_path / "b.parquet", 30, 250)
        source = parquet(f"{tmp_path}/*.parquet")
        assert rows_of(source, start=start, stop=start + 60) == rows[start : start + 60]
        assert rows_of(source, start=start) == rows[start:]

    def test_columns_that_are_not_wanted_are_not_read(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", 3)
        assert rows_of(parquet(tmp_path / "a.parquet", columns=["n"])) == [{"n": 0}, {"n": 1}, {"n": 2}]
        with pytest.raises(UserError, match=r"no column 'txt', it has n, text, labels; did you mean 'text'"):
            rows_of(parquet(tmp_path / "a.parquet", columns=["txt"]))

    def test_only_a_row_group_is_held(self, tmp_path):
        with pyarrow.parquet.ParquetWriter(tmp_path / "a.parquet", pyarrow.schema({"x": pyarrow.binary()})) as writer:
            for group in range(40):
                blobs = [np.random.default_rng(group * 16 + n).bytes(2**16) for n in range(16)]
                writer.write_table(pyarrow.table({"x": pyarrow.array(blobs, pyarrow.binary())}))
        before, most = pyarrow.total_allocated_bytes(), 0
        count = 0
        for _ in parquet(tmp_path / "a.parquet").rows("train"):
            most = max(most, pyarrow.total_allocated_bytes() - before)
            count += 1
        assert count == 640 and 0 < most < 8 * 2**20 < 40 * 2**20

    def test_a_file_that_breaks_off_or_is_something_else_is_told(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", 500)
        whole = (tmp_path / "a.parquet").read_bytes()
        for content in (whole[:-2000], b"", b"text"):
            (tmp_path / "a.parquet").write_bytes(content)
            with pytest.raises(UserError, match=r"a\.parquet is no Parquet file"):
                rows_of(parquet(tmp_path / "a.parquet"))

    def test_dates_and_bytes_become_text(self, tmp_path):
        table = pyarrow.table(
            {"day": pyarrow.array([0], pyarrow.date32()), "raw": pyarrow.array([b"\xc3\xa9"], pyarrow.binary())}
        )
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        assert rows_of(parquet(tmp_path / "a.parquet")) == [{"day": "1970-01-01", "raw": "é"}]

    def test_text_that_is_no_utf8_is_a_bad_row_and_a_name_twice_is_told(self, tmp_path):
        path, raw = tmp_path / "a.parquet", pyarrow.array([b"a", b"\xff", b"c"], pyarrow.binary())
        pyarrow.parquet.write_table(pyarrow.table({"x": raw.view(pyarrow.string())}), path)
        with pytest.raises(UserError, match=r"a\.parquet, row 2: not UTF-8"):
            rows_of(parquet(path))
        assert rows_of(parquet(path), on_bad_row="skip") == [{"x": "a"}, {"x": "c"}]
        pyarrow.parquet.write_table(pyarrow.Table.from_arrays([raw, raw], names=["x", "x"]), path)
        with pytest.raises(UserError, match=r"a\.parquet has the column 'x' more than once"):
            rows_of(parquet(path))

    def test_a_task_is_declared_from_a_file(self, tmp_path, model):
        rows = [{"prompt": f"Say {n}.", "completion": f"{n}"} for n in range(9)]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
        task = task_from_file(tmp_path / "a.parquet", "say", vocabulary=model, validation_rows=2)
        assert rows_of(task.source) == rows[2:] and task.source.num_rows("validation") == 2

    def test_addresses_are_read(self, tmp_path):
        rows = write_parquet(tmp_path / "a.parquet", 30)
        fsspec.filesystem("memory").pipe_file("/parquet/a.parquet", (tmp_path / "a.parquet").read_bytes())
        source = parquet("memory://parquet/*.parquet")
        assert rows_of(source, start=5) == rows[5:] and source.num_rows("train") == 30


class TestTfRecord:
    records = [example(text=f"é{n}", n=n, labels=["a"] * (n % 3) or ["b"], x=n / 2) for n in range(50)]

    def test_examples_become_rows(self, tmp_path):
        write_tfrecord(tmp_path / "a.tfrecord", self.records)
        write_tfrecord(tmp_path / "b.tfrecord.gz", self.records, "GZIP")
        source = tfrecord({"train": tmp_path / "a.tfrecord", "test": tmp_path / "b.tfrecord.gz"})
        rows = rows_of(source)
        assert rows == rows_of(source, "test") and len(rows) == source.num_rows("train") == 50
        assert rows[5] == {"text": "é5", "n": 5, "labels": ["a", "a"], "x": 2.5} and rows[4]["labels"] == "a"
        assert source.where("train", "a:3") == f"{tmp_path}/a.tfrecord, record 4"
        assert rows_of(source, start=7, stop=9) == rows[7:9]

    def test_features_say_what_is_a_list(self, tmp_path):
        write_tfrecord(tmp_path / "a.tfrecord", self.records)
        features = {
            "n": tf.io.FixedLenFeature([], tf.int64),
            "labels": tf.io.VarLenFeature(tf.string),
            "note": tf.io.FixedLenFeature([], tf.string, "none"),
        }
        rows = rows_of(tfrecord(tmp_path / "a.tfrecord", features=features))
        assert rows[4] == {"n": 4, "labels": ["a"], "note": "none"}

    @pytest.mark.parametrize(
        ("features", "message"),
        [
            ({"N": tf.io.FixedLenFeature([], tf.int64)}, r"record 1: .*'N' has 0 values .*has labels, n, text"),
            ({"n": tf.io.FixedLenFeature([], tf.string)}, "'n' holds whole values where text is wanted"),
            ({"labels": tf.io.FixedLenFeature([], tf.string)}, r"record 3: .*'labels' has 2 values where one"),
        ],
    )
    def test_an_example_that_lacks_a_feature_is_a_bad_row(self, tmp_path, features, message):
        write_tfrecord(tmp_path / "a.tfrecord", self.records)
        with pytest.raises(UserError, match=message):
            list(tfrecord(tmp_path / "a.tfrecord", features=features).rows("train"))
        tally = Tally()
        kept = list(tfrecord(tmp_path / "a.tfrecord", features=features).rows("train", "skip", tally))
        assert len(kept) + tally.bad_rows == 50 and tally.bad_rows

    def test_features_are_checked_when_they_are_declared(self):
        with pytest.raises(UserError, match="'a' is a str; tf.io.FixedLenFeature"):
            tfrecord("x", features={"a": "int"})
        with pytest.raises(UserError, match="'a' is of float64"):
            tfrecord("x", features={"a": tf.io.FixedLenFeature([], tf.float64)})

    def test_records_that_are_no_examples(self, tmp_path):
        write_tfrecord(tmp_path / "a.tfrecord", [json.dumps({"n": n}).encode() for n in range(3)] + [b"{", b"[]"])
        with pytest.raises(UserError, match=r"record 1: no tf\.train\.Example"):
            list(tfrecord(tmp_path / "a.tfrecord").rows("train"))
        source = tfrecord(tmp_path / "a.tfrecord", decode=json.loads)
        tally = Tally()
        assert [row for _, row in source.rows("train", "skip", tally)] == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert tally.bad_rows == 2

    @pytest.mark.parametrize("damage", ["cut in a record", "cut in a length", "a flipped bit", "a flipped length"])
    def test_damage_is_told_with_the_record(self, tmp_path, damage):
        path = tmp_path / "a.tfrecord"
        write_tfrecord(path, [b"x" * 100] * 10)  # 116 bytes each
        content = bytearray(path.read_bytes())
        if damage.startswith("cut"):
            del content[116 * 4 + (50 if "record" in damage else 5) :]
        else:
            content[116 * 4 + (50 if "bit" in damage else 0)] ^= 1
        path.write_bytes(content)
        found = tfrecord(path, decode=lambda record: {"length": len(record)}).rows("train")
        assert [next(found)[1]["length"] for _ in range(4)] == [100] * 4
        with pytest.raises(UserError, match=r"a\.tfrecord breaks off or is .*record 5"):
            next(found)

    def test_a_compressed_file_without_its_suffix_is_told(self, tmp_path):
        (tmp_path / "a.tfrecord").write_bytes(gzip.compress(b"x" * 1000))
        with pytest.raises(UserError, match=r"must end in \.gz"):
            list(tfrecord(tmp_path / "a.tfrecord").rows("train"))


class TestArrayRecord:
    records = [example(n=n, text=f"é{n}") for n in range(3000)]

    def test_rows_counts_and_parts(self, tmp_path):
        write_array_record(tmp_path / "a.array_record", self.records[:2500])
        write_array_record(tmp_path / "b.array_record", self.records[2500:])
        source = array_record(f"{tmp_path}/*.array_record", validation_rows=100)
        assert [row["n"] for row in rows_of(source)] == list(range(100, 3000))
        assert source.num_rows("train") == 2900
        assert [(i, r["n"]) for i, r in source.rows("train", start=2390, stop=2402)][8:] == [
            ("a:2498", 2498),
            ("a:2499", 2499),
            ("b:0", 2500),
            ("b:1", 2501),
        ]
        assert source.where("train", "b:1") == f"{tmp_path}/b.array_record, record 2"

    def test_records_before_a_part_are_not_read(self, tmp_path, monkeypatch):
        from flan_jax.tasks.sources.records import ArrayRecord

        write_array_record(tmp_path / "a.array_record", self.records)
        asked = []
        read = ArrayRecord._read
        monkeypatch.setattr(
            ArrayRecord, "_read", lambda self, *arguments: asked.append(arguments[2:]) or read(self, *arguments)
        )
        assert rows_of(array_record(tmp_path / "a.array_record"), start=2900)[0] == {"n": 2900, "text": "é2900"}
        assert asked == [(2900, 3000)]

    @pytest.mark.parametrize("kept", [0.5, 0.999, 0])
    def test_a_file_that_was_cut_off_is_not_taken_for_an_empty_one(self, tmp_path, kept):
        path = tmp_path / "a.array_record"
        write_array_record(path, self.records)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
        for ask in (rows_of, lambda source: source.num_rows("train")):
            with pytest.raises(UserError, match=r"a\.array_record has no footer that can be read: it was cut off"):
                ask(array_record(path))

    def test_an_empty_file_is_refused(self, tmp_path):
        write_array_record(tmp_path / "a.array_record", [])
        with pytest.raises(UserError, match="holds no record"):
            rows_of(array_record(tmp_path / "a.array_record"))

    def test_a_flipped_byte_gives_an_error_or_the_right_rows(self, tmp_path):
        path = tmp_path / "a.array_record"
        write_array_record(path, self.records)
        content, told = path.read_bytes(), 0
        wanted = rows_of(array_record(path))
        for place in range(100, len(content) - 65_536, 1999):
            path.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
            try:
                assert rows_of(array_record(path)) == wanted
            except UserError as error:
                assert "a.array_record" in str(error)
                told += 1
        assert told > 5

    def test_addresses_are_copied_first(self, tmp_path):
        write_array_record(tmp_path / "a.array_record", self.records[:10])
        fsspec.filesystem("memory").pipe_file("/records/a.array_record", (tmp_path / "a.array_record").read_bytes())
        assert [row["n"] for row in rows_of(array_record("memory://records/*"), start=8)] == [8, 9]
