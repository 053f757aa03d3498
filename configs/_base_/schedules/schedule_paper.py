# The paper's schedule: SGD, learning rate 4e-3, weight decay 1e-4, poly 0.9, batch size 16.
# It gives no number of iterations: 40k is our choice, the zoo's longer one.
_base_ = './schedule_40k.py'
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=1e-4))
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=40000, by_epoch=False)]
