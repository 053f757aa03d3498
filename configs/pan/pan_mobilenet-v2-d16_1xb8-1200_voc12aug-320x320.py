# The model that comes with the package: half an hour on two CPU cores.
_base_ = [
    '../_base_/models/pan_r50-d16.py',
    '../_base_/models/mobilenet-v2-d16.py',
    '../_base_/datasets/voc_aug_320x320.py',
    '../_base_/schedules/schedule_1k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(320, 320)),
    backbone=_base_.mobilenet_v2_d16,
    decode_head=dict(in_channels=(24, 32, 96, 320)),
)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=1200, by_epoch=False)]
train_cfg = dict(max_iters=1200, val_interval=1200)
