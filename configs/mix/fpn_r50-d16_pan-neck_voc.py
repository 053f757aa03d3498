# FPNHead on both blocks: FPA on the deepest level, GAU for the others.
_base_ = '../pan/pan_r50-d16_voc.py'
model = dict(
    neck=dict(
        type='GAUNeck',
        in_channels=(256, 512, 1024, 2048),
        channels=128,
        fpa=dict(pyramid_channels=64),
        norm_cfg=_base_.norm_cfg,
    ),
    decode_head=dict(
        _delete_=True,
        type='FPNHead',
        in_channels=(128, 128, 128, 128),
        in_index=(0, 1, 2, 3),
        feature_strides=(4, 8, 16, 16),
        channels=128,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
