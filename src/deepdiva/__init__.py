"""DeepDIVA: reproducible deep learning, every experiment logged, seeded, versioned and repeatable."""
