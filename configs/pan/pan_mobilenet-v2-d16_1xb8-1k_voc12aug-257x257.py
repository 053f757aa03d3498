# The other geometry: align_corners=True on sides of 16k + 1.
_base_ = [
    '../_base_/models/pan_r50-d16.py',
    '../_base_/models/mobilenet-v2-d16.py',
    '../_base_/datasets/voc_aug_257x257.py',
    '../_base_/schedules/schedule_1k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(257, 257)),
    backbone=_base_.mobilenet_v2_d16,
    decode_head=dict(in_channels=(24, 32, 96, 320), align_corners=True),
)
