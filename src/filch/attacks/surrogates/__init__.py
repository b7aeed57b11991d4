"""What the retraining attacks are made of: surrogates by name, and rows near a boundary."""
