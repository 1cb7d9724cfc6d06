"""Which fields of the ONNX format do we admit? Everything else (functions, training, sparse, external data) is refused as unknown.

Field numbers: onnx/onnx.proto, IR version 13.
"""

from __future__ import annotations

from edge_agent.diagnose.protobuf import Field, Schema

ENTRY: Schema = {1: Field("key", "text"), 2: Field("value", "text")}

TENSOR: Schema = {
    1: Field("dims", "ints"),
    2: Field("data_type", "int"),
    4: Field("float_data", "floats"),
    5: Field("int32_data", "ints"),
    7: Field("int64_data", "ints"),
    8: Field("name", "text"),
    9: Field("raw_data", "bytes"),
    10: Field("double_data", "doubles"),
    11: Field("uint64_data", "ints"),
    12: Field("doc_string", "text"),
    13: Field("external_data", "bytes", many=True),  # named so that the refusal can say what it is
    14: Field("data_location", "int"),
}

DIMENSION: Schema = {1: Field("dim_value", "int"), 2: Field("dim_param", "text"), 3: Field("denotation", "text")}
SHAPE: Schema = {1: Field("dim", "message", many=True, schema=lambda: DIMENSION)}
TENSOR_TYPE: Schema = {1: Field("elem_type", "int"), 2: Field("shape", "message", schema=lambda: SHAPE)}
TYPE: Schema = {1: Field("tensor_type", "message", schema=lambda: TENSOR_TYPE), 6: Field("denotation", "text")}
VALUE: Schema = {1: Field("name", "text"), 2: Field("type", "message", schema=lambda: TYPE), 3: Field("doc_string", "text")}

ATTRIBUTE: Schema = {
    1: Field("name", "text"),
    2: Field("f", "float"),
    3: Field("i", "int"),
    4: Field("s", "text"),
    5: Field("t", "message", schema=lambda: TENSOR),
    6: Field("g", "bytes"),  # a graph: never read, always refused
    7: Field("floats", "floats"),
    8: Field("ints", "ints"),
    9: Field("strings", "text", many=True),
    11: Field("graphs", "bytes", many=True),
    13: Field("doc_string", "text"),
    20: Field("type", "int"),
}

NODE: Schema = {
    1: Field("input", "text", many=True),
    2: Field("output", "text", many=True),
    3: Field("name", "text"),
    4: Field("op_type", "text"),
    5: Field("attribute", "message", many=True, schema=lambda: ATTRIBUTE),
    6: Field("doc_string", "text"),
    7: Field("domain", "text"),
    9: Field("metadata_props", "message", many=True, schema=lambda: ENTRY),
}

ANNOTATION: Schema = {
    1: Field("tensor_name", "text"),
    2: Field("quant_parameter_tensor_names", "message", many=True, schema=lambda: ENTRY),
}

GRAPH: Schema = {
    1: Field("node", "message", many=True, schema=lambda: NODE),
    2: Field("name", "text"),
    5: Field("initializer", "message", many=True, schema=lambda: TENSOR),
    10: Field("doc_string", "text"),
    11: Field("input", "message", many=True, schema=lambda: VALUE),
    12: Field("output", "message", many=True, schema=lambda: VALUE),
    13: Field("value_info", "message", many=True, schema=lambda: VALUE),
    14: Field("quantization_annotation", "message", many=True, schema=lambda: ANNOTATION),
    16: Field("metadata_props", "message", many=True, schema=lambda: ENTRY),
}

OPERATOR_SET: Schema = {1: Field("domain", "text"), 2: Field("version", "int")}

MODEL: Schema = {
    1: Field("ir_version", "int"),
    2: Field("producer_name", "text"),
    3: Field("producer_version", "text"),
    4: Field("domain", "text"),
    5: Field("model_version", "int"),
    6: Field("doc_string", "text"),
    7: Field("graph", "message", schema=lambda: GRAPH),
    8: Field("opset_import", "message", many=True, schema=lambda: OPERATOR_SET),
    14: Field("metadata_props", "message", many=True, schema=lambda: ENTRY),
}
