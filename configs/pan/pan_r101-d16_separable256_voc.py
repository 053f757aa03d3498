# 256 channels throughout with depthwise separable convs.
_base_ = './pan_r101-d16_voc.py'
model = dict(decode_head=dict(channels=256, pyramid_channels=None, separable=True))
