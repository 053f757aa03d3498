# The paper's length and poly decay with the optimizer that SegFormer and Swin were trained with
# in MMSeg's zoo: AdamW, a warm-up, and ten times the learning rate for parts without pretraining.
_base_ = './schedule_paper.py'
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            norm=dict(decay_mult=0.0), head=dict(lr_mult=10.0), neck=dict(lr_mult=10.0)
        )
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=1500, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=1500, end=40000, by_epoch=False),
]
