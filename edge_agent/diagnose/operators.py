"""Which operators may a graph use, and which of them can make something huge out of something small?"""

from __future__ import annotations

ELEMENTWISE = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh
Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean
Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh
ThresholdedRelu Where Xor
"""
REDUCING = """
ArgMax ArgMin AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare TopK
"""
DENSE = """
Attention BatchNormalization Conv ConvInteger ConvTranspose DFT Det Einsum GRU Gemm GroupNormalization InstanceNormalization LRN LSTM
LayerNormalization LpNormalization MatMul MatMulInteger MeanVarianceNormalization RMSNormalization RNN STFT
"""
SHAPING = """
Concat Constant CumSum DepthToSpace Flatten Gather GatherElements GatherND GridSample Hardmax LogSoftmax NonMaxSuppression Reshape
ReverseSequence RoiAlign ScatterElements ScatterND Shape Size Slice Softmax SpaceToDepth Split Squeeze Transpose Trilu Unsqueeze
"""
QUANTIZED = "DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul QuantizeLinear"
GROWING = "ConstantOfShape Expand EyeLike OneHot Pad Range Resize Tile"

GROWS_BY: dict[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "DFT": (1,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "Tile": (1,),
}
"""Inputs that say how large the output becomes: they must be constants in the file, and small."""

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})

TREES = """
ArrayFeatureExtractor Binarizer LinearClassifier LinearRegressor Normalizer SVMClassifier SVMRegressor Scaler
TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
"""
FUSED = """
BiasGelu DequantizeLinear DynamicQuantizeMatMul FastGelu FusedConv FusedGemm FusedMatMul Gelu MatMulInteger16 MatMulIntegerToFloat QGemm
QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid
QLinearSoftmax QLinearWhere QuantizeLinear QuickGelu
"""

ALLOWED: dict[str, frozenset[str]] = {
    "": frozenset(" ".join((ELEMENTWISE, REDUCING, DENSE, SHAPING, QUANTIZED, GROWING)).split()),
    "ai.onnx.ml": frozenset(TREES.split()),
    "com.microsoft": frozenset(FUSED.split()),
}
"""By domain. Not here: control flow, sequences, texts, randomness (a replay must give the same answer), local functions."""

OPSETS: dict[str, tuple[int, int]] = {"": (11, 26), "ai.onnx.ml": (1, 5), "com.microsoft": (1, 1)}
"""Lowest and highest version of each domain. Below 11 sizes hide in attributes; above 26 onnxruntime 1.2x promises nothing."""

WIDTH: dict[int, tuple[str, str]] = {
    1: ("<f4", "float_data"),
    2: ("<u1", "int32_data"),
    3: ("<i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("<u1", "int32_data"),  # bool
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
}
"""TensorProto.DataType -> how raw_data is read, and which field holds the values otherwise. Texts, complex and 4-bit are not admitted."""
