# PAN whose GAU has no context branch: skip connections only.
_base_ = './pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py'
model = dict(decode_head=dict(context=False))
