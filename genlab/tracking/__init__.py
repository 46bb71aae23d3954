"""Where results go: records in the storage, which are the truth, and MLflow runs made from them. No Ray, no torch."""
