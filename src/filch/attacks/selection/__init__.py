"""What extract-and-test goes by: the contest of candidates, what answers look like, and what labels are kin to."""
