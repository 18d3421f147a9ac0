"""SegPIC: region-adaptive transforms with segmentation as privileged information (arXiv 2403.00628, ECCV 2024).

layers.py: strided convolutions with scale-affine layers, window attention. regions.py: which region a position belongs
to (a label map, or the 4×4 grid), prototypes, the adaptive transform. network.py: what encoder and decoder compute.
model.py: CompressAI's interface, training. labels.py: label maps without loss, the price of the privilege. codec.py:
.vcm files. published.py: the authors' tensor names.
"""
