"""The exported model: the bundle, its checked files, ONNX Runtime sessions, token ids and predictions."""
