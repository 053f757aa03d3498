_base_ = ['./pan_r50-d16_voc.py', '../_base_/models/mobilenet-v2-d16.py']
model = dict(
    backbone=_base_.mobilenet_v2_d16,
    decode_head=dict(in_channels=(24, 32, 96, 320)),
)
