# UPerHead with the zoo's width on levels fused by GAU.
_base_ = '../pan/pan_r50-d16_voc.py'
model = dict(
    neck=dict(
        type='GAUNeck',
        in_channels=(256, 512, 1024, 2048),
        channels=256,
        norm_cfg=_base_.norm_cfg,
    ),
    decode_head=dict(
        _delete_=True,
        type='UPerHead',
        in_channels=(256, 256, 256, 256),
        in_index=(0, 1, 2, 3),
        pool_scales=(1, 2, 3, 6),
        channels=512,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
