# FPA without its global branch.
_base_ = './fpa_r101-d16_c357-ave-gp_voc.py'
model = dict(decode_head=dict(global_branch=False))
