# GAU alone, 3x3 on the low level: a 1x1 conv instead of FPA.
_base_ = './pan_r101-d16_voc.py'
model = dict(decode_head=dict(kernel_sizes=(), global_branch=False))
