# DFN's refinement residual blocks in GAU's place.
_base_ = './gau_r101-d16_c3_voc.py'
model = dict(decode_head=dict(refinement=True))
