# PAN on a quarter-width ResNet-18 from scratch: minutes on two CPU cores.
_base_ = [
    '../_base_/models/pan_r50-d16.py',
    '../_base_/datasets/toy.py',
    '../_base_/schedules/schedule_toy.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(depth=18, base_channels=16, stem_channels=16, init_cfg=None),
    decode_head=dict(
        in_channels=(16, 32, 64, 128), channels=32, pyramid_channels=16, num_classes=7
    ),
)
