"""Language models of words and characters: n-grams, their ARPA files and their smoothing."""
