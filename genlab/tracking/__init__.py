"""Where results go: records in the storage, which hold the truth, and MLflow runs made from them. No Ray, no torch."""
