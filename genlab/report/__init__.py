"""What a person looks at, made from the records alone. No Ray, no torch."""
