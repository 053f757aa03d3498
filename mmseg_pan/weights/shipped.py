"""The trained model that comes with the package."""

from pathlib import Path

#: PAN on MobileNetV2 with VOC's classes, as :func:`mmseg_pan.weights.published.publish` writes
#: it: config, classes, metrics and provenance are inside. What it is trained on and how good
#: it is stands in the model card, configs/pan/README.md.
SHIPPED = Path(__file__).with_name('pan_mobilenet-v2_voc-102eb253.safetensors')
