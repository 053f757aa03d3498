# Cross-entropy and Dice over the softmax, in the zoo's proportion (its UNet configs).
_base_ = '../pan/pan_r50-d16_voc.py'
model = dict(
    decode_head=dict(
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_name='loss_ce', loss_weight=1.0),
            dict(type='DiceLoss', loss_name='loss_dice', use_sigmoid=False, loss_weight=3.0),
        ]
    )
)
