# DFN's refinement residual blocks instead of GAU.
_base_ = './gau_r101-d16_c3_voc.py'
model = dict(decode_head=dict(refinement=True))
