"""Export to ONNX, OpenVINO and INT8, and comparison with the checkpoint."""
