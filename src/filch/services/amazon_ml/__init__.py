"""Amazon Machine Learning (API of 2014-12-12), emulated, and an oracle over boto3, its own client."""
