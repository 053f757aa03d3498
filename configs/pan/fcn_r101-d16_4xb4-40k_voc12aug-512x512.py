_base_ = './fcn_r50-d16_4xb4-40k_voc12aug-512x512.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c')),
)
