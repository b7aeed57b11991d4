"""BigML: an emulated service that its own Python client talks to, and an oracle over that client."""
