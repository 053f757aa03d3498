# 1000 iterations of batch 8: a quarter of an hour on two CPU cores at 256x256.
_base_ = './schedule_40k.py'
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=1000, by_epoch=False)]
train_cfg = dict(max_iters=1000, val_interval=1000)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=250))
auto_scale_lr = dict(base_batch_size=8)
