# GAU alone without its context branch: skip connections only.
_base_ = './gau_r101-d16_c3_voc.py'
model = dict(decode_head=dict(context=False))
