# PAN on MobileNetV3-Large, which MMSeg dilates to output stride 8.
_base_ = '../pan/pan_r50-d16_voc.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV3',
        arch='large',
        out_indices=(3, 6, 12, 16),
        norm_cfg=dict(type='BN', eps=0.001, requires_grad=True),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://contrib/mobilenet_v3_large'),
    ),
    decode_head=dict(in_channels=(24, 40, 112, 960)),
)
