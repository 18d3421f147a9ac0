"""A page taken apart."""

from __future__ import annotations

from html.parser import HTMLParser


class Outline(HTMLParser):
    """Tags opened and closed, addresses asked for, text."""

    void = frozenset({"meta", "link", "img", "source", "input", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "srcset", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
