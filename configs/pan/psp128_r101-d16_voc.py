# MMSegmentation's PSP module instead of FPA, at FPA's width.
_base_ = './psp_r101-d16_voc.py'
model = dict(decode_head=dict(channels=128))
