# The ablation's baseline: a classifier on the backbone's last stage, nothing between.
_base_ = './fcn_r101-d16_voc.py'
model = dict(decode_head=dict(channels=2048, num_convs=0, concat_input=False))
