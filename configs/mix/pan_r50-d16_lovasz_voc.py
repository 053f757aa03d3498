# Cross-entropy and the Lovasz-softmax loss, the surrogate of IoU, at equal weight.
_base_ = '../pan/pan_r50-d16_voc.py'
model = dict(
    decode_head=dict(
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_name='loss_ce', loss_weight=1.0),
            dict(type='LovaszLoss', loss_name='loss_lovasz', reduction='none', loss_weight=1.0),
        ]
    )
)
