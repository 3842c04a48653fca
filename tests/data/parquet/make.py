#!/usr/bin/env python3
"""Writes the .parquet files of this folder (pyarrow 26.0.1). The same conversations in several physical forms."""
import pyarrow as pa
import pyarrow.parquet as pq

MESSAGES = [
    [{"role": "system", "content": "s"}, {"role": "user", "content": "Was ist 1+1?"}, {"role": "assistant", "content": "zwei \u2603"}],
    [{"role": "user", "content": "q2"}, {"role": "assistant", "content": "a2"}],
    [{"role": "user", "content": "q3"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "q4"},
     {"role": "assistant", "content": "a4"}],
]
message = pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.int64()), ("train", pa.bool_())])
table = pa.table({"id": pa.array([7, 8, 9], pa.int32()),
                  "messages": pa.array(MESSAGES, pa.list_(message)),
                  "score": pa.array([0.5, None, 1.0]),
                  "when": pa.array([0, 1, None], pa.timestamp("ms")),
                  "blob": pa.array([b"\xff\xfe", None, b""])})
pq.write_table(table, "messages.parquet", row_group_size=2)

large = pa.struct([("from", pa.dictionary(pa.int8(), pa.string())), ("value", pa.large_string())])
names = {"system": "system", "user": "human", "assistant": "gpt"}
turns = [[{"from": names[m["role"]], "value": m["content"]} for m in row] for row in MESSAGES]
pq.write_table(pa.table({"conversations": pa.array(turns, pa.large_list(large))}), "sharegpt_large.parquet",
               compression="zstd")

pq.write_table(pa.table({"question": pa.array(["q1", "q2", "q1"]).dictionary_encode(), "answer": ["a1", "a2", None]}),
               "question_answer.parquet", compression="gzip")

ids = [[5, 6, 7], [8, 9]]
pq.write_table(pa.table({"input_ids": pa.array(ids, pa.list_(pa.int64())),
                         "labels": pa.array([[-100, 6, 7], [-100, 9]], pa.list_(pa.int32())),
                         "attention_mask": pa.array([[1] * 3, [1] * 2], pa.list_(pa.uint8()))}), "input_ids.parquet")

bad = pa.array([b"fine", b"not \xff utf-8"], pa.binary()).view(pa.string())
pq.write_table(pa.table({"prompt": bad, "completion": ["c1", "c2"]}), "bad_utf8.parquet")
pq.write_table(pa.table({"prompt": pa.array([], pa.string()), "completion": pa.array([], pa.string())}), "empty.parquet")
