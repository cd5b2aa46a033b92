#!/usr/bin/env python3
"""Writes crates/onnx/tests/fixtures/small.onnx: a small graph as the package onnx makes and serializes it.

    pip install onnx numpy
    python scripts/make_onnx_fixture.py
"""
from pathlib import Path

import numpy
from onnx import TensorProto, helper, numpy_helper

OUT = Path(__file__).parent.parent / "crates/onnx/tests/fixtures/small.onnx"


def main():
    node = helper.make_node
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    weights = [
        numpy_helper.from_array(numpy.arange(6, dtype=numpy.float32).reshape(3, 2) / 4, "table"),
        numpy_helper.from_array(numpy.array([-1, 127], dtype=numpy.int8), "bytes"),
        numpy_helper.from_array(numpy.array([1], dtype=numpy.int64), "/constant_0"),
    ]
    nodes = [
        node("Gather", ["table", "ids"], ["/Gather_0"], name="Gather_0", axis=0),
        node("ReduceSum", ["/Gather_0", "/constant_0"], ["/ReduceSum_1"], name="ReduceSum_1", keepdims=0),
        node("DynamicQuantizeLinear", ["/ReduceSum_1"],
             [f"/DynamicQuantizeLinear_2.{i}" for i in range(3)], name="DynamicQuantizeLinear_2"),
        node("Clip", ["/ReduceSum_1", "", "/DynamicQuantizeLinear_2.1"], ["/Clip_3"], name="Clip_3"),
        node("Transpose", ["/Clip_3"], ["/Transpose_4"], name="Transpose_4", perm=[0, 1]),
        node("LayerNormalization", ["/Transpose_4", "/Clip_3"], ["/LayerNormalization_5"],
             name="LayerNormalization_5", axis=-1, epsilon=1e-5),
        node("Identity", ["/LayerNormalization_5"], ["logits"], name="Identity_6"),
    ]
    graph = helper.make_graph(nodes, "small", [ids], [logits], weights)
    model = helper.make_model(graph, producer_name="polytask", producer_version="1", ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
