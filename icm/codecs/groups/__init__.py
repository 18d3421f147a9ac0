"""`groups`: irregular groups of a picture, each decodable alone (after GIT-SSIC, arXiv 2305.02586).

    layout.py      which tokens share a window: those of one group, one picture, one place
    transforms.py  g_a, g_s, h_a: patch embeddings and Swin blocks that see one group only
    prior.py       hyper-synthesis and channel context, 1×1, in integers
    network.py     training; coding.py: symbols of a part of a group; codec.py: the file
"""
