"""Video as a network: one small network fitted to one clip, its weights coded into a .vcm file.

Shapes: a clip is (T, H, W, 3) uint8 RGB. Nothing is coded this way yet, so the table is empty; it exists because
`pipelines/codecs.py` joins it with the tables of `icm` and `eval`.
"""

CODECS: dict = {}
