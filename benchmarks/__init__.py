"""Speed and rate against peers, side by side in one run: `make bench`. Not part of the tests."""
