# GAU alone: a 1x1 conv instead of FPA.
_base_ = './pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py'
model = dict(decode_head=dict(kernel_sizes=(), global_branch=False))
