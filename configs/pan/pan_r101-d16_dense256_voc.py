# 256 channels throughout, the pyramid too: 2.3 times the decoder cost.
_base_ = './pan_r101-d16_voc.py'
model = dict(decode_head=dict(channels=256, pyramid_channels=None))
