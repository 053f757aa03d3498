# The other geometry: align_corners=True on sides of 16k + 1; images are padded by one pixel.
_base_ = './pan_r18-d16_toy.py'
model = dict(
    data_preprocessor=dict(size=(129, 129), test_cfg=dict(size=(129, 129))),
    decode_head=dict(align_corners=True),
)
