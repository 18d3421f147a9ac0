"""What `make bench` runs: everything that is measured against peers, in one quarter of an hour, as one page."""
