# As c357-max, with 3x3 kernels on every level of the pyramid.
_base_ = './fpa_r101-d16_c357-max_voc.py'
model = dict(decode_head=dict(kernel_sizes=(3, 3, 3)))
