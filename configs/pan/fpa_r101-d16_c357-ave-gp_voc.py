# FPA alone: kernels 7, 5, 3, average pooling, global branch. The ablation's last row.
_base_ = './pan_r101-d16_voc.py'
model = dict(decode_head=dict(type='FPAHead', in_channels=2048, in_index=3))
