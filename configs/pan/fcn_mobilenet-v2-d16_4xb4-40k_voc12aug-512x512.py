_base_ = ['./fcn_r50-d16_4xb4-40k_voc12aug-512x512.py', '../_base_/models/mobilenet-v2-d16.py']
model = dict(
    backbone=_base_.mobilenet_v2_d16,
    decode_head=dict(in_channels=320),
    auxiliary_head=dict(in_channels=96),
)
