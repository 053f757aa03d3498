"""From a checkpoint to ONNX, OpenVINO and INT8, and whether they agree with it."""
