# FPA with max pooling in the pyramid, without its global branch.
_base_ = './fpa_r101-d16_c357-ave_voc.py'
model = dict(decode_head=dict(pooling='max'))
