"""What the studies of labels alone share: strategies, cells that are kept and run side by side, limits, the page."""
