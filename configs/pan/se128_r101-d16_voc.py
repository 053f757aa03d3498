# A squeeze-and-excitation block instead of FPA, at FPA's width.
_base_ = './fpa_r101-d16_c357-ave-gp_voc.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SEHead',
        in_channels=2048,
        in_index=3,
        channels=128,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    )
)
