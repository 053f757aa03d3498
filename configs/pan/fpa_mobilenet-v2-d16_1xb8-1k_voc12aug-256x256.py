# FPA alone, on the deepest level.
_base_ = './pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py'
model = dict(decode_head=dict(type='FPAHead', in_channels=320, in_index=3))
