# The ablation's baseline: a classifier directly on the backbone's last stage.
_base_ = './fcn_r101-d16_voc.py'
model = dict(decode_head=dict(channels=2048, num_convs=0, concat_input=False))
