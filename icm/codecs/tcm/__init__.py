"""`sa-icm` on LIC-TCM (Liu, Sun, Katto, CVPR 2023, arXiv 2303.14978): mixed transformer and convolution transforms.

layers.py      convolutional parts, GDN             attention.py   windows, Swin blocks, SWAtten
transforms.py  g_a, g_s, h_a, h_s and the slices    network.py     training: CompressAI's interface
coding.py      a tile to bytes and back             published.py   the authors' checkpoints
"""
