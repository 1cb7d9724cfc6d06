"""Features as pieces of an ONNX graph, one file each: what stands in the graph is the same in training and on the machine."""
