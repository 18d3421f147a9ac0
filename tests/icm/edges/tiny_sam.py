"""A Segment Anything model of the real classes, small enough for tests: random weights, 64x64 inside."""

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer


def tiny_sam(checkpoint: str | None = None, seed: int = 0, depth: int = 1) -> Sam:
    """Signature as in `segment_anything.sam_model_registry`; the same seed gives the same weights."""
    assert checkpoint is None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Sam(
            image_encoder=ImageEncoderViT(
                img_size=64, patch_size=8, embed_dim=16, depth=1, num_heads=2, mlp_ratio=2, out_chans=32,
                use_rel_pos=True, window_size=4, global_attn_indexes=(0,),
            ),
            prompt_encoder=PromptEncoder(
                embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=4
            ),
            mask_decoder=MaskDecoder(
                transformer_dim=32,
                transformer=TwoWayTransformer(depth=depth, embedding_dim=32, num_heads=2, mlp_dim=32),
                num_multimask_outputs=3, iou_head_depth=2, iou_head_hidden_dim=32,
            ),
        )  # fmt: skip
        with torch.no_grad():  # at their usual size random weights give every point the same mask, and NMS leaves one
            for name, weight in model.named_parameters():
                if weight.ndim > 1 and name.startswith("mask_decoder"):
                    weight.mul_(4)
                if "point_embeddings" in name:
                    weight.mul_(3)
            model.mask_decoder.iou_prediction_head.layers[-1].weight.mul_(0.02)
            model.mask_decoder.iou_prediction_head.layers[-1].bias.fill_(0.6)  # upstream filters by positive IoU only
    return model.eval()
