# For choosing a recipe without val: trained and tested on parts of trainaug.
_base_ = [
    '../_base_/models/fcn_r50-d16.py',
    '../_base_/models/mobilenet-v2-d16.py',
    '../_base_/datasets/voc_aug_256x256_held-out.py',
    '../_base_/schedules/schedule_1k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=_base_.mobilenet_v2_d16,
    decode_head=dict(in_channels=320),
)
