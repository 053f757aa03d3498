# For the toy shapes, from scratch on a CPU.
_base_ = './schedule_40k.py'
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=1e-2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=50, end=1500, by_epoch=False),
]
train_cfg = dict(max_iters=1500, val_interval=1500)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=250))
auto_scale_lr = dict(base_batch_size=8)
