"""What a codec leaves of a face: detection, verification, re-identification, and attackers who adapt to the codec.

    originals ─▶ faces, persons (`sets`, `tracks`) ┬─▶ codec ─▶ decoded ─▶ detected again (`faces`)
                                                   │                └─▶ embedded ─▶ compared (`metrics`, `compare`)
                                                   └─▶ attackers learn from other persons (`attackers`, `restorer`)
    and beside it what is left of persons as objects (`utility`); `conclusion` says it in words.

Detectors and embedders are behind two small interfaces (`base`). It never sees a codec of ours: it is given pictures.
"""
