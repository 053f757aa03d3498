# 1000 iterations, batch size 8, for 256x256 on CPU cores. AdamW, with a tenth of the learning rate
# in the backbone: better than the zoo's SGD for so few iterations (configs/pan/results/voc_recipe).
_base_ = './schedule_40k.py'
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=1000, by_epoch=False)]
train_cfg = dict(max_iters=1000, val_interval=1000)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=250))
auto_scale_lr = dict(base_batch_size=8)
