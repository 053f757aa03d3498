_base_ = './fcn_r50-d16_4xb4-40k_voc12aug-512x512.py'
model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='open-mmlab://resnet18_v1c')),
    decode_head=dict(in_channels=512),
    auxiliary_head=dict(in_channels=256),
)
