"""What committees of surrogates share: networks trained on labels, and where rows are looked for."""
