# GAU alone, 1x1 on the low level.
_base_ = './gau_r101-d16_c3_voc.py'
model = dict(decode_head=dict(low_level_kernel_size=1))
